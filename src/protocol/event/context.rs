//! Contexts: what surrounded the event. Only those that people search by are read; the payload keeps all.

use serde::de::MapAccess;

use super::{
    attributes::{ContextsAttribute, DeviceAttribute, SoftwareAttribute},
    lenient::{Attributes, Object, skip, value},
    text::Text,
};

/// The `contexts` of an event.
#[derive(Default)]
pub(super) struct Contexts {
    pub(super) runtime: Software,
    pub(super) os: Software,
    pub(super) browser: Software,
    device: Device,
}

impl Contexts {
    /// The model where it is known, else the family it belongs to.
    pub(super) fn device(self) -> Option<String> {
        self.device.model.or(self.device.family)
    }
}

impl Attributes for Contexts {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match ContextsAttribute::named(name.as_bytes()) {
            Some(ContextsAttribute::Runtime) => read(&mut self.runtime, object),
            Some(ContextsAttribute::Os) => read(&mut self.os, object),
            Some(ContextsAttribute::Browser) => read(&mut self.browser, object),
            Some(ContextsAttribute::Device) => read(&mut self.device, object),
            _ => skip(object),
        }
    }
}

/// The last object of a repeated context counts.
fn read<'de, T: Attributes, A: MapAccess<'de>>(context: &mut T, object: &mut A) -> Result<(), A::Error> {
    if let Some(found) = value::<Object<T>, A>(object)?.0 {
        *context = found;
    }
    Ok(())
}

/// Something with a name and a version: `CPython` `3.12.3`.
#[derive(Default)]
pub(super) struct Software {
    pub(super) name: Option<String>,
    version: Option<String>,
}

impl Software {
    /// Name and version in one: `CPython 3.12.3`.
    pub(super) fn full_name(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(self.version.as_deref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
    }
}

impl Attributes for Software {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match SoftwareAttribute::named(name.as_bytes()) {
            Some(SoftwareAttribute::Name) => self.name = value::<Text<200>, A>(object)?.0,
            Some(SoftwareAttribute::Version) => self.version = value::<Text<200>, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Device {
    model: Option<String>,
    family: Option<String>,
}

impl Attributes for Device {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match DeviceAttribute::named(name.as_bytes()) {
            Some(DeviceAttribute::Model) => self.model = value::<Text<200>, A>(object)?.0,
            Some(DeviceAttribute::Family) => self.family = value::<Text<200>, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
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
        ] {
            let found: Contexts = serde_json::from_str::<Any<Object<Contexts>>>(json).unwrap().0.0.unwrap();
            assert_eq!(found.runtime.full_name().as_deref(), runtime, "{json}");
            assert_eq!(found.os.full_name().as_deref(), os, "{json}");
            assert_eq!(found.device().as_deref(), device, "{json}");
        }
    }
}
