//! The verifier Postgres stores for a password (RFC 5802, RFC 7677), so that no statement and no server
//! log ever holds the password itself.
