//! Events as a Python web application sends them, about 23 KB each: made here, the same for the same numbers, and like
//! each other as the events of one program are. No real event is in the repository.

use std::fmt::Write;

use serde_json::{Value, json};

/// Numbers that look random and are the same every time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(words.len() as u64)).unwrap_or_default();
        words[index]
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::new();
        while text.len() < digits {
            // Writing to a String does not fail.
            let _ = write!(text, "{:016x}", self.next());
        }
        text.truncate(digits);
        text
    }
}

const MODULES: [&str; 12] = [
    "shop.checkout.views",
    "shop.cart.models",
    "shop.catalog.search",
    "shop.payments.gateway",
    "shop.accounts.session",
    "shop.stock.reservation",
    "shop.mail.outbox",
    "shop.api.serializers",
    "shop.pricing.rules",
    "shop.shipping.labels",
    "shop.reports.daily",
    "shop.admin.actions",
];
const LIBRARIES: [&str; 8] = [
    "django.core.handlers.base",
    "django.core.handlers.exception",
    "django.views.generic.base",
    "django.utils.decorators",
    "rest_framework.views",
    "sentry_sdk.integrations.django.views",
    "django.db.models.query",
    "django.db.backends.utils",
];
const FUNCTIONS: [&str; 16] = [
    "dispatch",
    "get_response",
    "post",
    "add_item",
    "reserve",
    "total",
    "apply_rule",
    "search",
    "load",
    "save",
    "render",
    "charge",
    "send",
    "refresh",
    "validate",
    "to_representation",
];
const ERRORS: [(&str, &str); 8] = [
    ("KeyError", "'sku-{n}'"),
    ("ValueError", "could not convert string to float: 'n/a' in line {n}"),
    ("OperationalError", "server closed the connection unexpectedly after {n} ms"),
    ("PermissionDenied", "user {n} may not change this order"),
    ("DoesNotExist", "Cart matching query {n} does not exist."),
    ("IntegrityError", "duplicate key value violates unique constraint \"order_number_key\" ({n})"),
    ("Timeout", "payment gateway did not answer within {n} ms"),
    ("AssertionError", "stock of item {n} is negative"),
];
const LINES: [&str; 14] = [
    "        response = self.process_request(request)",
    "        if not callable(middleware):",
    "            raise ImproperlyConfigured(message)",
    "        cart = self.cart_for(request.user)",
    "        for item in cart.items.select_related(\"product\"):",
    "            total += item.quantity * item.price",
    "        return super().dispatch(request, *args, **kwargs)",
    "    def apply(self, order, *, dry_run=False):",
    "        with transaction.atomic():",
    "            reservation = Reservation.objects.create(order=order)",
    "        logger.debug(\"reserved %s\", reservation.pk)",
    "",
    "        # Prices change at midnight.",
    "            return Response(serializer.data, status=201)",
];

/// The events `0..count`: 40 kinds of failures, each with its own stack, and other values in every event.
pub fn events(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| event(number).to_string().into_bytes()).collect()
}

fn event(number: u64) -> Value {
    let kind = number % 40;
    // What belongs to the place in the program comes from `place`, what belongs to the request from `run`.
    let (mut place, mut run) = (Numbers(kind), Numbers(number.wrapping_add(1_000_003)));
    let (error, message) = ERRORS[usize::try_from(kind % 8).unwrap_or_default()];
    let message = message.replace("{n}", &run.below(100_000).to_string());
    let frames: Vec<Value> = (0..16 + kind % 5).map(|depth| frame(depth, &mut place, &mut run)).collect();
    let user = run.below(5_000);
    json!({
        "event_id": run.hex(32),
        "timestamp": "2026-11-22T10:00:00.123456Z",
        "platform": "python",
        "level": "error",
        "logger": "django.request",
        "transaction": format!("/{}/{{pk}}/", MODULES[usize::try_from(kind % 12).unwrap_or_default()].replace('.', "/")),
        "transaction_info": {"source": "route"},
        "release": format!("shop@4.{}.{}", number / 500 % 10, number / 50 % 10),
        "environment": run.pick(&["production", "production", "production", "staging"]),
        "server_name": format!("shop-web-{}-{}", run.hex(9), run.hex(5)),
        "exception": {"values": [{
            "type": error, "value": message, "module": run.pick(&["builtins"]),
            "mechanism": {"type": "django", "handled": false},
            "stacktrace": {"frames": frames},
        }]},
        "breadcrumbs": {"values": (0..12).map(|_| breadcrumb(&mut run)).collect::<Vec<_>>()},
        "request": {
            "url": format!("https://shop.example/checkout/{}/", run.below(100_000)), "method": "POST",
            "query_string": format!("page={}&sort=price", run.below(40)),
            "headers": {
                "Host": "shop.example", "Accept": "application/json", "Accept-Encoding": "gzip, deflate, br",
                "Accept-Language": "en-US,en;q=0.9,de;q=0.8", "Content-Length": run.below(4_000).to_string(),
                "Content-Type": "application/json", "Referer": "https://shop.example/cart/",
                "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
                "X-Request-Id": run.hex(32), "Authorization": format!("Bearer {}", run.hex(40)),
            },
            "cookies": {"sessionid": run.hex(32), "theme": "dark"},
            "env": {"SERVER_NAME": "shop.example", "SERVER_PORT": "443", "REMOTE_ADDR": format!("192.0.2.{}", run.below(255))},
            "data": {"sku": format!("sku-{}", run.below(9_999)), "quantity": run.below(9), "password": run.hex(12)},
        },
        "user": {"id": user.to_string(), "email": format!("user{user}@shop.example"), "username": format!("user{user}")},
        "tags": {"region": run.pick(&["eu-1", "eu-2", "us-1"]), "customer_tier": run.pick(&["free", "gold"]), "celery": "False"},
        "contexts": {
            "runtime": {"name": "CPython", "version": "3.12.4", "build": "3.12.4 (main, Jun  7 2026) [GCC 12.2.0]"},
            "trace": {"trace_id": run.hex(32), "span_id": run.hex(16), "parent_span_id": run.hex(16), "op": "http.server"},
        },
        "extra": {"sys.argv": ["/usr/local/bin/gunicorn", "shop.wsgi", "--workers", "4"]},
        "modules": (0..60).map(|n| (format!("library-{n}"), Value::from(format!("{}.{}.{}", n % 7, n % 11, n % 5))))
            .collect::<serde_json::Map<_, _>>(),
        "sdk": {"name": "sentry.python.django", "version": "2.68.0", "packages": [{"name": "pypi:sentry-sdk", "version": "2.68.0"}],
            "integrations": ["argv", "atexit", "dedupe", "django", "excepthook", "logging", "modules", "stdlib", "threading"]},
    })
}

fn frame(depth: u64, place: &mut Numbers, run: &mut Numbers) -> Value {
    let in_app = depth > 8;
    let module = if in_app { place.pick(&MODULES) } else { place.pick(&LIBRARIES) };
    let path = format!("{}.py", module.replace('.', "/"));
    let root = if in_app { "/srv/shop" } else { "/usr/local/lib/python3.12/site-packages" };
    let mut lines = |count: usize| (0..count).map(|_| place.pick(&LINES)).collect::<Vec<_>>();
    json!({
        "filename": path, "abs_path": format!("{root}/{path}"), "module": module, "function": function(depth),
        "lineno": 20 + depth * 17, "in_app": in_app,
        "pre_context": lines(5), "context_line": lines(1)[0], "post_context": lines(5),
        "vars": {
            "self": format!("<{module}.Handler object at 0x7f{}>", run.hex(10)), "request": "<WSGIRequest: POST '/checkout/'>",
            "args": [], "kwargs": {"pk": run.below(100_000).to_string()}, "order_id": run.below(1_000_000),
        },
    })
}

/// The same place has the same function in every event.
fn function(depth: u64) -> &'static str {
    FUNCTIONS[usize::try_from(depth % 16).unwrap_or_default()]
}

fn breadcrumb(run: &mut Numbers) -> Value {
    json!({
        "timestamp": format!("2026-11-22T09:59:{:02}.{:06}Z", run.below(60), run.below(1_000_000)), "type": "default",
        "category": "query", "level": "info",
        "message": format!("SELECT cart_item.id, cart_item.quantity FROM cart_item WHERE cart_item.cart_id = {}", run.below(100_000)),
        "data": {"db.system": "postgresql", "duration_ms": run.below(90)},
    })
}
