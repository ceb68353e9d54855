//! Exceptions: a chain, oldest cause first.

use serde::de::MapAccess;

use super::{
    Exception, Lineage,
    attributes::{ExceptionAttribute, MechanismAttribute},
    lenient::{Attributes, Collect, Ends, Kept, Object, assign, skip, value},
    stacktrace::Stacktrace,
    text::{Flag, JsonText, Number, Strict},
};

const MAX_TYPE_CHARS: usize = 256;
/// Characters kept of an exception's value.
pub const MAX_VALUE_CHARS: usize = 8192;

/// The ends of a chain are what people look at; a longer one is a loop of causes.
#[derive(Default)]
pub(super) struct Exceptions<const LINES: bool>(Ends<Exception, 50, 50>);

impl<const LINES: bool> Exceptions<LINES> {
    pub(super) fn into_kept(self) -> Kept<Exception> {
        self.0.into_kept()
    }
}

impl<const LINES: bool> Collect for Exceptions<LINES> {
    type Item = ExceptionDraft<LINES>;

    /// An exception that names neither type nor value says nothing, unless it says where.
    fn push(&mut self, ExceptionDraft(mut exception): ExceptionDraft<LINES>) {
        split_value(&mut exception);
        if exception.r#type.is_some() || exception.value.is_some() || !exception.frames.is_empty() {
            self.0.push(exception);
        }
    }
}

#[derive(Default)]
pub(super) struct ExceptionDraft<const LINES: bool>(Exception);

impl<const LINES: bool> Attributes for ExceptionDraft<LINES> {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let Self(exception) = self;
        match ExceptionAttribute::named(name.as_bytes()) {
            Some(ExceptionAttribute::Type) => {
                assign(&mut exception.r#type, value::<Strict<MAX_TYPE_CHARS>, A>(object)?.0);
            }
            Some(ExceptionAttribute::Value) => {
                assign(&mut exception.value, value::<JsonText<MAX_VALUE_CHARS>, A>(object)?.0);
            }
            Some(ExceptionAttribute::Module) => assign(&mut exception.module, value::<Strict<256>, A>(object)?.0),
            Some(ExceptionAttribute::Stacktrace) => {
                let frames = value::<Stacktrace<LINES>, A>(object)?.0;
                if !frames.is_empty() {
                    exception.frames = frames.items;
                    exception.dropped_frames = frames.dropped;
                }
            }
            Some(ExceptionAttribute::Mechanism) => {
                if let Some(mechanism) = value::<Object<Mechanism>, A>(object)?.0 {
                    exception.handled = mechanism.handled;
                    exception.synthetic = mechanism.synthetic;
                    exception.mechanism = Some(mechanism.name.unwrap_or_else(|| "generic".to_owned()));
                    exception.lineage = mechanism.lineage;
                }
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Mechanism {
    name: Option<String>,
    handled: Option<bool>,
    synthetic: bool,
    lineage: Lineage,
}

impl Attributes for Mechanism {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match MechanismAttribute::named(name.as_bytes()) {
            Some(MechanismAttribute::Type) => self.name = value::<Strict<128>, A>(object)?.0,
            Some(MechanismAttribute::Handled) => self.handled = value::<Flag, A>(object)?.0,
            Some(MechanismAttribute::Synthetic) => self.synthetic = value::<Flag, A>(object)?.0 == Some(true),
            Some(MechanismAttribute::ExceptionId) => self.lineage.id = value::<Number, A>(object)?.0,
            Some(MechanismAttribute::ParentId) => self.lineage.parent = value::<Number, A>(object)?.0,
            Some(MechanismAttribute::IsExceptionGroup) => {
                self.lineage.is_group = value::<Flag, A>(object)?.0 == Some(true);
            }
            Some(MechanismAttribute::Source) => self.lineage.source = value::<Strict<128>, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// Old clients put `KeyError: 'a'` into the value alone.
fn split_value(exception: &mut Exception) {
    if exception.r#type.is_some() {
        return;
    }
    let Some((name, rest)) = exception.value.as_deref().and_then(|value| value.split_once(':')) else { return };
    let word = |character: char| character.is_alphanumeric() || character == '_';
    if !name.is_empty() && name.chars().all(word) && !rest.contains('\n') {
        let (name, rest) = (name.to_owned(), rest.trim().to_owned());
        exception.r#type = Some(name);
        exception.value = if rest.is_empty() { None } else { Some(rest) };
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::lenient::{Any, Values},
        *,
    };

    fn exceptions(json: &str) -> Vec<(Option<String>, Option<String>)> {
        let found = serde_json::from_str::<Any<Values<Exceptions<true>>>>(json).unwrap().0.0.into_kept().items;
        found.into_iter().map(|exception| (exception.r#type, exception.value)).collect()
    }

    fn one(r#type: Option<&str>, value: Option<&str>) -> Vec<(Option<String>, Option<String>)> {
        vec![(r#type.map(str::to_owned), value.map(str::to_owned))]
    }

    #[test]
    fn every_shape_of_the_list_is_read() {
        let exception = r#"{"type":"KeyError","value":"a"}"#;
        let expected = one(Some("KeyError"), Some("a"));
        for json in [
            format!("[{exception}]"),
            format!(r#"{{"values":[{exception}]}}"#),
            exception.to_owned(),
            format!("[null,{exception},5,\"x\"]"),
            format!(r#"{{"values":{exception}}}"#),
        ] {
            assert_eq!(exceptions(&json), expected, "{json}");
        }
        for none in ["null", "{}", "[]", r#"{"values":null}"#, "5", r#"{"type":"","value":""}"#, r#"[{"type":null}]"#] {
            assert_eq!(exceptions(none), [], "{none}");
        }
    }

    #[test]
    fn type_and_value_are_normalised() {
        for (json, r#type, value) in [
            (r#"{"value":"KeyError: 'a'"}"#, Some("KeyError"), Some("'a'")),
            (r#"{"type":"","value":"KeyError:x"}"#, Some("KeyError"), Some("x")),
            (r#"{"value":"no type: here"}"#, None, Some("no type: here")),
            (r#"{"value":"KeyError: a\nb"}"#, None, Some("KeyError: a\nb")),
            (r#"{"value":"KeyError:"}"#, Some("KeyError"), None),
            (r#"{"type":"E","value":{"a":1}}"#, Some("E"), Some(r#"{"a":1}"#)),
            (r#"{"type":"E","value":42}"#, Some("E"), Some("42")),
            (r#"{"type":5,"value":"v"}"#, None, Some("v")),
        ] {
            assert_eq!(exceptions(json), one(r#type, value), "{json}");
        }
    }

    #[test]
    fn a_place_without_a_name_is_kept() {
        assert_eq!(exceptions(r#"[{"stacktrace":{"frames":[{"function":"f"}]}}]"#), one(None, None));
    }

    #[test]
    fn the_mechanism_tells_whether_it_was_handled() {
        for (mechanism, name, handled, synthetic) in [
            (r#"{"type":"django","handled":false,"synthetic":true}"#, Some("django"), Some(false), true),
            (r#"{"type":5,"handled":"no"}"#, Some("generic"), None, false),
            ("{}", Some("generic"), None, false),
            ("null", None, None, false),
            ("[]", None, None, false),
        ] {
            let json = format!(r#"[{{"type":"E","mechanism":{mechanism}}}]"#);
            let found = serde_json::from_str::<Any<Values<Exceptions<true>>>>(&json).unwrap().0.0.into_kept().items;
            let found = (found[0].mechanism.as_deref(), found[0].handled, found[0].synthetic);
            assert_eq!(found, (name, handled, synthetic), "{mechanism}");
        }
    }

    #[test]
    fn a_group_and_its_members_are_told_from_causes() {
        let json = r#"[{"type":"E","mechanism":{"exception_id":3,"parent_id":"0","is_exception_group":true,
            "source":"exceptions[1]"}},{"type":"E","mechanism":{"exception_id":-1,"parent_id":[],"source":5}}]"#;
        let found = serde_json::from_str::<Any<Values<Exceptions<true>>>>(json).unwrap().0.0.into_kept().items;
        let member = Lineage { id: Some(3), parent: Some(0), is_group: true, source: Some("exceptions[1]".to_owned()) };
        assert_eq!([&found[0].lineage, &found[1].lineage], [&member, &Lineage::default()]);
    }
}
