//! Which program serves these metrics: what an upgrade has not reached yet shows by its version.

use prometheus::{IntGaugeVec, Opts, Registry};

/// A process that serves metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Operator,
    Ingest,
    Console,
}

impl Component {
    fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Ingest => "ingest",
            Self::Console => "console",
        }
    }
}

/// Fails only if `registry` has the name already.
pub fn register(registry: &Registry, component: Component) -> Result<(), prometheus::Error> {
    let help = "Always 1: the version of the program that serves these metrics.";
    let info = IntGaugeVec::new(Opts::new("errortracking_build_info", help), &["component", "version"])?;
    info.with_label_values(&[component.as_str(), env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_tells_its_version() {
        for (component, name) in
            [(Component::Operator, "operator"), (Component::Ingest, "ingest"), (Component::Console, "console")]
        {
            let registry = Registry::new();
            register(&registry, component).unwrap();
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("errortracking_build_info{{component=\"{name}\",version=\"{version}\"}} 1\n");
            assert!(text.ends_with(&line), "{text}");
        }
    }
}
