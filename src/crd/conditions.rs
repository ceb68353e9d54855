//! Conditions as kstatus reads them: `Ready` sums up, `Reconciling` and `Stalled` say why not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::PAUSED_ANNOTATION;

/// Longest message written, in characters: what does not fit helps nobody. The schema's limit is the same.
pub(super) const MESSAGE_LIMIT: usize = 1024;
/// So much of a value that a user wrote is repeated, in characters.
const MOST_OF_A_VALUE: usize = 40;

/// Types of the conditions of our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    Paused,
    DatabaseReady,
    IngestReady,
    Receiving,
    Flooded,
    Connected,
    SecretPublished,
    Rotating,
    DeadKeyInUse,
    Configured,
    RolledOut,
}

impl ConditionType {
    pub const ALL: [Self; 14] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::Paused,
        Self::DatabaseReady,
        Self::IngestReady,
        Self::Receiving,
        Self::Flooded,
        Self::Connected,
        Self::SecretPublished,
        Self::Rotating,
        Self::DeadKeyInUse,
        Self::Configured,
        Self::RolledOut,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Paused => "Paused",
            Self::DatabaseReady => "DatabaseReady",
            Self::IngestReady => "IngestReady",
            Self::Receiving => "Receiving",
            Self::Flooded => "Flooded",
            Self::Connected => "Connected",
            Self::SecretPublished => "SecretPublished",
            Self::Rotating => "Rotating",
            Self::DeadKeyInUse => "DeadKeyInUse",
            Self::Configured => "Configured",
            Self::RolledOut => "RolledOut",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Why a condition is as it is: one word for machines beside the sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Available,
    Idle,
    Invalid,
    Paused,
    Progressing,
    DatabaseUnavailable,
    DatabaseRejected,
    DatabaseChanged,
    DatabaseHostNotAllowed,
    DatabaseSecretInvalid,
    SharedCredentials,
    ServerNotVerified,
    DurabilityOff,
    MigrationFailed,
    SchemaConflict,
    NameConflict,
    SecretConflict,
    WaitingForPods,
    PodsFailing,
    ScaledToZero,
    Inactive,
    EventReceived,
    NoEventYet,
    TooManyNewIssues,
    TooManyNewReleases,
    TooManyNewEnvironments,
    TooManyNewTags,
    TooManyNewUsers,
    RolloutWaiting,
    RolloutHalted,
    GatewayApiMissing,
    NoExternalUrl,
    NoAddress,
    LimitExceeded,
    KeyNotAllowed,
    ProjectNotFound,
    NotAllowed,
    ProjectNotReady,
    ProjectDeleted,
    KeyDisabled,
    Published,
    WaitingForIngest,
    Publishing,
    Overlap,
    HoldersUnknown,
    RestartReverted,
    Restored,
    EventsRefused,
    AuthenticationFailed,
    ConnectionFailed,
    Connected,
    BackendHostNotAllowed,
    TokenSecretInvalid,
    CertificateNotTrusted,
    BackendProjectNotFound,
    BackendProjectMoved,
    ErrorTrackingDisabled,
    BackendLimited,
    BackendRejected,
    NotSupported,
    RateLimitUnsupported,
    NotEnabled,
    ClientKeyNotFound,
    ClientKeyNotReady,
    WorkloadNotFound,
    ContainerNotFound,
    ConfigNotFound,
    ConfigInvalid,
    ConfigImmutable,
    ConfigTomlWins,
    Configured,
    EnvMissing,
    RunnerTooOld,
    Drifted,
    DeprecatedDsnMissing,
    DsnInvalid,
    AlreadyBound,
    RunnerOperatorMissing,
    RunnerNotFound,
    RestartNotAllowed,
    AllPodsCurrent,
    Reloading,
    RestartRequired,
    RollingOut,
    GraceTooShort,
    PodsUnknown,
    Rejected,
    Forbidden,
}

impl Reason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Idle => "Idle",
            Self::Invalid => "Invalid",
            Self::Paused => "Paused",
            Self::Progressing => "Progressing",
            Self::DatabaseUnavailable => "DatabaseUnavailable",
            Self::DatabaseRejected => "DatabaseRejected",
            Self::DatabaseChanged => "DatabaseChanged",
            Self::DatabaseHostNotAllowed => "DatabaseHostNotAllowed",
            Self::DatabaseSecretInvalid => "DatabaseSecretInvalid",
            Self::SharedCredentials => "SharedCredentials",
            Self::ServerNotVerified => "ServerNotVerified",
            Self::DurabilityOff => "DurabilityOff",
            Self::MigrationFailed => "MigrationFailed",
            Self::SchemaConflict => "SchemaConflict",
            Self::NameConflict => "NameConflict",
            Self::SecretConflict => "SecretConflict",
            Self::WaitingForPods => "WaitingForPods",
            Self::PodsFailing => "PodsFailing",
            Self::ScaledToZero => "ScaledToZero",
            Self::Inactive => "Inactive",
            Self::EventReceived => "EventReceived",
            Self::NoEventYet => "NoEventYet",
            Self::TooManyNewIssues => "TooManyNewIssues",
            Self::TooManyNewReleases => "TooManyNewReleases",
            Self::TooManyNewEnvironments => "TooManyNewEnvironments",
            Self::TooManyNewTags => "TooManyNewTags",
            Self::TooManyNewUsers => "TooManyNewUsers",
            Self::RolloutWaiting => "RolloutWaiting",
            Self::RolloutHalted => "RolloutHalted",
            Self::GatewayApiMissing => "GatewayAPIMissing",
            Self::NoExternalUrl => "NoExternalURL",
            Self::NoAddress => "NoAddress",
            Self::LimitExceeded => "LimitExceeded",
            Self::KeyNotAllowed => "KeyNotAllowed",
            Self::ProjectNotFound => "ProjectNotFound",
            Self::NotAllowed => "NotAllowed",
            Self::ProjectNotReady => "ProjectNotReady",
            Self::ProjectDeleted => "ProjectDeleted",
            Self::KeyDisabled => "KeyDisabled",
            Self::Published => "Published",
            Self::WaitingForIngest => "WaitingForIngest",
            Self::Publishing => "Publishing",
            Self::Overlap => "Overlap",
            Self::HoldersUnknown => "HoldersUnknown",
            Self::RestartReverted => "RestartReverted",
            Self::Restored => "Restored",
            Self::EventsRefused => "EventsRefused",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::ConnectionFailed => "ConnectionFailed",
            Self::Connected => "Connected",
            Self::BackendHostNotAllowed => "BackendHostNotAllowed",
            Self::TokenSecretInvalid => "TokenSecretInvalid",
            Self::CertificateNotTrusted => "CertificateNotTrusted",
            Self::BackendProjectNotFound => "BackendProjectNotFound",
            Self::BackendProjectMoved => "BackendProjectMoved",
            Self::ErrorTrackingDisabled => "ErrorTrackingDisabled",
            Self::BackendLimited => "BackendLimited",
            Self::BackendRejected => "BackendRejected",
            Self::NotSupported => "NotSupported",
            Self::RateLimitUnsupported => "RateLimitUnsupported",
            Self::NotEnabled => "NotEnabled",
            Self::ClientKeyNotFound => "ClientKeyNotFound",
            Self::ClientKeyNotReady => "ClientKeyNotReady",
            Self::WorkloadNotFound => "WorkloadNotFound",
            Self::ContainerNotFound => "ContainerNotFound",
            Self::ConfigNotFound => "ConfigNotFound",
            Self::ConfigInvalid => "ConfigInvalid",
            Self::ConfigImmutable => "ConfigImmutable",
            Self::ConfigTomlWins => "ConfigTomlWins",
            Self::Configured => "Configured",
            Self::EnvMissing => "EnvMissing",
            Self::RunnerTooOld => "RunnerTooOld",
            Self::Drifted => "Drifted",
            Self::DeprecatedDsnMissing => "DeprecatedDSNMissing",
            Self::DsnInvalid => "DSNInvalid",
            Self::AlreadyBound => "AlreadyBound",
            Self::RunnerOperatorMissing => "RunnerOperatorMissing",
            Self::RunnerNotFound => "RunnerNotFound",
            Self::RestartNotAllowed => "RestartNotAllowed",
            Self::AllPodsCurrent => "AllPodsCurrent",
            Self::Reloading => "Reloading",
            Self::RestartRequired => "RestartRequired",
            Self::RollingOut => "RollingOut",
            Self::GraceTooShort => "GraceTooShort",
            Self::PodsUnknown => "PodsUnknown",
            Self::Rejected => "Rejected",
            Self::Forbidden => "Forbidden",
        }
    }
}

/// The conditions of one object, built anew in each pass; a transition time changes only with the status.
#[derive(Debug)]
pub struct Conditions<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    built: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    #[must_use]
    pub fn new(before: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { before, generation, now, built: Vec::new() }
    }

    pub fn set(&mut self, kind: ConditionType, status: ConditionStatus, reason: Reason, message: impl AsRef<str>) {
        let kind = kind.as_str();
        let unchanged_since = self
            .before
            .iter()
            .find(|condition| condition.type_ == kind && condition.status == status.as_str())
            .map(|condition| condition.last_transition_time.clone());
        self.built.retain(|condition| condition.type_ != kind);
        self.built.push(Condition {
            type_: kind.into(),
            status: status.as_str().into(),
            reason: reason.as_str().into(),
            message: message.as_ref().chars().take(MESSAGE_LIMIT).collect(),
            observed_generation: self.generation,
            // Whole seconds are what the API server keeps: more would differ from what it answers.
            last_transition_time: unchanged_since.unwrap_or_else(|| Time(whole_seconds(self.now))),
        });
    }

    /// Leaves a condition as it was: nothing new is known about it.
    pub fn keep(&mut self, kind: ConditionType) {
        self.built.extend(self.before.iter().find(|condition| condition.type_ == kind.as_str()).cloned());
    }

    /// Sets Reconciling and Stalled: what is under way, and what a person must do first. Nothing goes on while
    /// something stalls.
    pub fn set_progress(&mut self, under_way: Option<(Reason, String)>, stalled: Option<(Reason, String)>) {
        let (on, off) = (ConditionStatus::True, ConditionStatus::False);
        let not_stalled =
            if under_way.is_some() { "Reconciling says what it waits for." } else { "Nothing is left for you to do." };
        match under_way {
            Some((reason, message)) if stalled.is_none() => self.set(ConditionType::Reconciling, on, reason, message),
            _ => {
                let waits = "Stalled says what comes first.";
                let message = if stalled.is_some() { waits } else { "All is as the spec asks." };
                self.set(ConditionType::Reconciling, off, Reason::Idle, message);
            }
        }
        match stalled {
            Some((reason, message)) => self.set(ConditionType::Stalled, on, reason, message),
            None => self.set(ConditionType::Stalled, off, Reason::Idle, not_stalled),
        }
    }

    /// Says that the value of the annotation that pauses does not pause.
    pub fn set_pause_ignored(&mut self, value: &str) {
        let value: String = value.chars().take(MOST_OF_A_VALUE).collect();
        let message =
            format!("The annotation {PAUSED_ANNOTATION} is {value:?}, and only \"true\" pauses: nothing is paused.");
        self.set(ConditionType::Paused, ConditionStatus::False, Reason::Invalid, message);
    }

    /// Conditions that others have written stay.
    #[must_use]
    pub fn finish(mut self) -> Vec<Condition> {
        let ours = |condition: &&Condition| ConditionType::ALL.iter().any(|kind| kind.as_str() == condition.type_);
        self.built.extend(self.before.iter().filter(|condition| !ours(condition)).cloned());
        self.built
    }
}

/// A time as the API server keeps it, who knows no parts of a second.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let first = Timestamp::from_second(1_000).unwrap();
        let later = Timestamp::from_second(2_000).unwrap();
        let mut conditions = Conditions::new(&[], Some(1), first);
        conditions.set(ConditionType::Ready, ConditionStatus::False, Reason::Progressing, "starting");
        let before = conditions.finish();

        let mut conditions = Conditions::new(&before, Some(2), later);
        conditions.set(ConditionType::Ready, ConditionStatus::False, Reason::WaitingForPods, "1 of 2 pods");
        let same = conditions.finish();
        assert_eq!(same[0].last_transition_time.0, first);
        assert_eq!(same[0].observed_generation, Some(2));

        let mut conditions = Conditions::new(&same, Some(2), later);
        conditions.set(ConditionType::Ready, ConditionStatus::True, Reason::Available, "");
        assert_eq!(conditions.finish()[0].last_transition_time.0, later);
    }

    #[test]
    fn a_clock_that_jumps_back_changes_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let build = |before: &[Condition], now| {
            let mut conditions = Conditions::new(before, Some(1), now);
            conditions.set(ConditionType::Ready, ConditionStatus::True, Reason::Available, "fine");
            conditions.finish()
        };
        let before = build(&[], at(2_000));
        assert_eq!(build(&before, at(1_000)), before);
        assert_eq!(build(&before, at(9_000_000)), before);
    }

    #[test]
    fn an_object_that_waits_does_not_say_that_nothing_is_left() {
        let message = |under_way: Option<(Reason, String)>| {
            let mut conditions = Conditions::new(&[], Some(1), Timestamp::UNIX_EPOCH);
            conditions.set_progress(under_way, None);
            let stalled = conditions.finish().into_iter().find(|condition| condition.type_ == "Stalled").unwrap();
            assert_eq!(stalled.status, "False");
            stalled.message
        };
        assert_eq!(message(None), "Nothing is left for you to do.");
        let waits = Some((Reason::ProjectNotFound, "create it, or delete this key".into()));
        assert_eq!(message(waits), "Reconciling says what it waits for.");
    }

    #[test]
    fn what_others_wrote_beside_ours_stays() {
        let condition = |kind: &str| Condition {
            type_: kind.into(),
            status: "True".into(),
            reason: "Said".into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::from_second(1).unwrap()),
        };
        let (foreign, paused) = (condition("Audited"), condition("Paused"));
        let before = [foreign, paused];
        let mut conditions = Conditions::new(&before, Some(1), Timestamp::from_second(1).unwrap());
        conditions.set(ConditionType::Ready, ConditionStatus::True, Reason::Available, "");
        let after = conditions.finish();
        assert_eq!(after.iter().map(|condition| condition.type_.as_str()).collect::<Vec<_>>(), ["Ready", "Audited"]);
    }
}
