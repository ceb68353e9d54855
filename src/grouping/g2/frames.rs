//! The keys of a stack trace: where the program was, without what a new build, another host, a deeper recursion or a new
//! line above changes.

use std::borrow::Cow;

use super::{
    bundles::{without_hash, without_hashes},
    libraries::Owners,
    names::{Part, without_made_up},
    native::without_parameters,
    notes::Notes,
};
use crate::protocol::event::Frame;

/// Frames that count, nearest to the failure: deeper ones tell how the program was started.
pub(super) const MAX_KEYS: usize = 30;

/// What the frames of one stack trace say.
pub(super) enum Keys {
    /// `module|function`, oldest call first; none if no frame has a name.
    Of(Vec<String>),
    /// They say nothing: that is for the message to tell.
    Nothing,
}

/// How a frame is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Application,
    Library,
    Machinery,
    Bridge,
}

struct Keyed<'f> {
    frame: &'f Frame,
    key: String,
    standing: Standing,
}

/// Keys of the application's frames, or of all where none is known to be its own. A function counts once however often it
/// calls itself, directly or by others. Never lines, columns, absolute paths or variables.
pub(super) fn frame_keys(frames: &[Frame], platform: &str, overflows: bool, notes: &mut Notes) -> Keys {
    let owners = Owners::of(platform);
    let any_in_app = frames.iter().any(|frame| frame.in_app == Some(true));
    let mut keyed: Vec<Keyed<'_>> = Vec::with_capacity(frames.len().min(MAX_KEYS));
    for frame in frames.iter().rev() {
        // Most frames of a long stack trace are none of the application's: they need no key.
        if any_in_app && frame.in_app != Some(true) {
            notes.frame(frame, "not of the application");
            continue;
        }
        let Some(key) = frame_key(frame, platform, notes) else {
            notes.frame(frame, "has no name");
            continue;
        };
        let standing = if owners.is_bridge(frame) {
            Standing::Bridge
        } else if any_in_app {
            Standing::Application
        } else if owners.is_machinery(frame) {
            Standing::Machinery
        } else if frame.in_app == Some(false) || owners.is_library(frame) {
            Standing::Library
        } else {
            Standing::Application
        };
        keyed.push(Keyed { frame, key, standing });
    }
    let Some(best) = [Standing::Application, Standing::Library].into_iter().find(|standing| has(&keyed, *standing))
    else {
        // Only bridges, or only what the runtime puts between others.
        if has(&keyed, Standing::Bridge) {
            for keyed in &keyed {
                notes.frame(keyed.frame, "passes on what was logged: the message counts");
            }
            return Keys::Nothing;
        }
        return Keys::Of(counted(&keyed, overflows, notes));
    };
    keyed.retain(|keyed| {
        let counts = keyed.standing == best;
        if !counts {
            notes.frame(
                keyed.frame,
                match keyed.standing {
                    Standing::Library | Standing::Application => "of a runtime or framework",
                    Standing::Machinery => "what the runtime needs for a call",
                    Standing::Bridge => "passes on what was logged",
                },
            );
        }
        counts
    });
    if is_minified(&keyed, platform) {
        for keyed in &keyed {
            notes.frame(keyed.frame, "every name is minified: type and message count");
        }
        return Keys::Nothing;
    }
    Keys::Of(counted(&keyed, overflows, notes))
}

fn has(keyed: &[Keyed<'_>], standing: Standing) -> bool {
    keyed.iter().any(|keyed| keyed.standing == standing)
}

/// Each key once, oldest call first. Where the stack is full it is chance which of the functions that call each other is
/// the last one, and the ones that called them are cut off: only those that recur count, in the order of their names.
fn counted(keyed: &[Keyed<'_>], overflows: bool, notes: &mut Notes) -> Vec<String> {
    let times = |key: &String| keyed.iter().filter(|other| other.key == *key).count();
    let recurs = overflows && keyed.iter().any(|keyed| times(&keyed.key) > 1);
    let mut keys: Vec<String> = Vec::new();
    for Keyed { frame, key, .. } in keyed {
        if recurs && times(key) == 1 {
            notes.frame(frame, "calls or is called by what recurs until the stack is full");
        } else if keys.contains(key) {
            notes.frame(frame, "is there already: recursion");
        } else if keys.len() == MAX_KEYS {
            notes.frame(frame, "too far from the failure");
        } else {
            notes.counted_frame(key, frame);
            keys.push(key.clone());
        }
    }
    if recurs {
        keys.sort();
    } else {
        keys.reverse();
    }
    keys
}

/// Whether a minifier has renamed all that is called.
fn is_minified(keyed: &[Keyed<'_>], platform: &str) -> bool {
    let is_short = |name: &str| name.len() <= 2;
    match platform {
        "javascript" | "node" => {
            let mut named = keyed.iter().filter_map(|keyed| keyed.key.split_once('|')).map(|(_, function)| function);
            let is_source = |frame: &Frame| {
                let file = frame.filename.as_deref().unwrap_or_default();
                [".ts", ".tsx", ".jsx", ".vue", ".svelte"].iter().any(|ending| file.ends_with(ending))
            };
            named.clone().any(|function| !function.is_empty())
                && named.all(is_short)
                && !keyed.iter().any(|keyed| is_source(keyed.frame))
        }
        // R8 and ProGuard rename classes too.
        "java" | "kotlin" => {
            !keyed.is_empty()
                && keyed.iter().filter_map(|keyed| keyed.key.split_once('|')).all(|(module, function)| {
                    is_short(function) && module.rsplit(['.', '$']).next().is_some_and(is_short) && !module.is_empty()
                })
        }
        _ => false,
    }
}

fn frame_key(frame: &Frame, platform: &str, notes: &mut Notes) -> Option<String> {
    let module = frame.module.as_deref().map(|module| named(module, platform, notes));
    let module = match module {
        Some(module) if matches!(platform, "javascript" | "node") => {
            Some(Cow::Owned(without_hash(&module).into_owned()))
        }
        module => module,
    };
    let place = module
        .filter(|module| !module.is_empty())
        .or_else(|| file(frame.filename.as_deref()?, platform, notes).map(Cow::Owned));
    let function = frame.function.as_deref().and_then(|name| function(name, platform, notes));
    let place = match (place, &function) {
        // Without symbols the library is all that is known.
        (None, None) => Cow::Owned(format!("library {}", library(frame.package.as_deref()?)?)),
        (place, _) => place.unwrap_or_default(),
    };
    Some(format!("{place}|{}", function.unwrap_or_default()))
}

/// A module, class or type of an exception.
pub(super) fn named<'n>(name: &'n str, platform: &str, notes: &mut Notes) -> Cow<'n, str> {
    without_made_up(name.trim(), Part::Module, platform, |source| notes.made_up(name, source))
}

/// Last part of a path or URL in lower case, without the hash a bundler put in; none where that is no file.
fn file(path: &str, platform: &str, notes: &mut Notes) -> Option<String> {
    let path = without_made_up(path, Part::File, platform, |source| notes.made_up(path, source));
    let path = path.split(['?', '#']).next().unwrap_or(&path);
    if path.starts_with("data:") || path.starts_with("blob:") {
        return None;
    }
    // What follows `://` up to the first slash is a host.
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path).trim();
    if name.is_empty() || name.starts_with(['<', '[']) {
        return None;
    }
    let stable = without_hashes(name);
    if stable != name {
        notes.made_up(name, "bundlers, a build's hash");
    }
    Some(stable.to_lowercase()).filter(|name| !name.is_empty())
}

/// Last part of the path of a library, in lower case.
fn library(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\', '!']).next().unwrap_or(path).trim();
    let name = without_hashes(name).to_lowercase();
    let is_address = name.trim_start_matches("0x").bytes().all(|byte| byte.is_ascii_hexdigit());
    (!name.is_empty() && !is_address && !name.starts_with(['<', '['])).then_some(name)
}

/// The function without what was made up and, for native code, parameters; none if anonymous.
fn function(name: &str, platform: &str, notes: &mut Notes) -> Option<String> {
    let trimmed = name.trim();
    let mut function = without_made_up(trimmed, Part::Function, platform, |source| notes.made_up(name, source));
    match platform {
        "native" | "c" | "cocoa" | "objc" | "swift" | "rust" | "unreal" if function.contains(['<', '(', '`']) => {
            function = Cow::Owned(without_parameters(&function));
        }
        "javascript" => {
            // Browsers do not agree on what stands in front.
            if !function.contains('/')
                && let Some((_, last)) = function.rsplit_once('.')
            {
                function = Cow::Owned(last.to_owned());
            }
        }
        "node" => {
            const RECEIVERS: [&str; 8] =
                ["Object.", "Function.", "Module.", "exports.", "Array.", "Promise.", "global.", "Proxy."];
            if let Some(bare) = RECEIVERS.iter().find_map(|receiver| function.strip_prefix(receiver)) {
                function = Cow::Owned(bare.to_owned());
            }
        }
        _ => {}
    }
    let function = function.trim();
    let is_anonymous = matches!(function, "" | "?" | "<anonymous>" | "<unknown>" | "<redacted>")
        || matches!(platform, "javascript" | "node")
            && (function.ends_with("<anonymous>")
                || matches!(
                    function,
                    "anonymous"
                        | "Anonymous function"
                        | "eval"
                        | "eval code"
                        | "global code"
                        | "module code"
                        | "global"
                ));
    if is_anonymous { None } else { Some(function.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, filename: &str, function: &str, in_app: Option<bool>) -> Frame {
        let text = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
        Frame { module: text(module), filename: text(filename), function: text(function), in_app, ..Frame::default() }
    }

    fn keys(frames: &[Frame], platform: &str, overflows: bool) -> Option<Vec<String>> {
        match frame_keys(frames, platform, overflows, &mut Notes::default()) {
            Keys::Of(keys) => Some(keys),
            Keys::Nothing => None,
        }
    }

    #[test]
    fn files_lose_what_a_build_changes() {
        for (path, expected) in [
            ("/srv/app/Views.py", Some("views.py")),
            ("C:\\app\\Views.cs", Some("views.cs")),
            ("https://h/static/app.3f2a91bc77.js?v=2#x", Some("app.js")),
            ("https://h/assets/index-BqX3k9Za.js", Some("index.js")),
            ("webpack:///./src/cart.ts?abcd", Some("cart.ts")),
            ("app_2024.js", Some("app_2024.js")),
            ("https://h/", None),
            ("https://h", None),
            ("<anonymous>", None),
            ("[native code]", None),
            ("data:text/javascript,x", None),
            ("", None),
        ] {
            assert_eq!(file(path, "javascript", &mut Notes::default()).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn functions_lose_what_is_made_up() {
        for (name, platform, expected) in [
            ("view", "python", Some("view")),
            ("<lambda>", "python", Some("<lambda>")),
            ("lambda", "ruby", Some("lambda")),
            ("fn_2", "javascript", Some("fn_2")),
            ("Order66", "java", Some("Order66")),
            ("handle_operator(int)", "native", Some("handle_operator")),
            ("Object.pay", "javascript", Some("pay")),
            ("async Cart.pay [as handler]", "javascript", Some("pay")),
            ("Cart.pay", "node", Some("Cart.pay")),
            ("Object.pay", "node", Some("pay")),
            ("HTMLButtonElement.<anonymous>", "javascript", None),
            ("pay/<", "javascript", Some("pay")),
            ("new Cart", "javascript", Some("Cart")),
            ("Module../src/cart.js", "javascript", Some("./src/cart.js")),
            ("0x7fff1234", "native", None),
            ("call 0x7fff1234", "native", Some("call")),
            ("block in call", "ruby", Some("call")),
            ("?", "javascript", None),
            (" ", "javascript", None),
        ] {
            assert_eq!(function(name, platform, &mut Notes::default()).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_applications_frames_count_where_they_are_known() {
        let library = frame("lib", "", "call", Some(false));
        let own = frame("app", "/srv/app.py", "view", Some(true));
        let unknown = frame("", "/srv/App.py", "view", None);
        let framework = frame("django.core.handlers", "", "inner", None);
        for (frames, expected) in [
            (vec![library.clone(), own.clone()], vec!["app|view"]),
            (vec![library.clone()], vec!["lib|call"]),
            (vec![library.clone(), unknown.clone()], vec!["app.py|view"]),
            (vec![framework.clone(), unknown, framework.clone()], vec!["app.py|view"]),
            (vec![framework], vec!["django.core.handlers|inner"]),
            (vec![frame("", "<anonymous>", "?", None)], vec![]),
        ] {
            assert_eq!(keys(&frames, "python", false).unwrap(), expected, "{frames:?}");
        }
    }

    #[test]
    fn recursion_counts_once_whatever_its_depth() {
        let call = |name: &str| frame("app", "", name, None);
        let stack = |names: &[&str], overflows| {
            let frames: Vec<Frame> = names.iter().map(|name| call(name)).collect();
            keys(&frames, "python", overflows).unwrap()
        };
        let shallow = stack(&["main", "list", "item", "fail"], false);
        for deep in [
            &["main", "list", "item", "list", "item", "fail"][..],
            &["main", "list", "item", "list", "list", "item", "list", "item", "fail"],
        ] {
            assert_eq!(stack(deep, false), shallow);
        }
        assert_ne!(stack(&["main", "item", "list", "fail"], false), shallow);
        let full = stack(&["main", "list", "item", "list", "item"], true);
        assert_eq!(full, stack(&["item", "list", "item", "list", "len"], true));
    }

    #[test]
    fn the_frames_nearest_to_the_failure_count() {
        let frames: Vec<Frame> = (0..100).map(|number| frame("app", "", &format!("f{number}"), None)).collect();
        let expected: Vec<String> = (70..100).map(|number| format!("app|f{number}")).collect();
        assert_eq!(keys(&frames, "python", false).unwrap(), expected);
        assert_eq!(expected.len(), MAX_KEYS);
    }

    #[test]
    fn minified_names_say_nothing() {
        let short = [frame("", "/app.js", "a", None), frame("", "/app.js", "tn", None), frame("", "/app.js", "", None)];
        assert_eq!(keys(&short, "javascript", false), None);
        assert!(keys(&short, "python", false).is_some());
        let long = [frame("", "/app.js", "a", None), frame("", "/app.js", "pay", None)];
        assert!(keys(&long, "javascript", false).is_some());
    }
}
