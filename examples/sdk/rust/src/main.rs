//! Reports a message and a panic to the project that `SENTRY_DSN` names, and its own run as a session.

use std::panic::catch_unwind;

use sentry::{ClientOptions, Level, User};

fn average_price(cart: &[u32]) -> u32 {
    assert!(!cart.is_empty(), "the cart is empty");
    cart.iter().sum::<u32>() / u32::try_from(cart.len()).unwrap_or(u32::MAX)
}

fn main() {
    // No dsn here: the SDK takes SENTRY_DSN from the environment.
    let mut options = ClientOptions::default();
    options.release = Some("shop@1.0.0".into());
    options.debug = std::env::var("SENTRY_DEBUG").is_ok_and(|value| value == "1");
    // Release health: the run of this program is one session; it ends with the guard.
    options.auto_session_tracking = true;
    let sentry = sentry::init(options);

    sentry::configure_scope(|scope| {
        scope.set_user(Some(User { id: Some("42".into()), username: Some("ada".into()), ..User::default() }));
    });
    sentry::capture_message("Hello from Rust", Level::Info);
    // A panic is reported by the hook that the SDK sets, with its stack; `sentry::capture_error` reports errors.
    let _panicked = catch_unwind(|| average_price(&[]));

    // Events are sent in the background: the guard waits for them.
    drop(sentry);
}
