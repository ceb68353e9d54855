//! Real parts for the tests.

pub mod postgres;
