//! What is written to standard output and standard error, and in which form.

use std::{
    fmt::Write as _,
    io::{Write as _, stderr, stdout},
};

use clap::ValueEnum;
use kube::{ResourceExt as _, api::DynamicObject};
use serde::Serialize;
use serde_json::json;

use super::error::PluginError;
use crate::text::acts;

/// As kubectl's `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The table with more columns.
    Wide,
    Json,
    Yaml,
    /// One line an object, as clientkey.errortracking.dev/shop.
    Name,
}

/// A form that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Document {
    Json,
    Yaml,
}

impl Output {
    pub fn document(self) -> Option<Document> {
        match self {
            Self::Json => Some(Document::Json),
            Self::Yaml => Some(Document::Yaml),
            Self::Wide | Self::Name => None,
        }
    }
}

/// Something that is said beside what was asked for.
pub fn note(text: &str) {
    // Nobody is left to be told when it cannot be written.
    let _ = writeln!(stderr().lock(), "{}", lines(text));
}

/// What was asked for.
pub fn print(text: &str) -> Result<(), PluginError> {
    Ok(write!(stdout().lock(), "{}", lines(text))?)
}

/// As it is but for characters that a terminal would obey, or a reader not see.
fn lines(text: &str) -> String {
    text.replace(acts, " ")
}

/// Prints a value as a document.
pub fn print_document(document: Document, value: &impl Serialize) -> Result<(), PluginError> {
    print(&match document {
        Document::Json => json_text(value)?,
        Document::Yaml => serde_yaml::to_string(value)?,
    })
}

/// JSON writes control characters of C0 as escapes by itself; whatever else acts is written so too, so that nothing is lost.
fn json_text(value: &impl Serialize) -> Result<String, PluginError> {
    let mut text = String::new();
    for character in serde_json::to_string_pretty(value)?.chars() {
        if acts(character) {
            // A String takes everything.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text.push('\n');
    Ok(text)
}

/// Prints one object, as kubectl does after it changed something. `done` is what was done with it, for people.
pub fn print_object(output: Option<Output>, mut object: DynamicObject, done: &str) -> Result<(), PluginError> {
    if let Some(document) = output.and_then(Output::document) {
        object.metadata.managed_fields = None;
        return print_document(document, &object);
    }
    let name = reference(&object);
    print(&if output == Some(Output::Name) { format!("{name}\n") } else { format!("{name} {done}\n") })
}

/// Prints objects as documents or names, or the table that is made of them.
pub fn print_objects(
    output: Option<Output>,
    mut objects: Vec<DynamicObject>,
    table: impl FnOnce(&[DynamicObject]) -> String,
) -> Result<(), PluginError> {
    if let Some(document) = output.and_then(Output::document) {
        for object in &mut objects {
            object.metadata.managed_fields = None;
        }
        return print_document(document, &json!({"apiVersion": "v1", "kind": "List", "items": objects}));
    }
    let names = || objects.iter().map(|object| reference(object) + "\n").collect();
    print(&if output == Some(Output::Name) { names() } else { table(&objects) })
}

/// As "clientkey.errortracking.dev/shop".
fn reference(object: &DynamicObject) -> String {
    let types = object.types.clone().unwrap_or_default();
    let group = types.api_version.split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    format!("{}{group}/{}", types.kind.to_lowercase(), object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_objects() {
        assert_eq!(lines("a\u{1b}[2Jb\u{9b}c\rd\n\te\u{202e}f"), "a [2Jb c d\n\te f");
        let text = json_text(&json!({"message": "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\n"})).unwrap();
        assert_eq!(text, "{\n  \"message\": \"a\\u001b[2J\\u009b\\u007f\\u202e\\n\"\n}\n");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["message"], "a\u{1b}[2J\u{9b}\u{7f}\u{202e}\n");
    }

    #[test]
    fn an_object_is_named_as_kubectl_names_it() {
        let object = |api_version: &str, kind: &str| {
            serde_json::from_value::<DynamicObject>(
                json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "shop"}}),
            )
        };
        let key = object("errortracking.dev/v1alpha1", "ClientKey").unwrap();
        assert_eq!(reference(&key), "clientkey.errortracking.dev/shop");
        assert_eq!(reference(&object("v1", "Secret").unwrap()), "secret/shop");
    }
}
