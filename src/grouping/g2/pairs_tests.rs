//! Pairs of events that must be one issue, and pairs that must be two: `make test-grouping`.

use serde_json::{Value, json};

use super::{
    g2,
    names::{Part, compiled, without_made_up},
    table::TABLE,
};
use crate::protocol::event::{self, EventId, Receipt};

/// How two events differ, and in what.
type Pair = (&'static str, fn(&str) -> Value, &'static str, &'static str);

fn in_frame(platform: &str, frame: &Value) -> Value {
    json!({"platform": platform, "exception": [{"type": "Error", "value": "v", "stacktrace": {"frames": [frame]}}]})
}

/// `platform function`
fn function(text: &str) -> Value {
    let (platform, name) = text.split_once(' ').unwrap();
    in_frame(platform, &json!({"module": "shop", "function": name, "in_app": true}))
}

/// `platform module`
fn module(text: &str) -> Value {
    let (platform, name) = text.split_once(' ').unwrap();
    in_frame(platform, &json!({"module": name, "function": "pay", "in_app": true}))
}

/// `platform path`
fn file(text: &str) -> Value {
    let (platform, path) = text.split_once(' ').unwrap();
    in_frame(platform, &json!({"filename": path, "function": "payCart", "in_app": true}))
}

/// `platform package address`: a native frame without symbols.
fn package(text: &str) -> Value {
    let parts: Vec<&str> = text.split(' ').collect();
    in_frame(parts[0], &json!({"package": parts[1], "instruction_addr": parts[2], "function": parts.get(3)}))
}

/// `platform frame frame…`, the oldest call first; `+` in front: of the application, `-`: not.
fn stack(text: &str) -> Value {
    let mut parts = text.split_whitespace();
    let platform = parts.next().unwrap();
    let r#type = match parts.next().unwrap() {
        "." => "Error",
        name => name,
    };
    let frames: Vec<Value> = parts
        .map(|part| {
            let in_app = match &part[..1] {
                "+" => Some(true),
                "-" => Some(false),
                _ => None,
            };
            let part = part.trim_start_matches(['+', '-']);
            let (module, function) = part.split_once('|').unwrap_or(("shop", part));
            json!({"module": module, "function": function, "in_app": in_app})
        })
        .collect();
    json!({"platform": platform, "exception": [{"type": r#type, "value": "v", "stacktrace": {"frames": frames}}]})
}

/// `library library…`: native frames without symbols, the oldest call first.
fn packages(text: &str) -> Value {
    let frame = |package: &str| json!({"package": package, "instruction_addr": "0x7fff1234"});
    let frames: Vec<Value> = text.split(' ').map(frame).collect();
    let exception = json!({"type": "SIGSEGV", "value": "v", "stacktrace": {"frames": frames}});
    json!({"platform": "native", "exception": [exception]})
}

fn message(text: &str) -> Value {
    json!({"message": text})
}

/// `template | text`
fn template(text: &str) -> Value {
    let (template, formatted) = text.split_once(" | ").unwrap();
    json!({"logentry": {"message": template, "formatted": formatted}})
}

/// A value behind frames that a minifier has renamed.
fn minified(value: &str) -> Value {
    let frames = json!([{"filename": "/app.js", "function": "a"}, {"filename": "/app.js", "function": "tn"}]);
    json!({"platform": "javascript", "exception": [{"type": "Error", "value": value, "stacktrace": {"frames": frames}}]})
}

/// A value behind frames with names of their own.
fn named(value: &str) -> Value {
    let frames = json!([{"filename": "/react-dom.js", "function": "renderRoot"}]);
    json!({"platform": "javascript", "exception": [{"type": "Error", "value": value, "stacktrace": {"frames": frames}}]})
}

/// `platform module|function value`: an error that only a bridge of logging reports.
fn bridged(text: &str) -> Value {
    let mut parts = text.splitn(3, ' ');
    let (platform, frame, value) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let (module, function) = frame.split_once('|').unwrap();
    let frames = json!([{"module": module, "function": function, "in_app": true}]);
    json!({"platform": platform, "exception": [{"type": "Error", "value": value, "stacktrace": {"frames": frames}}]})
}

/// `type@function…` of the members of a group, or with `<` in front of its cause; nothing: no group.
fn members(text: &str) -> Value {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let of = |part: &str| {
        let (name, function) = part.trim_start_matches(['<', '=']).split_once('@').unwrap();
        json!({"type": name, "value": "v", "stacktrace": {"frames": [{"module": "shop", "function": function}]}})
    };
    if let [only] = parts[..]
        && let Some(only) = only.strip_prefix('=')
    {
        return json!({"platform": "python", "exception": [of(only)]});
    }
    let mut exceptions: Vec<Value> = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let mut exception = of(part);
        let source = if part.starts_with('<') { "__cause__".to_owned() } else { format!("exceptions[{index}]") };
        exception["mechanism"] = json!({"exception_id": index + 1, "parent_id": 0, "source": source});
        exceptions.push(exception);
    }
    exceptions.push(json!({
        "type": "ExceptionGroup", "value": format!("tasks failed ({} sub-exceptions)", parts.len()),
        "mechanism": {"exception_id": 0, "is_exception_group": true},
        "stacktrace": {"frames": [{"module": "shop", "function": "gather"}]},
    }));
    json!({"platform": "python", "exception": exceptions})
}

const TOGETHER: &[Pair] = &[
    (
        "Rails",
        function,
        "ruby _app_views_carts_show_html_erb__3081743026914012345_70216843951",
        "ruby _app_views_carts_show_html_erb___981743026914012345_21340",
    ),
    (
        "jbuilder",
        function,
        "ruby block in _app_views_carts_show_json_jbuilder___308174302691401234_21340",
        "ruby _app_views_carts_show_json_jbuilder__1234567890123_7",
    ),
    ("blocks", function, "ruby block (2 levels) in pay", "ruby rescue in block in pay"),
    ("accessor", module, "java sun.reflect.GeneratedMethodAccessor42", "java sun.reflect.GeneratedMethodAccessor7"),
    ("proxy", module, "java com.sun.proxy.$Proxy57", "java com.sun.proxy.$Proxy8"),
    ("lambda", function, "java lambda$pay$3", "java lambda$pay$11"),
    (
        "lambda class",
        module,
        "java com.shop.Cart$$Lambda$14/0x0000000800066840",
        "java com.shop.Cart$$Lambda/0x00007f1c2c0b1a00",
    ),
    ("javassist", module, "java com.shop.Cart_$$_javassist_3", "java com.shop.Cart_$$_javassist_12"),
    ("Seam", module, "java com.shop.Cart_$$_javassist_seam_3", "java com.shop.Cart_$$_javassist_seam_12"),
    ("jvst", module, "java com.shop.Cart_$$_jvst8f3_4", "java com.shop.Cart_$$_jvstb2e_1a"),
    ("Kotlin", function, "kotlin pay$lambda-3", "kotlin pay$lambda$4"),
    ("anonymous class", module, "java com.shop.Cart$1", "java com.shop.Cart$2"),
    (
        "reflection",
        stack,
        "java . com.shop.Main|main com.shop.Cart|pay jdk.internal.reflect.DirectMethodHandleAccessor|invoke java.lang.reflect.Method|invoke com.shop.Tax|add",
        "java . com.shop.Main|main com.shop.Cart|pay jdk.internal.reflect.NativeMethodAccessorImpl|invoke0 jdk.internal.reflect.GeneratedMethodAccessor42|invoke java.lang.reflect.Method|invoke com.shop.Tax|add",
    ),
    (
        "frameworks",
        stack,
        "java . java.lang.Thread|run org.springframework.web.Servlet|service com.shop.Cart|pay",
        "java . java.lang.Thread|run org.apache.catalina.Valve|invoke com.shop.Cart|pay",
    ),
    (
        "frameworks",
        stack,
        "python . django.core.handlers.base|get_response shop.cart|pay",
        "python . django.core.handlers.exception|inner django.core.handlers.base|_get shop.cart|pay",
    ),
    (
        "frameworks",
        stack,
        "go . runtime|goexit net/http|serve main|pay",
        "go . runtime|goexit net/http|(*conn).serve net/http|HandlerFunc main|pay",
    ),
    (
        "frameworks",
        stack,
        "csharp . System.Threading.Thread|Start Shop.Cart|Pay",
        "csharp . Microsoft.AspNetCore.Mvc|Run Shop.Cart|Pay",
    ),
    ("Vite", file, "javascript /assets/index-BqX3k9Za.js", "javascript /assets/index-Dk2_x-9Q.js"),
    ("Vite", module, "node dist:index-BqX3k9Za", "node dist:index-Dk2_x-9Q"),
    ("Rollup", file, "javascript /vendor.Qm_4Xz-1.js", "javascript /vendor.Zk8aB3xQ.js"),
    ("esbuild", file, "javascript /chunk-QXZ3ABCD.js", "javascript /chunk-7HTW2K4M.js"),
    ("webpack", file, "javascript /main.3f2a91bc77.js", "javascript /main.0011aabbcc.js"),
    ("webpack", file, "javascript /42.3f2a91bc.chunk.js", "javascript /7.aabb1122.chunk.js"),
    ("browsers", function, "javascript Object.pay", "javascript pay"),
    ("browsers", function, "javascript async Cart.pay", "javascript pay"),
    ("browsers", function, "javascript new Cart", "javascript Cart"),
    ("browsers", function, "javascript Cart.pay [as handler]", "javascript Cart.pay"),
    ("browsers", function, "javascript pay/<", "javascript pay"),
    ("browsers", function, "javascript async*pay", "javascript pay"),
    ("node", function, "node async Cart.pay [as run]", "node Cart.pay"),
    ("C#", module, "csharp Shop.Cart+<PayAsync>d__12", "csharp Shop.Cart+<PayAsync>d__3"),
    ("C#", function, "csharp <Pay>b__12_0", "csharp <Pay>b__3_1"),
    ("C#", function, "csharp <Pay>g__Check|12_0", "csharp <Pay>g__Check|3_1"),
    ("F#", module, "csharp Shop.Cart+pay@12-3", "csharp Shop.Cart+pay@14"),
    ("Castle", module, "csharp Castle.Proxies.CartProxy_3", "csharp Castle.Proxies.CartProxy"),
    ("Go", function, "go (*Cart).Pay.func1", "go (*Cart).Pay.func2.1"),
    ("Go", function, "go Pay.deferwrap1", "go Pay.deferwrap2"),
    ("PHP", function, "php class@anonymous/srv/a.php:12$0::pay", "php class@anonymous/srv/a.php:14$1f::pay"),
    ("PHP", function, "php {closure:App\\Cart::pay():12}", "php {closure:App\\Cart::pay():14}"),
    (
        "Twig",
        module,
        "php __TwigTemplate_d41d8cd98f00b204e9800998ecf8427e",
        "php __TwigTemplate_0cc175b9c0f1b6a831c399e269772661",
    ),
    (
        "Blade",
        file,
        "php /views/d41d8cd98f00b204e9800998ecf8427e.php",
        "php /views/0cc175b9c0f1b6a831c399e269772661.php",
    ),
    ("Rust", function, "rust shop::pay::h0123456789abcdef", "rust shop::pay::hfedcba9876543210"),
    ("Rust", function, "rust shop::pay::{closure#0}", "rust shop::pay::{{closure}}"),
    ("Rust", function, "rust <shop::A<i32> as Handler>::handle", "rust <shop::A<u8> as Handler>::handle"),
    ("Rust", function, "rust _$LT$A$u20$as$u20$Handler$GT$::handle", "rust <A as Handler>::handle"),
    ("C++", function, "native handle_operator(int)", "native handle_operator(long)"),
    ("C++", function, "native Cart::operator+(A const&)", "native Cart::operator+(B const&)"),
    (
        "C++",
        function,
        "native pay()::{lambda(int)#2}::operator()(int) const",
        "native pay()::{lambda(int)#1}::operator()(int) const",
    ),
    ("GCC", function, "native pay.part.3.cold", "native pay.isra.0"),
    ("Swift", function, "swift closure #3 in Cart.pay()", "swift closure #1 in Cart.pay()"),
    ("Clang", function, "cocoa __11-[Cart pay]_block_invoke_2", "cocoa __11-[Cart pay]_block_invoke"),
    (
        "IL2CPP",
        function,
        "unity Cart_Pay_mDA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
        "unity Cart_Pay_m0000A3EE5E6B4B0D3255BFEF95601890AFD80709",
    ),
    ("Elixir", function, "elixir -pay/2-fun-0-", "elixir -pay/2-fun-3-"),
    ("Perl", module, "perl Shop::__ANON__::SERIAL::12", "perl Shop::__ANON__::SERIAL::3"),
    ("Perl", file, "perl (eval 12)", "perl (eval 7)"),
    ("Dart", function, "dart _CartState._pay@123456789", "dart _CartState._pay@987654321"),
    ("Lua", function, "lua <cart.lua:12>", "lua <cart.lua:14>"),
    (
        "Airflow",
        module,
        "python unusual_prefix_da39a3ee5e6b4b0d3255bfef95601890afd80709_cart",
        "python unusual_prefix_0000a3ee5e6b4b0d3255bfef95601890afd80709_cart",
    ),
    ("Jupyter", file, "python /tmp/ipykernel_4711/1234567890.py", "python /tmp/ipykernel_9/987654321.py"),
    (
        "type",
        |name| json!({"platform": "php", "exception": [{"type": name, "value": "v"}]}),
        "App\\E@anonymous/srv/1/a.php:12$0",
        "App\\E@anonymous/srv/2/a.php:14$1",
    ),
    ("recursion", stack, "python . main list item fail", "python . main list item list item list item fail"),
    (
        "recursion",
        stack,
        "javascript . mainLoop walkTree walkNode walkTree walkNode visitLeaf",
        "javascript . mainLoop walkTree walkNode walkNode walkTree walkNode visitLeaf",
    ),
    (
        "full stack",
        stack,
        "python RecursionError main list item list item list",
        "python RecursionError item list item list item",
    ),
    (
        "full stack",
        stack,
        "java java.lang.StackOverflowError a.Main|main a.B|list a.B|item a.B|list a.B|item",
        "java java.lang.StackOverflowError a.B|item a.B|list a.B|item a.B|list a.B|size",
    ),
    ("load address", package, "native /usr/local/lib/libshop.so 0x7fff1234", "native /opt/lib/libshop.so 0x7fff9999"),
    (
        "address as name",
        package,
        "native /opt/libshop.so 0x7fff1234 sub_7fff1234",
        "native /opt/libshop.so 0x7fff9999 0x7fff9999",
    ),
    ("group of one", members, "KeyError@pay", "=KeyError@pay"),
    ("equal members", members, "KeyError@pay KeyError@pay", "KeyError@pay KeyError@pay KeyError@pay"),
    ("order of members", members, "KeyError@pay ValueError@add", "ValueError@add KeyError@pay"),
    ("minified", minified, "order 5 is gone", "order 7 is gone"),
    (
        "bridge",
        bridged,
        "go helpers/sentry|(*LogHook).Fire job 5 failed",
        "go helpers/sentry|(*LogHook).Fire job 7 failed",
    ),
    ("object id", message, "order 507f1f77bcf86cd799439011 is gone", "order 60c72b2f9b1d8e001c8e4d3a is gone"),
    ("object id", message, "com.shop.Cart@1b6d3586 is closed", "com.shop.Cart@4554617c is closed"),
    (
        "trace id",
        message,
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 failed",
        "trace 0af7651916cd43dd8448eb211c80319c failed",
    ),
    ("span id", message, "span 00f067aa0ba902b7 failed", "span b7ad6b7169203331 failed"),
    ("pod", message, "pod shop-7d9f8b6c5d-x2k4q was evicted", "pod shop-5c6d7f8b9d-zz8hv was evicted"),
    ("host", message, "no answer of ip-10-0-0-7.ec2.internal", "no answer of ip-10-1-0-9.ec2.internal"),
    ("host", message, "host web01 is down", "host web-17 is down"),
    ("duration", message, "timed out after 30 seconds", "timed out after 2.5 seconds"),
    ("duration", message, "timed out after 1m30s", "timed out after 250ms"),
    ("quoted", message, "customer 'Ann' not found", "customer 'Bob Smith' not found"),
    ("quoted", message, "customer \"Ann\" not found", "customer \"O'Neil\" not found"),
    ("template", template, "Order {OrderId} failed | Order A5 failed", "Order {OrderId} failed | Order B7x failed"),
    ("template", template, "Order %s failed | Order A5 failed", "Order %s failed | Order B7x failed"),
    (
        "template",
        template,
        "Order {@Order} cost {Total:C2} | Order A5 cost x",
        "Order {@Order} cost {Total:C2} | Order B7x cost y",
    ),
];

const APART: &[Pair] = &[
    ("functions", function, "python fn_2", "python fn_3"),
    ("functions", function, "javascript fn_2", "javascript fn_3"),
    ("functions", function, "java Order66", "java Order67"),
    ("functions", function, "ruby step_2", "ruby step_3"),
    (
        "functions",
        function,
        "ruby _app_views_carts_show_html_erb__3081743026914012345_7021",
        "ruby _app_views_carts_edit_html_erb__3081743026914012345_7021",
    ),
    ("functions", function, "java lambda$pay$3", "java lambda$add$3"),
    ("functions", function, "java lambda", "java lambdas"),
    ("functions", function, "go func1", "go func2"),
    ("functions", function, "php content_1", "php content_2"),
    ("functions", function, "csharp Regex2", "csharp Regex3"),
    ("functions", function, "lua step12", "lua step13"),
    ("functions", function, "elixir pay/1", "elixir pay/2"),
    ("functions", function, "dart pay1", "dart pay2"),
    ("functions", function, "perl step_1", "perl step_2"),
    ("functions", function, "native sub_total", "native sub_order"),
    ("functions", function, "native handle_operator(int)", "native add_operator(int)"),
    ("functions", function, "native Cart::operator+(A const&)", "native Cart::operator-(A const&)"),
    ("functions", function, "native Cart::operator()(int)", "native Cart::operator[](int)"),
    ("functions", function, "native operators::pay(int)", "native operators::add(int)"),
    ("functions", function, "rust kube::operator::pay<A>", "rust kube::operator::add<A>"),
    ("functions", function, "swift closure #1 in Cart.pay()", "swift closure #1 in Cart.add()"),
    ("functions", function, "javascript Object.pay", "javascript Object.add"),
    ("functions", function, "node Cart.pay", "node Order.pay"),
    ("modules", module, "java com.shop.Author", "java com.shop.Order"),
    ("modules", module, "java com.shop.Cart$Line", "java com.shop.Cart$Tax"),
    ("modules", module, "java com.shop.Version1", "java com.shop.Version2"),
    ("modules", module, "java com.shop.Proxy1", "java com.shop.Proxy2"),
    ("modules", module, "php Mock_Cart", "php Mock_Order"),
    ("modules", module, "php ContainerBuilder\\Cart", "php ContainerFactory\\Cart"),
    ("modules", module, "csharp Shop.Script1", "csharp Shop.Script2"),
    ("modules", module, "csharp Castle.Proxies.CartProxy_3", "csharp Castle.Proxies.OrderProxy_3"),
    ("modules", module, "ruby #<Class:0x00007f3a>#pay", "ruby #<Module:0x00007f3a>#pay"),
    ("files", file, "javascript /cart-settings.js", "javascript /cart-checkout.js"),
    ("files", file, "javascript /cart-userList.js", "javascript /cart-itemList.js"),
    ("files", file, "javascript /index-BqX3k9Za.js", "javascript /vendor-BqX3k9Za.js"),
    ("files", file, "python app_2024.py", "python app_2025.py"),
    ("files", file, "javascript jquery-3.6.0.js", "javascript jquery-4.0.0.js"),
    ("Rust", function, "rust <A as Handler>::handle", "rust <B as Handler>::handle"),
    ("Rust", function, "rust shop::<impl Handler for A>::handle", "rust shop::<impl Handler for B>::handle"),
    ("Rust", function, "rust <A>::handle", "rust <B>::handle"),
    (
        "libraries",
        packages,
        "/opt/shop /usr/lib/libcart.so /lib/libc.so.6",
        "/opt/shop /usr/lib/libtax.so /lib/libc.so.6",
    ),
    ("modules", module, "node dist:cart-settings", "node dist:cart-checkout"),
    ("libraries", package, "native /opt/libshop.so 0x7fff1234", "native /opt/libcart.so 0x7fff1234"),
    ("libraries", package, "native C:\\shop.dll 0x7fff1234", "native C:\\cart.dll 0x7fff1234"),
    ("groups", members, "KeyError@pay ValueError@add", "KeyError@pay TypeError@add"),
    ("groups", members, "KeyError@pay KeyError@add", "KeyError@pay KeyError@pay"),
    ("causes", members, "<KeyError@pay", "=KeyError@pay"),
    ("recursion", stack, "python . main list item fail", "python . main list item crash"),
    ("recursion", stack, "python . main item list fail", "python . main list item fail"),
    (
        "full stack",
        stack,
        "python RecursionError main list item list item",
        "python RecursionError main list tree list tree",
    ),
    (
        "frameworks",
        stack,
        "java . org.springframework.web.Servlet|service com.shop.Cart|pay",
        "java . org.springframework.web.Servlet|service com.shop.Cart|add",
    ),
    (
        "frameworks",
        stack,
        "java . org.springframework.web.Servlet|service",
        "java . org.springframework.web.Filter|service",
    ),
    ("look like frameworks", stack, "go . main|run login|Do", "go . main|run network|Do"),
    ("minified", minified, "order is gone", "order is late"),
    (
        "minified",
        minified,
        "Cannot read properties of undefined (reading 'total')",
        "Cannot read properties of undefined (reading 'name')",
    ),
    (
        "React",
        named,
        "Minified React error #418; visit https://react.dev/errors/418",
        "Minified React error #425; visit https://react.dev/errors/425",
    ),
    (
        "React",
        minified,
        "Minified React error #418; visit https://react.dev/errors/418",
        "Minified React error #425; visit https://react.dev/errors/425",
    ),
    (
        "React",
        message,
        "Minified React error #418; visit https://react.dev/errors/418",
        "Minified React error #425; visit https://react.dev/errors/425",
    ),
    (
        "bridge",
        bridged,
        "go helpers/sentry|(*LogHook).Fire job failed",
        "go helpers/sentry|(*LogHook).Fire cannot reach docker",
    ),
    (
        "bridge",
        bridged,
        "java ch.qos.logback.classic.Logger|error pay failed",
        "java ch.qos.logback.classic.Logger|error add failed",
    ),
    ("bridge", bridged, "python logging|error pay failed", "python logging|error add failed"),
    ("bridge", bridged, "csharp Serilog.Core.Logger|Write pay failed", "csharp Serilog.Core.Logger|Write add failed"),
    ("bridge", bridged, "php Monolog\\Logger|addRecord pay failed", "php Monolog\\Logger|addRecord add failed"),
    (
        "bridge",
        bridged,
        "java com.shop.SentryAppender|append pay failed",
        "java com.shop.SentryAppender|append add failed",
    ),
    ("messages", message, "customer 'Ann' not found", "order 'Ann' not found"),
    ("messages", message, "No module named 'shop'", "No module named 'cart'"),
    ("messages", message, "'pay'", "'add'"),
    ("messages", message, "utf8 is wrong", "utf16 is wrong"),
    ("messages", message, "column \"total\" does not exist", "column \"name\" does not exist"),
    ("template", template, "Order {OrderId} failed | Order A5 failed", "Order {OrderId} shipped | Order A5 shipped"),
];

fn hash(payload: &Value) -> [u8; 32] {
    let receipt = Receipt::at(jiff::Timestamp::UNIX_EPOCH, EventId([1; 16]));
    g2(&event::parse(payload.to_string().as_bytes(), &receipt).unwrap()).hash
}

/// For each row of the table its example, and the same with another number in the part that was made up.
fn of_table() -> Vec<(&'static str, Value, Value)> {
    let mut pairs = Vec::new();
    for made in TABLE.iter().flat_map(|rows| rows.iter()) {
        let regex = compiled(made.looks_like).unwrap();
        let found = regex.find(made.example.0).unwrap();
        let bumped: String = found
            .as_str()
            .chars()
            .map(|character| if ('2'..'8').contains(&character) { '8' } else { character })
            .collect();
        let other = format!("{}{bumped}{}", &made.example.0[..found.start()], &made.example.0[found.end()..]);
        let remains = |name: &str| regex.replace_all(name, made.remains).into_owned();
        if other == made.example.0 || remains(&other) != remains(made.example.0) {
            continue;
        }
        let platform = made.platforms.first().copied().unwrap_or("native");
        let frame = |name: &str| match made.part {
            Part::File => json!({"filename": name, "function": "payCart"}),
            Part::Module => json!({"module": name, "function": "payCart"}),
            Part::Function | Part::Name => json!({"module": "shop", "function": name}),
        };
        pairs.push((made.source, in_frame(platform, &frame(made.example.0)), in_frame(platform, &frame(&other))));
    }
    pairs
}

#[test]
fn pairs_are_grouped_as_people_expect() {
    let build = |(what, build, one, other): &Pair| (*what, build(one), build(other));
    let together: Vec<_> = TOGETHER.iter().map(build).chain(of_table()).collect();
    let apart: Vec<_> = APART.iter().map(build).collect();
    let mut wrong = 0;
    for (pairs, is_together) in [(&together, true), (&apart, false)] {
        for (what, one, other) in pairs {
            if (hash(one) == hash(other)) != is_together {
                wrong += 1;
                println!("{} {what}: {one} and {other}", if is_together { "apart:" } else { "together:" });
            }
        }
    }
    println!("grouping: {} pairs together, {} pairs apart, {wrong} wrong", together.len(), apart.len());
    assert_eq!(wrong, 0);
}

#[test]
fn names_that_look_made_up_and_are_not_stay() {
    for (platform, name) in [
        ("java", "Order66"),
        ("java", "com.shop.Author"),
        ("java", "com.shop.Proxy2"),
        ("java", "handle_2"),
        ("javascript", "fn_2"),
        ("javascript", "_private"),
        ("python", "lambda_handler"),
        ("python", "test_2024"),
        ("ruby", "lambda"),
        ("ruby", "step__2"),
        ("go", "func1"),
        ("go", "pkg.function1"),
        ("csharp", "Pay_2"),
        ("csharp", "lambda"),
        ("php", "closure_1"),
        ("php", "Generator"),
        ("rust", "shop::h2::pay"),
        ("native", "operator_pay"),
        ("native", "sub_total"),
        ("swift", "closure"),
        ("elixir", "pay/2"),
        ("perl", "evaluate"),
        ("lua", "line12"),
        ("dart", "pay2"),
        ("haskell", "pay_rows"),
        ("as3", "MethodInfo"),
        ("kotlin", "lambda2"),
        ("cocoa", "-[Cart pay2:]"),
        ("unity", "Cart_pay_mine"),
    ] {
        assert_eq!(without_made_up(name, Part::Function, platform, |_| {}), name, "{platform}");
    }
}
