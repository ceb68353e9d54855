//! Which namespaces the installation looks at.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
};

/// The namespaces of the projects and keys that this installation serves.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Namespaces {
    /// Namespace that is looked at; may be given several times. None: all of them.
    #[arg(long = "watch-namespace", env = "ERROR_TRACKING_WATCH_NAMESPACES", value_delimiter = ',')]
    watched: Vec<String>,
}

impl Namespaces {
    /// Each once, in order; none: all.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.watched.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// One for each list and watch that is needed to see every object of a kind, with the namespace that it is of.
    #[must_use]
    pub fn apis(&self, client: &Client, resource: &ApiResource) -> Vec<(Option<String>, Api<DynamicObject>)> {
        let names = self.names();
        if names.is_empty() {
            return vec![(None, Api::all_with(client.clone(), resource))];
        }
        let of = |name: &str| (Some(name.to_owned()), Api::namespaced_with(client.clone(), name, resource));
        names.into_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_looked_at_once_and_an_empty_name_is_none() {
        let names = |watched: &[&str]| {
            let namespaces = Namespaces { watched: watched.iter().map(|&name| name.into()).collect() };
            namespaces.names().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(&["web", "api", "web"]), ["api", "web"]);
        assert_eq!(names(&[""]), Vec::<String>::new());
    }
}
