//! Events as SDKs send them, and one as an attacker would.

use serde_json::{Value, json};

/// A Flask shop that fails to price a cart: two chained exceptions with source.
pub fn checkout() -> Value {
    json!({
        "platform": "python",
        "level": "error",
        "transaction": "shop.checkout",
        "environment": "production",
        "release": "shop@1.4.2",
        "server_name": "shop-7d4b9c-x2x",
        "user": {"id": "5", "email": "ada@example.org"},
        "tags": {"runtime": "CPython 3.13.1", "cart": "empty"},
        "request": {"method": "POST", "url": "http://shop.web.svc/checkout"},
        "contexts": {"runtime": {"type": "runtime", "name": "CPython", "version": "3.13.1"}, "trace": {"trace_id": "0123456789abcdef0123456789abcdef"}},
        "sdk": {"name": "sentry.python.flask", "version": "2.30.0"},
        "exception": {"values": [
            {
                "type": "ZeroDivisionError",
                "value": "division by zero",
                "mechanism": {"type": "chained", "handled": true},
                "stacktrace": {"frames": [{
                    "function": "average", "module": "shop.cart", "filename": "shop/cart.py", "lineno": 18, "in_app": true,
                    "pre_context": ["def average(cart):", "    # The page shows it beside the total."],
                    "context_line": "    return sum(article.price for article in cart) / len(cart)",
                    "post_context": ["", "def total(cart):"],
                }]},
            },
            {
                "type": "CheckoutFailed",
                "module": "shop.errors",
                "value": "the cart of customer 5 cannot be priced",
                "mechanism": {"type": "flask", "handled": false},
                "stacktrace": {"frames": [
                    {
                        "function": "wsgi_app", "module": "flask.app", "filename": "flask/app.py", "lineno": 2190, "in_app": false,
                        "pre_context": ["        try:"],
                        "context_line": "            response = self.full_dispatch_request()",
                        "post_context": ["        except Exception as e:"],
                    },
                    {
                        "function": "checkout", "module": "shop.views", "filename": "shop/views.py", "lineno": 64, "in_app": true,
                        "pre_context": ["    try:", "        price = average(cart)", "    except ZeroDivisionError as error:"],
                        "context_line": "        raise CheckoutFailed(customer) from error",
                        "post_context": ["    return render(price)"],
                    },
                ]},
            },
        ]},
    })
}

/// A log line without a stack trace.
pub fn message(text: &str, level: &str) -> Value {
    json!({"platform": "node", "level": level, "logger": "shop.payments", "message": text})
}

/// More of everything than a page holds.
pub fn oversized() -> Value {
    let frames: Vec<_> = (0..1500).map(|depth| json!({"function": format!("depth_{depth}"), "in_app": true})).collect();
    let mut tags: serde_json::Map<_, _> = (0..300).map(|tag| (format!("tag-{tag:03}"), "short".into())).collect();
    tags["tag-000"] = "v".repeat(1234).into();
    tags["tag-001"] = "x".repeat(200).into();
    json!({
        "platform": "python",
        "tags": tags,
        "exception": {"values": [{
            "type": "RecursionError",
            "value": "r".repeat(9000),
            "stacktrace": {"frames": frames},
        }]},
    })
}

/// Python's `ExceptionGroup` of three, one of which has a cause.
pub fn group() -> Value {
    let exception = |id: u32, parent: Option<u32>, source: Option<&str>, r#type: &str| {
        json!({
            "type": r#type,
            "value": "failed",
            "mechanism": {
                "type": "chained", "handled": true, "exception_id": id, "parent_id": parent, "source": source,
                "is_exception_group": id == 0,
            },
        })
    };
    json!({"platform": "python", "exception": {"values": [
        exception(5, Some(0), Some("__cause__"), "Interrupted"),
        exception(4, Some(0), Some("exceptions[2]"), "ThirdFailed"),
        exception(3, Some(0), Some("exceptions[1]"), "SecondFailed"),
        exception(2, Some(1), Some("__context__"), "KeyError"),
        exception(1, Some(0), Some("exceptions[0]"), "FirstFailed"),
        exception(0, None, None, "ExceptionGroup"),
    ]}})
}

/// Markup in every place that reaches a page.
pub fn hostile() -> Value {
    let script = "</title></code><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>";
    json!({
        "platform": "javascript",
        "level": "fatal",
        "transaction": script,
        "environment": script,
        "release": "1",
        "server_name": script,
        "logger": script,
        "message": script,
        "user": {"id": script, "username": script, "email": script, "ip_address": "203.0.113.9"},
        "tags": {"markup": script},
        "request": {"method": script, "url": format!("javascript:alert(4)//{script}")},
        "contexts": {script: {script: script}, "os": {"name": script}},
        "sdk": {"name": script, "version": script},
        "exception": {"values": [{
            "type": script,
            "module": script,
            "value": script,
            "stacktrace": {"frames": [{
                "function": script, "module": script, "filename": script, "abs_path": script, "lineno": 1, "in_app": true,
                "pre_context": [script], "context_line": script, "post_context": [script],
            }]},
        }]},
    })
}
