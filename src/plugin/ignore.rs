//! Ignores errors.

use super::{
    PluginError, cluster,
    triage::{Action, Targets, act},
};

/// Ignore errors: for ever, for a time, or until so many more events or users come.
#[derive(Clone, Debug, clap::Args)]
pub struct Ignore {
    #[command(flatten)]
    targets: Targets,
    /// For so long, as 24h or 7d; the next event after that reopens it.
    #[arg(long = "for", value_name = "TIME", value_parser = hours, conflicts_with_all = ["events", "users"])]
    hours: Option<u32>,
    /// Until so many more events come.
    #[arg(long, value_name = "NUMBER", conflicts_with = "users")]
    events: Option<u32>,
    /// Until so many more users have it.
    #[arg(long, value_name = "NUMBER")]
    users: Option<u32>,
}

/// `24h`, `7d`: the hours.
fn hours(text: &str) -> Result<u32, &'static str> {
    const WRONG: &str = "it is no time in hours or days, as 24h or 7d";
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0).ok_or(WRONG);
    match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(hours), _) => number(hours),
        (None, Some(days)) => number(days)?.checked_mul(24).ok_or(WRONG),
        (None, None) => Err(WRONG),
    }
}

pub async fn ignore(command: &Ignore, options: &cluster::Options) -> Result<(), PluginError> {
    act(&command.targets, &command.action(), options).await
}

impl Ignore {
    fn action(&self) -> Action {
        let action = match (self.hours, self.events, self.users) {
            (Some(hours), ..) => format!("ignore {hours}h"),
            (_, Some(events), _) => format!("ignore {events} events"),
            (.., Some(users)) => format!("ignore {users} users"),
            _ => "ignore".to_owned(),
        };
        Action::new(action, "ignored")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_hours_or_days() {
        for (text, expected) in [
            ("24h", Some(24)),
            ("7d", Some(168)),
            ("0h", None),
            ("h", None),
            ("-1h", None),
            ("1w", None),
            ("4294967295d", None),
        ] {
            assert_eq!(hours(text).ok(), expected, "{text}");
        }
    }
}
