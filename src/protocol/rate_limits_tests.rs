//! The header is read back by a model of each SDK's parser: what it does with the text, not how.

use proptest::prelude::*;

use super::*;

/// What an SDK understood: seconds for each category; an empty name is all of them.
type Understood = Vec<(String, u64)>;

fn each(categories: &str, seconds: u64) -> Understood {
    categories.split(';').map(|category| (category.to_owned(), seconds)).collect()
}

/// A number must be whole, or the whole limit is passed over; blanks around a limit do not matter.
fn python(header: &str) -> Understood {
    let limit = |limit: &str| {
        let mut parts = limit.trim().split(':');
        let seconds = parts.next()?.parse().ok()?;
        Some(each(parts.next()?, seconds))
    };
    header.split(',').filter_map(limit).flatten().collect()
}

/// A limit that is no number makes the whole header unreadable.
fn go(header: &str) -> Understood {
    let limit = |limit: &str| {
        let mut parts = limit.trim().split(':');
        let seconds = parts.next()?.trim().parse().ok()?;
        Some(each(parts.next().unwrap_or_default(), seconds))
    };
    header.split(',').map(limit).collect::<Option<Vec<_>>>().unwrap_or_default().concat()
}

/// Fractions are read, blanks left out; without a number a minute counts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test")]
fn java(header: &str) -> Understood {
    let limit = |limit: &str| {
        let limit = limit.replace(' ', "");
        let mut parts = limit.split(':');
        let seconds = parts.next().and_then(|seconds| seconds.parse::<f64>().ok()).unwrap_or(60.0) as u64;
        parts.next().map(|categories| each(categories, seconds)).unwrap_or_default()
    };
    header.split(',').flat_map(limit).collect()
}

/// The digits in front are the number; without any a minute counts.
fn node(header: &str) -> Understood {
    let limit = |limit: &str| {
        let mut parts = limit.split(':');
        let number = parts.next().unwrap_or_default().trim();
        let digits = number.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(number.len());
        each(parts.next().unwrap_or_default(), number[..digits].parse().unwrap_or(60))
    };
    header.trim().split(',').flat_map(limit).collect()
}

/// Anything but digits, a blank too, makes it a minute; the second part must be there.
fn php(header: &str) -> Understood {
    let limit = |limit: &str| {
        let parts: Vec<&str> = limit.split(':').collect();
        let digits = !parts[0].is_empty() && parts[0].bytes().all(|byte| byte.is_ascii_digit());
        each(parts[1], if digits { parts[0].parse().unwrap() } else { 60 })
    };
    header.split(',').flat_map(limit).collect()
}

/// Empty parts at the end of a limit vanish, and then its categories are missing.
fn ruby(header: &str) -> Understood {
    let limit = |limit: &str| {
        let parts: Vec<&str> = limit.trim_end_matches(':').split(':').collect();
        each(parts.get(1).expect("no categories"), parts[0].trim().parse().unwrap_or(0))
    };
    header.split(',').flat_map(limit).collect()
}

/// All three parts must be there, or the limit is passed over.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test")]
fn rust(header: &str) -> Understood {
    let limit = |limit: &str| {
        let mut parts = limit.trim().split(':');
        let seconds = parts.next()?.parse::<f64>().ok()? as u64;
        let categories = parts.next()?;
        parts.next()?;
        Some(each(categories, seconds))
    };
    header.split(',').filter_map(limit).flatten().collect()
}

type Parse = fn(&str) -> Understood;

const SDKS: [(&str, Parse); 7] =
    [("python", python), ("go", go), ("java", java), ("node", node), ("php", php), ("ruby", ruby), ("rust", rust)];

fn limit(seconds: u32, categories: Categories, scope: Scope) -> QuotaLimit {
    QuotaLimit { seconds, categories, scope, reason: ReasonCode::ProjectQuota }
}

#[test]
fn limits_are_written_as_clients_read_them() {
    let (events, everything) = (Categories::Events, Categories::Everything);
    for (limits, expected, longest) in [
        (vec![], None, None),
        (
            vec![QuotaLimit { reason: ReasonCode::KeyRateLimit, ..limit(60, events, Scope::Key) }],
            Some("60:default;error;security:key:key_rate_limit"),
            Some(60),
        ),
        (vec![limit(5, everything, Scope::Organization)], Some("5::organization:project_quota"), Some(5)),
        (
            vec![limit(60, events, Scope::Key), limit(90, everything, Scope::Project)],
            Some("60:default;error;security:key:project_quota,90::project:project_quota"),
            Some(90),
        ),
        (vec![limit(0, everything, Scope::Key)], Some("1::key:project_quota"), Some(1)),
        (vec![limit(u32::MAX, everything, Scope::Key)], Some("21600::key:project_quota"), Some(MAX_SECONDS)),
    ] {
        assert_eq!(header(&limits).as_deref(), expected, "{limits:?}");
        assert_eq!(retry_after(&limits), longest, "{limits:?}");
    }
}

#[test]
fn every_sdk_keeps_its_events_back() {
    let limits = [limit(120, Categories::Events, Scope::Key), limit(30, Categories::Everything, Scope::Project)];
    let text = header(&limits).unwrap();
    let expected = [("default", 120), ("error", 120), ("security", 120), ("", 30)];
    let expected: Understood = expected.map(|(category, seconds)| (category.to_owned(), seconds)).to_vec();
    for (sdk, parse) in SDKS {
        assert_eq!(parse(&text), expected, "{sdk}");
    }
}

/// The models are no use if they read everything: each of these trips at least one of them.
#[test]
fn what_other_servers_write_is_not_read_by_every_sdk() {
    for (text, sdk, understood) in [
        ("2.5:error:key", "python", vec![]),
        ("90:error:key, 90:error:key", "php", [each("error", 90), each("error", 60)].concat()),
        ("90:error", "rust", vec![]),
        ("ninety:error:key,90:error:key", "go", vec![]),
    ] {
        let (_, parse) = SDKS.iter().find(|(name, _)| *name == sdk).unwrap();
        assert_eq!(parse(text), understood, "{sdk}: {text}");
    }
    assert!(std::panic::catch_unwind(|| ruby("60:")).is_err());
}

proptest! {
    #[test]
    fn all_sdks_read_the_same(limits in proptest::collection::vec(
        (any::<u32>(), any::<bool>(), 0..3_usize), 1..5))
    {
        let limits: Vec<QuotaLimit> = limits.into_iter().map(|(seconds, events, scope)| {
            let categories = if events { Categories::Events } else { Categories::Everything };
            limit(seconds, categories, [Scope::Organization, Scope::Project, Scope::Key][scope])
        }).collect();
        let text = header(&limits).unwrap();
        prop_assert!(!text.contains(' '));
        let understood = python(&text);
        prop_assert!(understood.iter().all(|(_, seconds)| (1..=u64::from(MAX_SECONDS)).contains(seconds)));
        for (sdk, parse) in SDKS {
            prop_assert_eq!(&parse(&text), &understood, "{}", sdk);
        }
    }
}
