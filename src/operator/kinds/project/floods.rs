//! What is said of a project to which more new things come than its limits let in. Pure.

use crate::{
    crd::Reason,
    store::admin::{Flood, FloodKind},
};

/// Reason and sentence of the limits that were met within the last hour, the worst first; `None`: not one.
#[must_use]
pub fn describe(floods: &[Flood]) -> Option<(Reason, String)> {
    let reason = reason(floods.first()?.kind);
    let sentences: Vec<_> = floods.iter().map(sentence).collect();
    let message = format!(
        "{} Every event is stored. If this is none of yours, somebody sends with a key that can be read in a page: give \
         that ClientKey a rateLimit, rotate it, or set filters.",
        sentences.join(" ")
    );
    Some((reason, message))
}

fn reason(kind: FloodKind) -> Reason {
    match kind {
        FloodKind::Issues => Reason::TooManyNewIssues,
        FloodKind::Releases => Reason::TooManyNewReleases,
        FloodKind::Environments => Reason::TooManyNewEnvironments,
        FloodKind::Tags => Reason::TooManyNewTags,
        FloodKind::Users => Reason::TooManyNewUsers,
    }
}

fn sentence(flood: &Flood) -> String {
    let (what, became) = match flood.kind {
        FloodKind::Issues => ("issues", "are in one issue, \"Events beyond the limit of new issues an hour\""),
        FloodKind::Releases => ("releases", "are stored without their release"),
        FloodKind::Environments => ("environments", "are stored without their environment"),
        FloodKind::Tags => ("tags", "have a tag that is not indexed"),
        FloodKind::Users => ("users of an issue", "have a user who is not counted"),
    };
    let (an_hour, met) = (flood.an_hour, rounded_down(flood.met));
    let since = flood.since.strftime("%Y-%m-%dT%H:%MZ");
    format!(
        "Since {since} more than {an_hour} new {what} come in an hour: {met} events or more, of the last hour, {became}."
    )
}

/// To its first digit: each change of the number is a write.
fn rounded_down(number: u64) -> u64 {
    let digits = number.checked_ilog10().unwrap_or_default();
    let unit = 10_u64.pow(digits);
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(kind: FloodKind, an_hour: u64, met: u64) -> Flood {
        Flood { kind, an_hour, met, since: "2026-11-29T01:59:30Z".parse().unwrap() }
    }

    #[test]
    fn each_limit_that_is_met_has_a_sentence() {
        assert_eq!(describe(&[]), None);
        let (reason, message) =
            describe(&[flood(FloodKind::Issues, 1_000, 34_567), flood(FloodKind::Tags, 500, 9)]).unwrap();
        assert_eq!(reason, Reason::TooManyNewIssues);
        assert_eq!(
            message,
            "Since 2026-11-29T01:59Z more than 1000 new issues come in an hour: 30000 events or more, of the last hour, are \
             in one issue, \"Events beyond the limit of new issues an hour\". Since 2026-11-29T01:59Z more than 500 new \
             tags come in an hour: 9 events or more, of the last hour, have a tag that is not indexed. Every event is \
             stored. If this is none of yours, somebody sends with a key that can be read in a page: give that ClientKey \
             a rateLimit, rotate it, or set filters."
        );
        let reasons: Vec<_> = FloodKind::ALL.map(|kind| describe(&[flood(kind, 1, 1)]).unwrap().0.as_str()).into();
        assert_eq!(
            reasons,
            ["TooManyNewIssues", "TooManyNewReleases", "TooManyNewEnvironments", "TooManyNewTags", "TooManyNewUsers"]
        );
    }

    #[test]
    fn all_of_it_fits_into_a_message() {
        let floods = FloodKind::ALL.map(|kind| flood(kind, 100_000, u64::MAX));
        assert!(describe(&floods).unwrap().1.chars().count() <= 1024);
    }

    #[test]
    fn a_number_is_told_by_its_first_digit() {
        for (number, told) in [(0, 0), (1, 1), (9, 9), (10, 10), (19, 10), (99, 90), (34_567, 30_000)] {
            assert_eq!(rounded_down(number), told, "{number}");
        }
    }
}
