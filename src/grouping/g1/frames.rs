//! The keys of a stack trace: where the program was, without what a new build, a new host or a new
//! line above changes.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

use crate::protocol::event::Frame;

/// Frames that count, nearest to the failure: deeper ones tell how the program was started.
const MAX_KEYS: usize = 30;

/// `module|function` of the application's frames, or of all frames where none is known to be its own;
/// equal neighbours, which are recursion, count once. Never lines, columns, absolute paths or variables.
pub(super) fn frame_keys(frames: &[Frame], platform: &str) -> Vec<String> {
    let named = |frame: &&Frame| frame.module.is_some() || frame.filename.is_some() || frame.function.is_some();
    let in_app = |frame: &Frame| frame.in_app == Some(true);
    let only_in_app = frames.iter().filter(named).any(in_app);
    let mut keys: Vec<String> = Vec::new();
    for frame in frames.iter().rev().filter(named).filter(|frame| !only_in_app || in_app(frame)) {
        if keys.len() == MAX_KEYS {
            break;
        }
        if let Some(key) = frame_key(frame, platform)
            && keys.last() != Some(&key)
        {
            keys.push(key);
        }
    }
    keys.reverse();
    keys
}

fn frame_key(frame: &Frame, platform: &str) -> Option<String> {
    let module = frame.module.as_deref().map(module);
    let place = module.filter(|module| !module.is_empty()).or_else(|| file(frame.filename.as_deref()?).map(Cow::Owned));
    let function = frame.function.as_deref().and_then(|name| function(name, platform));
    if place.is_none() && function.is_none() {
        return None;
    }
    Some(format!("{}|{}", place.unwrap_or_default(), function.unwrap_or_default()))
}

/// JVM classes made at run time carry a number or an address in their name.
fn module(module: &str) -> Cow<'_, str> {
    static GENERATED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?-u)\$\$(Lambda|EnhancerBy\w+|FastClassBy\w+|SpringCGLIB|_javassist)[$/_0-9a-fx]*").ok()
    });
    let module = module.trim();
    if module.contains("$$") { replace(&GENERATED, module, "$$$$$1") } else { Cow::Borrowed(module) }
}

/// Last part of a path or URL in lower case, without the hash a bundler put in; none where that is no file.
fn file(path: &str) -> Option<String> {
    static HASH: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)[._-][0-9a-f]{8,}\b").ok());
    let path = path.split(['?', '#']).next().unwrap_or(path);
    if path.starts_with("data:") || path.starts_with("blob:") {
        return None;
    }
    // What follows `://` up to the first slash is a host.
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path).trim().to_lowercase();
    if name.is_empty() || name.starts_with(['<', '[']) {
        return None;
    }
    Some(replace(&HASH, &name, "").into_owned()).filter(|name| !name.is_empty())
}

/// The function without addresses, generated numbers and, for native code, parameters; none if anonymous.
fn function(name: &str, platform: &str) -> Option<String> {
    static RUBY_BLOCK: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(?:(?:block|rescue|ensure)(?: \(\d+ levels\))? in )+").ok());
    static PHP_CLASS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?s)@anonymous(?:.*?\$[0-9a-f]+|.*?(::)|.*)").ok());
    static RUST_HASH: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)::h[0-9a-f]{16}$").ok());
    static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?-u)0x[0-9a-fA-F]+").ok());

    let mut name = Cow::Borrowed(name.trim());
    // Each test for a substring costs a few nanoseconds, each search a few hundred.
    for (sign, pattern, replacement) in [
        (" in ", &RUBY_BLOCK, ""),
        ("@anonymous", &PHP_CLASS, "@anonymous$1"),
        ("::h", &RUST_HASH, ""),
        ("0x", &ADDRESS, ""),
    ] {
        if name.contains(sign) {
            name = Cow::Owned(replace(pattern, &name, replacement).into_owned());
        }
    }
    if name.contains("$$") {
        name = Cow::Owned(module(&name).into_owned());
    }
    if matches!(platform, "native" | "c" | "cocoa" | "objc" | "swift" | "rust" | "unreal") {
        name = Cow::Owned(without_parameters(&name));
    }
    let name = name.trim();
    if matches!(name, "" | "?" | "<anonymous>" | "<unknown>") { None } else { Some(name.to_owned()) }
}

/// `a::b` of `a::b<int>(char const*) const`. Names with brackets of their own (operators, Objective-C
/// methods) are kept whole.
fn without_parameters(name: &str) -> String {
    if name.contains("operator") || name.starts_with("-[") || name.starts_with("+[") {
        return name.to_owned();
    }
    let name = name.replace("(anonymous namespace)", "anonymous namespace");
    let mut bare = String::with_capacity(name.len());
    let mut open = 0_usize;
    for character in name.chars() {
        match character {
            '<' | '(' => open += 1,
            '>' | ')' if open > 0 => open -= 1,
            _ if open == 0 => bare.push(character),
            _ => {}
        }
    }
    let bare = bare.trim().trim_end_matches(" const").trim();
    if open > 0 || bare.is_empty() { name } else { bare.to_owned() }
}

/// The patterns are constants; should one not compile, names are left as they are.
fn replace<'a>(pattern: &LazyLock<Option<Regex>>, text: &'a str, replacement: &str) -> Cow<'a, str> {
    match &**pattern {
        Some(pattern) => pattern.replace_all(text, replacement),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, filename: &str, function: &str, in_app: Option<bool>) -> Frame {
        let text = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
        Frame { module: text(module), filename: text(filename), function: text(function), in_app, ..Frame::default() }
    }

    #[test]
    fn files_lose_what_a_build_changes() {
        for (path, expected) in [
            ("/srv/app/Views.py", Some("views.py")),
            ("C:\\app\\Views.cs", Some("views.cs")),
            ("https://h/static/app.3f2a91bc77.js?v=2#x", Some("app.js")),
            ("https://h/static/main-deadbeefcafe.min.js", Some("main.min.js")),
            ("webpack:///./src/cart.ts?abcd", Some("cart.ts")),
            ("webpack://shop/./src/cart.ts", Some("cart.ts")),
            ("app_2024.js", Some("app_2024.js")),
            ("my-facadehouse.js", Some("my-facadehouse.js")),
            ("https://h/", None),
            ("https://h", None),
            ("<anonymous>", None),
            ("[native code]", None),
            ("data:text/javascript,x", None),
            ("", None),
        ] {
            assert_eq!(file(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn functions_lose_what_a_run_changes() {
        for (name, platform, expected) in [
            ("view", "python", Some("view")),
            ("<lambda>", "python", Some("<lambda>")),
            ("<module>", "python", Some("<module>")),
            ("block in call", "ruby", Some("call")),
            ("rescue in block (2 levels) in call", "ruby", Some("call")),
            ("class@anonymous/srv/a.php:12$0::handle", "php", Some("class@anonymous::handle")),
            ("class@anonymous/srv/a.php:13$1f::handle", "php", Some("class@anonymous::handle")),
            ("class@anonymous::handle", "php", Some("class@anonymous::handle")),
            ("class@anonymous/srv/a.php", "php", Some("class@anonymous")),
            ("shop::cart::add::h0123456789abcdef", "rust", Some("shop::cart::add")),
            ("com.shop.Cart$$Lambda$14/0x0000000800066840.run", "java", Some("com.shop.Cart$$Lambda.run")),
            ("main.handler.func1", "go", Some("main.handler.func1")),
            ("call 0x7fff1234", "native", Some("call")),
            ("0x7fff1234", "native", None),
            ("?A0xc3a0617d::crash", "native", Some("?A::crash")),
            ("std::vector<std::pair<int, char>>::at(unsigned long) const", "native", Some("std::vector::at")),
            ("(anonymous namespace)::run(int)", "native", Some("anonymous namespace::run")),
            ("Cart::operator()(int)", "native", Some("Cart::operator()(int)")),
            ("-[Cart add:(id)]", "cocoa", Some("-[Cart add:(id)]")),
            ("a<b", "native", Some("a<b")),
            ("add(int)", "python", Some("add(int)")),
            ("<anonymous>", "javascript", None),
            ("?", "javascript", None),
            (" ", "javascript", None),
        ] {
            assert_eq!(function(name, platform).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn classes_made_at_run_time_are_one() {
        for (name, expected) in [
            ("com.shop.Cart", "com.shop.Cart"),
            ("com.shop.Cart$$Lambda$14/0x00000008", "com.shop.Cart$$Lambda"),
            ("com.shop.Cart$$EnhancerBySpringCGLIB$$1a2b3c", "com.shop.Cart$$EnhancerBySpringCGLIB"),
            ("com.shop.Cart$Inner", "com.shop.Cart$Inner"),
        ] {
            assert_eq!(module(name), expected);
        }
    }

    #[test]
    fn the_applications_frames_count_where_they_are_known() {
        let library = frame("lib", "", "call", Some(false));
        let own = frame("app", "/srv/app.py", "view", Some(true));
        let unknown = frame("", "/srv/App.py", "view", None);
        let nameless = Frame { in_app: Some(true), lineno: Some(7), ..Frame::default() };
        for (frames, expected) in [
            (vec![library.clone(), own.clone(), unknown.clone()], vec!["app|view"]),
            (vec![library.clone(), unknown.clone()], vec!["lib|call", "app.py|view"]),
            (vec![library.clone(), nameless.clone()], vec!["lib|call"]),
            (vec![own.clone(), own.clone(), own], vec!["app|view"]),
            (vec![frame("", "", "only", None)], vec!["|only"]),
            (vec![frame("", "<anonymous>", "?", None)], vec![]),
            (vec![nameless], vec![]),
        ] {
            assert_eq!(frame_keys(&frames, "python"), expected, "{frames:?}");
        }
    }

    #[test]
    fn the_frames_nearest_to_the_failure_count() {
        let frames: Vec<Frame> = (0..100).map(|number| frame("app", "", &format!("f{number}"), None)).collect();
        let expected: Vec<String> = (70..100).map(|number| format!("app|f{number}")).collect();
        assert_eq!(frame_keys(&frames, "python"), expected);
        assert_eq!(expected.len(), MAX_KEYS);
    }
}
