//! What a Sentry client is configured with: the Data Source Name, and the two identifiers it carries.

use std::{fmt, num::NonZeroU64, str::FromStr};

/// Number of a project in its DSN: positive, decimal, never used again for another project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectId(NonZeroU64);

impl ProjectId {
    /// The largest id whose issue ids (`project_id << 32 | n`) still fit a Postgres `bigint`.
    pub const MAX: u64 = (1 << 31) - 1;

    /// `None` for zero and for what is larger than [`Self::MAX`].
    #[must_use]
    pub fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).filter(|id| id.get() <= Self::MAX).map(Self)
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The id as Postgres stores it; [`Self::MAX`] keeps it in range.
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0.get().cast_signed()
    }

    /// Name of the project's schema: `project_42`.
    #[must_use]
    pub fn schema(self) -> String {
        format!("project_{self}")
    }
}

impl TryFrom<i64> for ProjectId {
    type Error = InvalidProjectId;

    fn try_from(id: i64) -> Result<Self, InvalidProjectId> {
        u64::try_from(id).ok().and_then(Self::new).ok_or(InvalidProjectId)
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for ProjectId {
    type Err = InvalidProjectId;

    /// Decimal digits only: `+1` and `0x1` parse as integers elsewhere but are in no DSN.
    fn from_str(text: &str) -> Result<Self, InvalidProjectId> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidProjectId);
        }
        text.parse().ok().and_then(Self::new).ok_or(InvalidProjectId)
    }
}

/// The text is not the decimal number of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a project id is a positive decimal number")]
pub struct InvalidProjectId;

/// Public part of a client key. We issue 32 lower-case hex digits; what other servers issued is
/// accepted too: `[A-Za-z0-9_]{1,64}`, and UUIDs, whose dashes are taken out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(String);

impl PublicKey {
    /// 32 lower-case hex digits from 128 random bits.
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(hex(&random))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight characters: enough to recognise a key, too few to use it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// A whole key must not reach a log line.
impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({}…)", self.prefix())
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let key: String = text.chars().filter(|character| *character != '-').collect();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (1..=64).contains(&key.len()) && key.bytes().all(word) { Ok(Self(key)) } else { Err(InvalidPublicKey) }
    }
}

/// The text cannot be the public part of any client key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 1 to 64 letters, digits or underscores")]
pub struct InvalidPublicKey;

/// Where and as whom a client sends events: `http://<public key>@<host>[:<port>][/<path>]/<project id>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    /// Scheme, authority and, behind a proxy, path of the server without a trailing slash, as
    /// `http://shop-ingest.web.svc`.
    pub endpoint: String,
    pub public_key: PublicKey,
    pub project_id: ProjectId,
}

impl Dsn {
    /// The text for `SENTRY_DSN`. Not `Display`: whoever writes it out should have to say so.
    #[must_use]
    pub fn expose(&self) -> String {
        let (scheme, authority) = self.endpoint.split_once("://").unwrap_or(("http", &self.endpoint));
        format!("{scheme}://{}@{authority}/{}", self.public_key.as_str(), self.project_id)
    }
}

/// A DSN that we wrote: without a secret part.
impl FromStr for Dsn {
    type Err = InvalidDsn;

    fn from_str(text: &str) -> Result<Self, InvalidDsn> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidDsn)?;
        let (key, address) = rest.split_once('@').ok_or(InvalidDsn)?;
        let (authority, project) = address.rsplit_once('/').ok_or(InvalidDsn)?;
        Ok(Self {
            endpoint: format!("{scheme}://{authority}"),
            public_key: key.parse().map_err(|_| InvalidDsn)?,
            project_id: project.parse().map_err(|_| InvalidDsn)?,
        })
    }
}

/// The text of a DSN taken apart, whoever issued it: what else a client can be configured with is made of the parts.
pub struct DsnParts<'a> {
    scheme: &'a str,
    public_key: &'a str,
    /// Host and, where it is given, port.
    authority: &'a str,
    /// Of a server behind a proxy, with a leading slash; else empty.
    path: &'a str,
    project: &'a str,
}

impl<'a> DsnParts<'a> {
    pub fn of(dsn: &'a str) -> Result<Self, InvalidDsn> {
        let (scheme, rest) = dsn.split_once("://").ok_or(InvalidDsn)?;
        let (user, address) = rest.split_once('@').ok_or(InvalidDsn)?;
        let (server, project) = address.rsplit_once('/').ok_or(InvalidDsn)?;
        let (authority, path) = server.find('/').map_or((server, ""), |at| server.split_at(at));
        let public_key = user.split_once(':').map_or(user, |(public_key, _)| public_key);
        let empty = [scheme, public_key, authority, project].iter().any(|part| part.is_empty());
        if empty { Err(InvalidDsn) } else { Ok(Self { scheme, public_key, authority, path, project }) }
    }

    /// The form of clients from before 2018, which refuse a DSN without a secret key:
    /// `<scheme>://<public key>:<secret>@<host>/<project id>`.
    #[must_use]
    pub fn deprecated(&self, secret: &str) -> String {
        let Self { scheme, public_key, authority, path, project } = self;
        format!("{scheme}://{public_key}:{secret}@{authority}{path}/{project}")
    }

    /// Where browsers send reports about policies, as the `report-uri` of a Content-Security-Policy.
    #[must_use]
    pub fn security_endpoint(&self) -> String {
        let Self { scheme, public_key, authority, path, project } = self;
        format!("{scheme}://{authority}{path}/api/{project}/security/?sentry_key={public_key}")
    }

    #[must_use]
    pub fn public_key(&self) -> &'a str {
        self.public_key
    }

    /// An IPv6 address comes without its brackets.
    #[must_use]
    pub fn host(&self) -> &'a str {
        self.host_and_port().0.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port that is given, else that of the scheme.
    #[must_use]
    pub fn port(&self) -> &'a str {
        let of_scheme = if self.scheme == "https" { "443" } else { "80" };
        self.host_and_port().1.unwrap_or(of_scheme)
    }

    fn host_and_port(&self) -> (&'a str, Option<&'a str>) {
        match self.authority.rsplit_once(':') {
            // The last colon may be one of an address.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (self.authority, None),
        }
    }
}

/// The text is not a DSN as we write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a DSN is <scheme>://<public key>@<host>/<project id>")]
pub struct InvalidDsn;

/// Lower-case hex digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_ids_are_positive_decimals() {
        for (text, valid) in [
            ("1", true),
            ("2147483647", true),
            ("2147483648", false),
            ("0", false),
            ("", false),
            ("+1", false),
            ("a", false),
        ] {
            assert_eq!(text.parse::<ProjectId>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn keys_of_other_servers_are_accepted() {
        for (text, key) in [
            ("glet_0123456789abcdef0123456789abcdef", Some("glet_0123456789abcdef0123456789abcdef")),
            ("9ec79c33-ec99-42ab-8353-589fcb2e04dc", Some("9ec79c33ec9942ab8353589fcb2e04dc")),
            ("", None),
            ("a b", None),
        ] {
            assert_eq!(text.parse::<PublicKey>().ok().as_ref().map(PublicKey::as_str), key, "{text:?}");
        }
    }

    #[test]
    fn a_dsn_is_written_as_sdks_read_it() {
        let dsn = Dsn {
            endpoint: "http://shop-ingest.web.svc".into(),
            public_key: PublicKey::from_random([0xfa; 16]),
            project_id: ProjectId::new(42).unwrap(),
        };
        assert_eq!(dsn.expose(), "http://fafafafafafafafafafafafafafafafa@shop-ingest.web.svc/42");
        assert_eq!(format!("{:?}", dsn.public_key), "PublicKey(fafafafa…)");
        assert!(dsn.expose().parse::<Dsn>().is_ok_and(|read| read == dsn));
        let with_path = Dsn { endpoint: "https://errors.example.com:8443/team".into(), ..dsn };
        assert!(with_path.expose().parse::<Dsn>().is_ok_and(|read| read == with_path), "{}", with_path.expose());
        for text in ["", "http://host/1", "http://fa@host", "http://fa@host/0", "http://f.a@host/1", "fa@host/1"] {
            assert!(text.parse::<Dsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_else_a_client_is_configured_with_is_made_of_the_dsn() {
        for (dsn, deprecated, security, host, port) in [
            (
                "http://fa@shop-ingest.web.svc/42",
                "http://fa:5e@shop-ingest.web.svc/42",
                "http://shop-ingest.web.svc/api/42/security/?sentry_key=fa",
                "shop-ingest.web.svc",
                "80",
            ),
            (
                "https://fa@errors.example.com:8443/team/a/42",
                "https://fa:5e@errors.example.com:8443/team/a/42",
                "https://errors.example.com:8443/team/a/api/42/security/?sentry_key=fa",
                "errors.example.com",
                "8443",
            ),
            (
                "https://fa:old@[fd00::1]/42",
                "https://fa:5e@[fd00::1]/42",
                "https://[fd00::1]/api/42/security/?sentry_key=fa",
                "fd00::1",
                "443",
            ),
            (
                "https://fa@o1.ingest.sentry.io/4505000000000000",
                "https://fa:5e@o1.ingest.sentry.io/4505000000000000",
                "https://o1.ingest.sentry.io/api/4505000000000000/security/?sentry_key=fa",
                "o1.ingest.sentry.io",
                "443",
            ),
        ] {
            let parts = DsnParts::of(dsn).unwrap();
            assert_eq!(parts.deprecated("5e"), deprecated, "{dsn}");
            assert_eq!(parts.security_endpoint(), security, "{dsn}");
            assert_eq!((parts.host(), parts.port(), parts.public_key()), (host, port, "fa"), "{dsn}");
        }
        for text in ["", "http://host/1", "http://fa@host", "http://@host/1", "://fa@host/1", "http://fa@/1"] {
            assert!(DsnParts::of(text).is_err(), "{text:?}");
        }
    }
}
