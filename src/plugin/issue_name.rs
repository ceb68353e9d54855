//! How a command line names an error.

use std::{fmt, str::FromStr};

use super::cluster::name;

/// `SHOP-12` or `shop/12`: name of the project, and the number within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IssueName {
    pub project: String,
    pub number: u32,
}

impl FromStr for IssueName {
    type Err = &'static str;

    /// Also as `-o name` prints it: `issue/SHOP-12`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "it is no error, as SHOP-12 or shop/12: name of the project and number";
        let number = |text: &str| match text.parse() {
            Ok(number @ 1..) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ => None,
        };
        let (project, number) = match text.split_once('/') {
            Some((project, last)) if number(last).is_some() => (project, number(last)),
            Some(("issue", short)) => short.rsplit_once('-').map_or((short, None), |(name, last)| (name, number(last))),
            Some(_) => return Err(WRONG),
            None => text.rsplit_once('-').map_or((text, None), |(name, last)| (name, number(last))),
        };
        let project = name(&project.to_ascii_lowercase()).map_err(|_| WRONG)?;
        Ok(Self { project, number: number.ok_or(WRONG)? })
    }
}

impl fmt::Display for IssueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.project.to_uppercase(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_and_paths_name_an_error() {
        for (text, found) in [
            ("SHOP-12", Some(("shop", 12))),
            ("shop-12", Some(("shop", 12))),
            ("shop/12", Some(("shop", 12))),
            ("issue/SHOP-12", Some(("shop", 12))),
            ("issue/12", Some(("issue", 12))),
            ("ISSUE-12", Some(("issue", 12))),
            ("SHOP-EU-2-3", Some(("shop-eu-2", 3))),
            ("shop.eu/3", Some(("shop.eu", 3))),
            ("shop-12/3", Some(("shop-12", 3))),
            ("shop", None),
            ("12", None),
            ("-12", None),
            ("shop-", None),
            ("shop-0", None),
            ("shop-+1", None),
            ("shop-4294967296", None),
            ("shop/12/3", None),
            ("web/shop-12", None),
            ("../shop-12", None),
            ("sh op-12", None),
            ("", None),
        ] {
            let name = text.parse::<IssueName>().ok();
            assert_eq!(name.as_ref().map(|name| (&*name.project, name.number)), found, "{text}");
        }
        assert_eq!("shop-eu/3".parse::<IssueName>().unwrap().to_string(), "SHOP-EU-3");
    }
}
