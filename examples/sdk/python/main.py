"""Reports a message and an exception to the project that SENTRY_DSN names, and its own run as a session."""

import os

import sentry_sdk

sentry_sdk.init(
    # No dsn here: the SDK takes SENTRY_DSN from the environment.
    release="shop@1.0.0",
    debug=os.environ.get("SENTRY_DEBUG") == "1",
)


def average_price(cart):
    if not cart:
        raise ValueError("the cart is empty")
    return sum(cart) // len(cart)


# Release health: a web framework's integration does this for each request. Before 2.0 the scope was called hub.
scope = sentry_sdk.get_isolation_scope() if hasattr(sentry_sdk, "get_isolation_scope") else sentry_sdk.Hub.current
scope.start_session()

sentry_sdk.set_user({"id": "42", "username": "ada"})
sentry_sdk.capture_message("Hello from Python")
try:
    average_price([])
except ValueError as error:
    sentry_sdk.capture_exception(error)

scope.end_session()
# Events are sent in the background: a program that ends waits for them.
sentry_sdk.flush(timeout=10)
