//! Our own migrations.
