//! `/-/help`: the keys, and a switch for them.

use askama::Template;

use super::Shell;

/// As `static/console.js` has them.
const KEYS: [(&str, &str); 18] = [
    ("j, k", "next and previous error of a list"),
    ("o, Enter", "opens the marked error"),
    ("x", "ticks the marked error"),
    ("X", "ticks everything from the last tick to the marked error"),
    ("e", "resolves"),
    ("i", "ignores"),
    ("u", "reopens"),
    ("a", "assigns to you"),
    ("m", "merges: goes to the field for the other error"),
    ("z", "undoes what was just done, for all errors that it was done to"),
    ("/", "goes to the search"),
    ("[, ]", "older and newer event of an error"),
    ("f", "opens or closes all frames of the stack trace"),
    ("t", "shows exact times, or how long ago they were"),
    ("y", "copies the address of the page"),
    ("g p, g l", "goes to the projects, or to the list of the project"),
    ("Esc", "closes a menu"),
    ("?", "this page"),
];

#[derive(Debug, Template)]
#[template(path = "help.html")]
pub struct HelpPage {
    shell: Shell,
    keys: &'static [(&'static str, &'static str)],
    /// Whether this browser has switched them off.
    off: bool,
}

impl HelpPage {
    #[must_use]
    pub fn new(shell: Shell, off: bool) -> Self {
        Self { shell, keys: &KEYS, off }
    }
}
