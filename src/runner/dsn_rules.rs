//! Whether a runner's library takes a DSN. The runner logs one that it does not take and goes on without reporting, so
//! it has to be known before.
//!
//! raven-go of 2016 and sentry-go both begin with Go's `net/url.Parse`, so that comes first here too, as far as a DSN
//! can be wrong for it.

use super::Generation;

/// Why a library refuses a DSN. The sentence has the words of the library, for people to find them in the runner's log,
/// and never the DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DsnFault {
    /// No library complains of it; it only reports nothing.
    #[error("the DSN is empty: the runner would report nothing, without a line in its log")]
    Empty,
    #[error("the DSN is no URL: the runner would log `parse …` and report nothing")]
    RavenUrl,
    #[error(
        "the DSN has no user: the runner would log `raven: dsn missing public key and/or password` and report nothing"
    )]
    RavenUser,
    #[error(
        "the DSN has no secret key, which runners up to 14.6 need: the runner would log `raven: dsn missing private \
         key` and report nothing"
    )]
    RavenPrivateKey,
    #[error("the DSN has no project: the runner would log `raven: dsn missing project id` and report nothing")]
    RavenProjectId,
    #[error("the DSN is no URL: the runner would log `[Sentry] DsnParseError: invalid url: …` and report nothing")]
    SentryUrl,
    #[error(
        "the DSN begins with neither http:// nor https://: the runner would log `[Sentry] DsnParseError: invalid \
         scheme` and report nothing"
    )]
    SentryScheme,
    #[error(
        "the DSN has no public key: the runner would log `[Sentry] DsnParseError: empty username` and report nothing"
    )]
    SentryUsername,
    #[error("the DSN has no host: the runner would log `[Sentry] DsnParseError: empty host` and report nothing")]
    SentryHost,
    #[error(
        "the port of the DSN is no number: the runner would log `[Sentry] DsnParseError: invalid port` and report \
         nothing"
    )]
    SentryPort,
    #[error(
        "the DSN has no project: the runner would log `[Sentry] DsnParseError: empty project id` and report nothing"
    )]
    SentryProjectId,
}

/// Says what the library of `generation` says of `dsn`: `client.go` of raven-go at dffeb57, `NewDsn` of sentry-go.
pub fn check(dsn: &str, generation: Generation) -> Result<(), DsnFault> {
    if dsn.is_empty() {
        return Err(DsnFault::Empty);
    }
    match generation {
        Generation::Raven => check_raven(dsn),
        Generation::SentryGo => check_sentry(dsn),
    }
}

fn check_raven(dsn: &str) -> Result<(), DsnFault> {
    let url = Url::parse(dsn).ok_or(DsnFault::RavenUrl)?;
    let user = url.user.ok_or(DsnFault::RavenUser)?;
    // An empty secret key behind a colon is one to Go.
    if !user.contains(':') {
        return Err(DsnFault::RavenPrivateKey);
    }
    let project = url.path.rsplit_once('/').map(|(_, project)| project);
    if project.is_none_or(str::is_empty) { Err(DsnFault::RavenProjectId) } else { Ok(()) }
}

fn check_sentry(dsn: &str) -> Result<(), DsnFault> {
    let url = Url::parse(dsn).ok_or(DsnFault::SentryUrl)?;
    if !["http", "https"].contains(&url.scheme.as_str()) {
        return Err(DsnFault::SentryScheme);
    }
    let user = url.user.unwrap_or_default();
    if user.split_once(':').map_or(user, |(name, _)| name).is_empty() {
        return Err(DsnFault::SentryUsername);
    }
    if url.host.is_empty() {
        return Err(DsnFault::SentryHost);
    }
    if !url.port.is_empty() && url.port.parse::<i64>().is_err() {
        return Err(DsnFault::SentryPort);
    }
    let project = url.path.rsplit_once('/').map(|(_, project)| project);
    if project.is_none_or(str::is_empty) { Err(DsnFault::SentryProjectId) } else { Ok(()) }
}

/// A URL as Go's `net/url` takes it apart.
struct Url<'a> {
    /// In small letters; empty without one.
    scheme: String,
    /// What stands before the `@`: `None` without one.
    user: Option<&'a str>,
    /// Without the brackets of an IPv6 address.
    host: &'a str,
    /// Digits; empty without one.
    port: &'a str,
    path: &'a str,
}

impl<'a> Url<'a> {
    /// `None` where Go returns an error.
    fn parse(text: &'a str) -> Option<Self> {
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) || !escapes_are_whole(fragment) {
            return None;
        }
        let (scheme, rest) = split_scheme(text)?;
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let nobody = Self { scheme: scheme.to_ascii_lowercase(), user: None, host: "", port: "", path: rest };
        let Some(authority) = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) else {
            // Behind a scheme, what has no slash is opaque and has no path; without one, a colon in the first segment
            // is refused.
            let opaque = !rest.starts_with('/');
            let first = rest.split('/').next().unwrap_or_default();
            return match (scheme.is_empty(), opaque) {
                (true, true) if first.contains(':') => None,
                (false, true) => Some(Self { path: "", ..nobody }),
                _ => escapes_are_whole(rest).then_some(nobody),
            };
        };
        let (authority, path) = authority.find('/').map_or((authority, ""), |at| authority.split_at(at));
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if !user.is_none_or(|user| user.chars().all(may_be_in_user) && escapes_are_whole(user)) {
            return None;
        }
        let (host, port) = split_port(server)?;
        escapes_are_whole(path).then_some(Self { user, host, port, path, ..nobody })
    }
}

/// A scheme without its colon, empty where there is none, and the rest.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (at, character) in text.char_indices() {
        match character {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            // "missing protocol scheme"
            ':' if at == 0 => return None,
            ':' => return Some((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Some(("", text))
}

/// Host and port of an authority without its user.
fn split_port(server: &str) -> Option<(&str, &str)> {
    if let Some(rest) = server.strip_prefix('[') {
        let (address, port) = rest.rsplit_once(']')?;
        let port = if port.is_empty() { "" } else { port.strip_prefix(':')? };
        return (host_is_valid(address) && is_digits(port)).then_some((address, port));
    }
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    (host_is_valid(host) && is_digits(port)).then_some((host, port))
}

fn is_digits(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Go takes letters beyond ASCII as they are, and of escapes only theirs and `%25`, which begins the zone of an address.
fn host_is_valid(host: &str) -> bool {
    let allowed = |character: char| !" \\^`{|}".contains(character);
    let beyond_ascii =
        |rest: &str| rest.starts_with("25") || rest.starts_with(['8', '9']) || rest.starts_with(is_a_to_f);
    host.chars().all(allowed) && escapes_are_whole(host) && host.split('%').skip(1).all(beyond_ascii)
}

fn is_a_to_f(character: char) -> bool {
    matches!(character, 'a'..='f' | 'A'..='F')
}

/// RFC 3986's user information, as Go checks it.
fn may_be_in_user(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(character)
}

fn escapes_are_whole(text: &str) -> bool {
    let digits = |rest: &str| {
        let rest = rest.as_bytes();
        rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit)
    };
    text.split('%').skip(1).all(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DsnFault::*, *};

    #[test]
    fn each_library_has_its_rules() {
        for (dsn, raven, sentry) in [
            ("https://fake:5e@errors.example/7", Ok(()), Ok(())),
            ("http://fake:5e@shop-ingest.web.svc:8080/a/b/7", Ok(()), Ok(())),
            ("HTTPS://fake:5e@[fd00::1]:9000/7", Ok(()), Ok(())),
            ("https://fake:@errors.example/7", Ok(()), Ok(())),
            ("https://fa%20ke:5e@errors.example/7?a=b#c", Ok(()), Ok(())),
            ("https://fake:5e@errors.example/word", Ok(()), Ok(())),
            ("https://fake@errors.example/7", Err(RavenPrivateKey), Ok(())),
            ("https://errors.example/7", Err(RavenUser), Err(SentryUsername)),
            ("https://@errors.example/7", Err(RavenPrivateKey), Err(SentryUsername)),
            ("https://:5e@errors.example/7", Ok(()), Err(SentryUsername)),
            ("https://fake:5e@errors.example", Err(RavenProjectId), Err(SentryProjectId)),
            ("https://fake:5e@errors.example/", Err(RavenProjectId), Err(SentryProjectId)),
            ("https://fake:5e@errors.example/7/", Err(RavenProjectId), Err(SentryProjectId)),
            ("https://fake:5e@/7", Ok(()), Err(SentryHost)),
            ("https://fake:5e@:9000/7", Ok(()), Err(SentryHost)),
            ("ftp://fake:5e@errors.example/7", Ok(()), Err(SentryScheme)),
            ("//fake:5e@errors.example/7", Ok(()), Err(SentryScheme)),
            ("fake@errors.example/7", Err(RavenUser), Err(SentryScheme)),
            ("fake:5e@errors.example/7", Err(RavenUser), Err(SentryScheme)),
            ("foo", Err(RavenUser), Err(SentryScheme)),
            ("https:/fake:5e@errors.example/7", Err(RavenUser), Err(SentryUsername)),
            ("https:fake", Err(RavenUser), Err(SentryUsername)),
            ("https://fake:5e@errors.example:99999999999999999999/7", Ok(()), Err(SentryPort)),
            ("https://fake:5e@errors.example:/7", Ok(()), Ok(())),
            ("https://fake:5e@errors.example:port/7", Err(RavenUrl), Err(SentryUrl)),
            ("https://fake:5e@[fd00::1/7", Err(RavenUrl), Err(SentryUrl)),
            ("https://fake:5e@errors example/7", Err(RavenUrl), Err(SentryUrl)),
            ("https://fake:5e@errors.example/%zz", Err(RavenUrl), Err(SentryUrl)),
            ("https://fa ke:5e@errors.example/7", Err(RavenUrl), Err(SentryUrl)),
            ("https://fake:5e@errors.example/7\n", Err(RavenUrl), Err(SentryUrl)),
            ("://fake:5e@errors.example/7", Err(RavenUrl), Err(SentryUrl)),
            ("1https://fake:5e@errors.example/7", Err(RavenUrl), Err(SentryUrl)),
            ("\"https://fake:5e@errors.example/7\"", Err(RavenUrl), Err(SentryUrl)),
            ("", Err(Empty), Err(Empty)),
        ] {
            assert_eq!(check(dsn, Generation::Raven), raven, "raven-go: {dsn:?}");
            assert_eq!(check(dsn, Generation::SentryGo), sentry, "sentry-go: {dsn:?}");
        }
    }

    #[test]
    fn a_fault_has_the_words_of_the_log() {
        for (fault, words) in [
            (RavenPrivateKey, "`raven: dsn missing private key`"),
            (RavenUser, "`raven: dsn missing public key and/or password`"),
            (RavenProjectId, "`raven: dsn missing project id`"),
            (SentryScheme, "`[Sentry] DsnParseError: invalid scheme`"),
            (SentryUsername, "`[Sentry] DsnParseError: empty username`"),
            (SentryHost, "`[Sentry] DsnParseError: empty host`"),
            (SentryPort, "`[Sentry] DsnParseError: invalid port`"),
            (SentryProjectId, "`[Sentry] DsnParseError: empty project id`"),
        ] {
            assert!(fault.to_string().contains(words), "{fault}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_is_taken(
            scheme in "https?", key in "[0-9a-f]{32}", secret in "[0-9a-f]{32}", host in "[a-z]([a-z0-9.-]{0,20}[a-z])?",
            port in prop::option::of(1u16..), path in "(/[a-z]{1,8}){0,2}", project in 1u32..,
        ) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let modern = format!("{scheme}://{key}@{host}{port}{path}/{project}");
            let deprecated = format!("{scheme}://{key}:{secret}@{host}{port}{path}/{project}");
            prop_assert_eq!(check(&modern, Generation::SentryGo), Ok(()));
            prop_assert_eq!(check(&modern, Generation::Raven), Err(RavenPrivateKey));
            prop_assert_eq!(check(&deprecated, Generation::SentryGo), Ok(()));
            prop_assert_eq!(check(&deprecated, Generation::Raven), Ok(()));
        }

        #[test]
        fn no_dsn_is_too_strange(dsn in "(https?)?[:/@\\[\\]%?#a7 é]{0,40}") {
            let _ = (check(&dsn, Generation::Raven), check(&dsn, Generation::SentryGo));
        }
    }
}
