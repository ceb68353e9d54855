//! Postgres: the schema `errortracking` of the installation and one schema a project. All SQL of the
//! project lives here, one function a statement. Called by `operator`, `ingest` and `console`.
