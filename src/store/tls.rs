//! How a link to Postgres is protected: what its login demands, and what people are told of it. Pure.

use std::{fmt::Write as _, io, net::IpAddr};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use sqlx::postgres::PgSslMode;

/// What libpq calls `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 6] = [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

impl From<SslMode> for PgSslMode {
    fn from(mode: SslMode) -> Self {
        match mode {
            SslMode::Disable => Self::Disable,
            SslMode::Allow => Self::Allow,
            SslMode::Prefer => Self::Prefer,
            SslMode::Require => Self::Require,
            SslMode::VerifyCa => Self::VerifyCa,
            SslMode::VerifyFull => Self::VerifyFull,
        }
    }
}

/// What a login demands of the link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// As given; [`Self::mode`] is what holds.
    pub given: Option<SslMode>,
    /// Certificates in PEM that are trusted beside the public ones.
    pub authority: Option<String>,
}

/// Keys of a Secret that say it.
pub(super) const SSL_MODE: &str = "sslmode";
pub(super) const AUTHORITY: &str = "ca.crt";

impl Tls {
    /// Who gives a CA wants it to be used; with `require`, as libpq does it.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        match (self.given, &self.authority) {
            (None, Some(_)) => SslMode::VerifyFull,
            (Some(SslMode::Require), Some(_)) => SslMode::VerifyCa,
            (Some(mode), _) => mode,
            (None, None) => SslMode::Prefer,
        }
    }

    /// The keys of a Secret for who is to connect in the same way.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mode = self.given.map(|mode| (SSL_MODE, mode.as_str()));
        let authority = self.authority.as_deref().map(|authority| (AUTHORITY, authority));
        mode.into_iter().chain(authority)
    }

    /// What people are told of the link to `host`; `version` is that of TLS as the server sees it.
    #[must_use]
    pub fn describe(&self, host: &str, version: Option<&str>) -> LinkProtection {
        let verified = version.is_some() && self.mode() == SslMode::VerifyFull;
        let mut sentence = match (version, self.mode()) {
            (Some(version), SslMode::VerifyFull) => {
                format!("The link to Postgres is encrypted ({version}), and who answers is verified.")
            }
            // Public certificates pass as well, and anybody can have one of some name.
            (Some(version), SslMode::VerifyCa) => {
                format!("The link to Postgres is encrypted ({version}); the server's name is not verified.")
            }
            (Some(version), _) => {
                format!("The link to Postgres is encrypted ({version}); who answers is not verified.")
            }
            (None, _) => "The link to Postgres is not encrypted.".to_owned(),
        };
        let exposed = !verified && !stays_in_the_cluster(host);
        if exposed {
            let _ = write!(
                sentence,
                " {host} is outside of the cluster, where others may listen or answer in its place: put sslmode: \
                 verify-full into the database Secret, and ca.crt if its CA is a private one."
            );
        }
        LinkProtection { sentence, exposed }
    }
}

/// How a link is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkProtection {
    pub sentence: String,
    /// It leaves the cluster, and nobody verifies who answers.
    pub exposed: bool,
}

/// What to do about a server whose certificate is not trusted; `None`: something else went wrong.
#[must_use]
pub fn untrusted(error: &io::Error) -> Option<&'static str> {
    use rustls::CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let rustls::Error::InvalidCertificate(fault) = error.get_ref()?.downcast_ref()? else { return None };
    Some(match fault {
        UnknownIssuer => {
            "no authority that is trusted has signed the server's certificate: put that of its CA into ca.crt of the Secret"
        }
        NotValidForName | NotValidForNameContext { .. } => {
            "the server's certificate is for another name: connect to one of those that it is for"
        }
        Expired | ExpiredContext { .. } => "the server's certificate has expired: renew it",
        NotValidYet | NotValidYetContext { .. } => "the server's certificate is not valid yet: look at the clocks",
        _ => "the server's certificate is not valid",
    })
}

/// Whether the text holds certificates in PEM, and nothing that cannot be read.
pub(super) fn is_authority(pem: &str) -> bool {
    let certificates: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.is_ok_and(|certificates| !certificates.is_empty())
}

/// Names of Services, addresses of the machine, and sockets.
fn stays_in_the_cluster(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            host.starts_with('/')
                || !host.contains('.')
                || [".svc", ".svc.cluster.local"].iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_with_its_cure() {
        use rustls::{CertificateError, Error};
        let of = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let invalid = |fault: CertificateError| untrusted(&of(Error::InvalidCertificate(fault)));
        assert!(invalid(CertificateError::UnknownIssuer).unwrap().contains("ca.crt"));
        assert!(invalid(CertificateError::NotValidForName).unwrap().contains("another name"));
        assert!(invalid(CertificateError::Expired).unwrap().contains("expired"));
        assert!(invalid(CertificateError::BadSignature).is_some());
        assert_eq!(untrusted(&of(Error::HandshakeNotComplete)), None);
        assert_eq!(untrusted(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }

    #[test]
    fn who_gives_a_ca_wants_it_used() {
        for (given, authority, mode) in [
            (None, false, SslMode::Prefer),
            (None, true, SslMode::VerifyFull),
            (Some(SslMode::Require), false, SslMode::Require),
            (Some(SslMode::Require), true, SslMode::VerifyCa),
            (Some(SslMode::VerifyCa), true, SslMode::VerifyCa),
            (Some(SslMode::VerifyFull), false, SslMode::VerifyFull),
            (Some(SslMode::Disable), true, SslMode::Disable),
        ] {
            let tls = Tls { given, authority: authority.then(String::new) };
            assert_eq!(tls.mode(), mode, "{given:?} {authority}");
        }
    }

    #[test]
    fn a_link_that_leaves_the_cluster_unverified_is_said() {
        for (host, given, version, exposed, says) in [
            ("pg.web.svc", None, None, false, "is not encrypted."),
            ("pg.web.svc.cluster.local.", None, Some("TLSv1.3"), false, "(TLSv1.3); who answers is not verified."),
            ("127.0.0.1", None, None, false, "is not encrypted."),
            ("::1", None, None, false, "is not encrypted."),
            ("/run/postgresql", None, None, false, "is not encrypted."),
            ("pg", None, None, false, "is not encrypted."),
            ("db.example", None, Some("TLSv1.3"), true, "db.example is outside of the cluster"),
            ("10.0.0.7", Some(SslMode::Require), Some("TLSv1.2"), true, "sslmode: verify-full"),
            ("db.example", Some(SslMode::VerifyCa), Some("TLSv1.3"), true, "name is not verified"),
            ("db.example", Some(SslMode::VerifyFull), Some("TLSv1.3"), false, "who answers is verified."),
        ] {
            let link = Tls { given, authority: None }.describe(host, version);
            assert_eq!(link.exposed, exposed, "{host} {given:?}");
            assert!(link.sentence.contains(says), "{host}: {}", link.sentence);
        }
    }
}
