//! The part of a `ClientKey` about its end: when another key takes its place, and how long it goes on beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When another key takes the place of this one. The key before it goes on until nobody holds it any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.interval) || !has(self.overlap) || !has(self.overlap.minimum) || duration(self.interval) >= duration(self.overlap.minimum)").message("rotation.interval must not be shorter than rotation.overlap.minimum: the key before would still be there when the next one is due"))]
pub struct Rotation {
    /// A new key this long after the last one, at the latest, as "2160h"; only on request when absent. Many keys of one age are spread over the tenth of it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}[hms]){1,3}$') && duration(self) >= duration('60s') && duration(self) <= duration('87600h')").message("rotation.interval must be a duration of whole seconds between 60s and 87600h, as 2160h"))]
    pub interval: Option<Period>,

    /// One rotation when this is later than the time at which the active key was made; in the future: at that time. An earlier time does nothing, so a commit that is replayed or reverted rotates nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,

    /// How long the key before goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,

    /// Whether the workloads of this namespace that hold the key before are restarted, once, a minute after the Secret names the next one. Not Jobs and pods without a workload, and none that is paused, OnDelete, or owned by another object. The installation must allow it, and you must be allowed to patch Deployments, StatefulSets and DaemonSets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart_workloads: bool,
}

/// How long the key before goes on: until its minimum is over, no pod holds it and it was silent for long enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.maximum) || ((!has(self.minimum) || duration(self.minimum) <= duration(self.maximum)) && (!has(self.silence) || duration(self.silence) <= duration(self.maximum)))").message("rotation.overlap.maximum must not be shorter than minimum or silence"))]
pub struct Overlap {
    /// The key before lives at least this long; 168h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}[hms]){1,3}$') && duration(self) <= duration('87600h')").message("rotation.overlap.minimum must be a duration of whole seconds up to 87600h, as 168h"))]
    pub minimum: Option<Period>,

    /// Nothing was sent with the key before for this long; 168h when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}[hms]){1,3}$') && duration(self) <= duration('87600h')").message("rotation.overlap.silence must be a duration of whole seconds up to 87600h, as 168h"))]
    pub silence: Option<Period>,

    /// The key before ends after this time whoever holds it; no end of its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,6}[hms]){1,3}$') && duration(self) <= duration('87600h')").message("rotation.overlap.maximum must be a duration of whole seconds up to 87600h, as 720h"))]
    pub maximum: Option<Period>,

    /// Whether everybody who holds the key is a pod of this namespace that takes the Secret. Visible, the default for Internal: the key before ends when no such pod holds it; Unknown, the default for External: it ends at the maximum, or when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<Holders>,
}

/// Whether the holders of a key can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Holders {
    Visible,
    Unknown,
}

/// The key before, which is still accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiringKey {
    /// The key's number in the store.
    #[serde(rename = "keyID")]
    #[schemars(length(max = 64))]
    pub key_id: String,
    /// The first eight characters of the public key.
    #[schemars(length(max = 8))]
    pub public_key_prefix: String,
    /// When the Secret named the next key, or when this one was accepted again.
    pub since: Time,
    /// It ends no earlier than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// When something was sent with it last, rounded down to the hour; absent: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
    /// Pods that hold it; absent while they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<i32>,
    /// Workloads of those pods, those with most pods first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub held_by: Vec<HolderWorkload>,
}

/// A workload whose pods hold a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HolderWorkload {
    /// As Deployment, StatefulSet, DaemonSet, Job, Pod, or RunnerBinding for the pods of a runner that one configures.
    #[schemars(length(max = 63))]
    pub kind: String,
    #[schemars(length(max = 253))]
    pub name: String,
    /// How many of its pods hold the key.
    pub pods: i32,
}

/// Length of a window in which events are counted: 1 s to 24 h.
pub type Window = Span<1, { 24 * 60 * 60 }>;

/// Length of an interval or an overlap: up to ten years.
pub type Period = Span<0, { 87_600 * 60 * 60 }>;

/// A Go duration of whole seconds between `LEAST` and `MOST`, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span<const LEAST: u32, const MOST: u32> {
    text: String,
    seconds: u32,
}

impl<const LEAST: u32, const MOST: u32> Span<LEAST, MOST> {
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.seconds
    }
}

impl<const LEAST: u32, const MOST: u32> TryFrom<String> for Span<LEAST, MOST> {
    type Error = InvalidSpan;

    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        match seconds(&text) {
            Some(seconds) if (LEAST..=MOST).contains(&seconds) => Ok(Self { text, seconds }),
            _ => Err(InvalidSpan { text, least: LEAST, most: MOST / 3600 }),
        }
    }
}

impl<const LEAST: u32, const MOST: u32> From<Span<LEAST, MOST>> for String {
    fn from(span: Span<LEAST, MOST>) -> Self {
        span.text
    }
}

/// The text is not a duration of the length that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration of whole seconds between {least}s and {most}h, as 60s, 10m or 1h30m")]
pub struct InvalidSpan {
    text: String,
    least: u32,
    /// In hours.
    most: u32,
}

/// The sum of numbers with the units h, m and s, as Go's `time.ParseDuration` takes them.
fn seconds(text: &str) -> Option<u32> {
    let (mut sum, mut rest) = (0_u32, text);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(['h', 'm', 's'])?);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let unit = match after.chars().next()? {
            'h' => 3600,
            'm' => 60,
            _ => 1,
        };
        sum = sum.checked_add(number.parse::<u32>().ok()?.checked_mul(unit)?)?;
        rest = &after[1..];
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_go_duration_of_whole_seconds() {
        for (text, window, period) in [
            ("60s", Some(60), Some(60)),
            ("10m", Some(600), Some(600)),
            ("1h30m", Some(5400), Some(5400)),
            ("1h0m1s", Some(3601), Some(3601)),
            ("1s", Some(1), Some(1)),
            ("24h", Some(86400), Some(86400)),
            ("0s", None, Some(0)),
            ("24h1s", None, Some(86401)),
            ("2160h", None, Some(7_776_000)),
            ("87600h", None, Some(315_360_000)),
            ("87600h1s", None, None),
            ("500ms", None, None),
            ("1.5h", None, None),
            ("60", None, None),
            ("h", None, None),
            ("-1m", None, None),
            ("1d", None, None),
            ("4294967295h", None, None),
            ("", None, None),
        ] {
            let read = Window::try_from(text.to_owned());
            assert_eq!(read.clone().ok().map(|read| read.seconds()), window, "{text}");
            if let Ok(read) = read {
                assert_eq!(String::from(read), text);
            }
            assert_eq!(Period::try_from(text.to_owned()).ok().map(|read| read.seconds()), period, "{text}");
        }
    }
}
