//! Contexts: what surrounded the event. Only those that people search by are read; the payload keeps all.

use serde::de::MapAccess;

use super::{
    attributes::{ContextAttribute, ContextsAttribute, DeviceAttribute, SoftwareAttribute},
    lenient::{Attributes, Object, assign, skip, value},
    text::{Strict, Text},
};

/// The `contexts` of an event. One counts by its `type`, whatever its name; one that has no type, by its name.
#[derive(Default)]
pub(super) struct Contexts {
    pub(super) runtime: Named,
    pub(super) os: Named,
    pub(super) browser: Named,
    pub(super) device: Named,
}

impl Attributes for Contexts {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let Some(context) = value::<Object<Context>, A>(object)?.0 else { return Ok(()) };
        let kind = context.r#type.as_deref().unwrap_or(name);
        let named = match ContextsAttribute::named(kind.as_bytes()) {
            Some(ContextsAttribute::Runtime) => &mut self.runtime,
            Some(ContextsAttribute::Os) => &mut self.os,
            Some(ContextsAttribute::Browser) => &mut self.browser,
            Some(ContextsAttribute::Device) => &mut self.device,
            _ => return Ok(()),
        };
        // The last of those that have the name of their kind, else the first that says something.
        if name == kind || named.0.is_empty() {
            named.0 = context;
        }
        Ok(())
    }
}

/// The context of one kind, empty if there is none.
#[derive(Default)]
pub(super) struct Named(Context);

impl Named {
    /// As software, `CPython` `3.12.3`; `None` if it has no name.
    pub(super) fn software(&self) -> Option<Software> {
        let Context { name, version, raw_description, .. } = &self.0;
        match name {
            Some(name) => Some(Software::new(name, version.as_deref())),
            None => raw_description.as_deref().and_then(Software::described),
        }
    }

    /// As a device: the model where it is known, else the family it belongs to.
    pub(super) fn device(&self) -> Option<&str> {
        self.0.model.as_deref().or(self.0.family.as_deref())
    }
}

/// What a context of any kind may say.
#[derive(Default)]
struct Context {
    r#type: Option<String>,
    name: Option<String>,
    version: Option<String>,
    /// What the system says of itself, in one.
    raw_description: Option<String>,
    model: Option<String>,
    family: Option<String>,
}

impl Context {
    fn is_empty(&self) -> bool {
        [&self.name, &self.raw_description, &self.model, &self.family].into_iter().all(Option::is_none)
    }
}

impl Attributes for Context {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let text = if let Some(software) = SoftwareAttribute::named(name.as_bytes()) {
            match software {
                SoftwareAttribute::Name => &mut self.name,
                SoftwareAttribute::Version => &mut self.version,
                SoftwareAttribute::RawDescription => &mut self.raw_description,
            }
        } else if let Some(device) = DeviceAttribute::named(name.as_bytes()) {
            match device {
                DeviceAttribute::Model => &mut self.model,
                DeviceAttribute::Family => &mut self.family,
            }
        } else if ContextAttribute::named(name.as_bytes()) == Some(ContextAttribute::Type) {
            assign(&mut self.r#type, value::<Strict<32>, A>(object)?.0);
            return Ok(());
        } else {
            return skip(object);
        };
        *text = value::<Text<200>, A>(object)?.0;
        Ok(())
    }
}

/// Something with a name and a version: `CPython` `3.12.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Software {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

impl Software {
    pub(super) fn new(name: &str, version: Option<&str>) -> Self {
        Self { name: name.to_owned(), version: version.map(str::to_owned) }
    }

    /// Name and version in one: `CPython 3.12.3`.
    pub(super) fn full_name(&self) -> String {
        let Self { name, version } = self;
        version.as_deref().map_or_else(|| name.clone(), |version| format!("{name} {version}"))
    }

    /// Of what a system says of itself: `Microsoft Windows 10.0.19045`, `Linux 5.15.0-91-generic #101-Ubuntu SMP`,
    /// `.NET Core 3.1.8`.
    fn described(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("Microsoft ");
        let begins_version = |at: &usize| text.as_bytes()[at + 1..].first().is_some_and(u8::is_ascii_digit);
        let Some(blank) = text.match_indices(' ').map(|(at, _)| at).find(begins_version) else {
            return text
                .split(['(', '#'])
                .next()
                .map(|name| Self::new(name.trim(), None))
                .filter(|it| !it.name.is_empty());
        };
        let (name, rest) = (&text[..blank], &text[blank + 1..]);
        let version = rest.split(|sign: char| !(sign.is_ascii_digit() || sign == '.')).next().unwrap_or_default();
        let version = version.trim_end_matches('.');
        Some(Self::new(name, Some(if name == "Windows" { windows(version) } else { version })))
    }
}

/// The edition of Windows, as people call it, by the number of its kernel.
fn windows(kernel: &str) -> &str {
    let mut numbers = kernel.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(10), Some(0), Some(22_000..)) => "11",
        (Some(10), Some(0), _) => "10",
        (Some(6), Some(3), _) => "8.1",
        (Some(6), Some(2), _) => "8",
        (Some(6), Some(1), _) => "7",
        _ => kernel,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lenient::Any, *};

    #[test]
    fn software_and_devices_have_names_to_search_by() {
        for (json, runtime, os, device) in [
            (
                r#"{"runtime":{"name":"CPython","version":"3.12.3","build":"x"},"os":{"name":"Linux"},"device":{"model":"iPhone14,2","family":"iPhone"}}"#,
                Some("CPython 3.12.3"),
                Some("Linux"),
                Some("iPhone14,2"),
            ),
            (
                r#"{"runtime":{"version":"3"},"os":{"name":"Windows","version":11},"device":{"family":"Mac"}}"#,
                None,
                Some("Windows 11"),
                Some("Mac"),
            ),
            (r#"{"runtime":"x","os":[],"device":null,"trace":{"name":"t"},"app":5}"#, None, None, None),
            (r#"{"os":{"name":"Linux"},"os":5}"#, None, Some("Linux"), None),
            // By type, whatever the name.
            (
                r#"{"server-os":{"type":"os","name":"Linux","version":"6.1"},"server-runtime":{"type":"runtime","name":".NET","version":"8.0.1"}}"#,
                Some(".NET 8.0.1"),
                Some("Linux 6.1"),
                None,
            ),
            (
                r#"{"phone":{"type":"device","model":"Pixel 7"},"os":{"type":"runtime","name":"Node"}}"#,
                Some("Node"),
                None,
                Some("Pixel 7"),
            ),
            // The one that has the name of its kind, wherever it stands; else the first that says something.
            (r#"{"os":{"name":"iOS"},"server-os":{"type":"os","name":"Linux"}}"#, None, Some("iOS"), None),
            (r#"{"server-os":{"type":"os","name":"Linux"},"os":{"name":"iOS"}}"#, None, Some("iOS"), None),
            (
                r#"{"a":{"type":"os"},"b":{"type":"os","name":"Linux"},"c":{"type":"os","name":"iOS"}}"#,
                None,
                Some("Linux"),
                None,
            ),
            (r#"{"a":{"type":5,"name":"x"},"b":{"type":"unknown","name":"y"}}"#, None, None, None),
            // What the system says of itself.
            (
                r#"{"os":{"raw_description":"Microsoft Windows 10.0.19045"},"runtime":{"raw_description":".NET Core 3.1.8"}}"#,
                Some(".NET Core 3.1.8"),
                Some("Windows 10"),
                None,
            ),
            (
                r#"{"os":{"raw_description":"Linux 5.15.0-91-generic #101-Ubuntu SMP"},"runtime":{"name":"x","raw_description":"y 1"}}"#,
                Some("x"),
                Some("Linux 5.15.0"),
                None,
            ),
            (r#"{"os":{"raw_description":"Microsoft Windows 10.0.22631 "}}"#, None, Some("Windows 11"), None),
            (r#"{"os":{"raw_description":"Darwin"},"runtime":{"raw_description":" "}}"#, None, Some("Darwin"), None),
        ] {
            let found: Contexts = serde_json::from_str::<Any<Object<Contexts>>>(json).unwrap().0.0.unwrap();
            let full = |named: &Named| named.software().map(|software| software.full_name());
            assert_eq!(full(&found.runtime).as_deref(), runtime, "{json}");
            assert_eq!(full(&found.os).as_deref(), os, "{json}");
            assert_eq!(found.device.device(), device, "{json}");
        }
    }
}
