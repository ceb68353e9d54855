//! What stands in headers, queries and DSNs: each line of the input is one of them.

use error_tracking_operator::{
    dsn::{Dsn, ProjectId, PublicKey},
    filters::Compiled,
    protocol::{
        auth::{LATEST_VERSION, parse},
        encoding::Encoding,
        event::Event,
        proxies::TrustedProxies,
    },
    settings::Filters,
};

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let [first, second, third] = [(); 3].map(|()| lines.next());
    let given = |line: Option<&'_ str>| line.filter(|line| !line.is_empty()).map(str::to_owned);
    if let Ok(Some(auth)) = parse(given(first).as_deref(), given(second).as_deref(), third.unwrap_or_default()) {
        check_key(&auth.key);
        assert!(auth.version <= LATEST_VERSION);
        assert!(auth.client.as_ref().is_none_or(|client| !client.is_empty()));
    }
    for line in text.split('\n').take(20) {
        if let Ok(dsn) = line.parse::<Dsn>() {
            check_key(&dsn.public_key);
            let again: Dsn = dsn.expose().parse().expect("a DSN that we wrote");
            assert!(again == dsn, "{line:?} and {:?}", dsn.expose());
        }
        if let Ok(id) = line.parse::<ProjectId>() {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let _ = Encoding::parse(Some(line));
        let trusted = TrustedProxies::parse(&line.split(',').map(str::trim).collect::<Vec<_>>()).unwrap_or_default();
        let peer = "10.0.0.1".parse().unwrap();
        let _ = trusted.client_ip(peer, text.split('\n'));
    }
}

/// The first lines are patterns, as long as the custom resource lets them be, the others what is compared with them.
pub fn check_patterns(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines: Vec<String> = text.split('\n').take(20).map(|line| line.chars().take(512).collect()).collect();
    let (patterns, others) = lines.split_at(lines.len().min(3));
    let filters = Filters {
        ignore_errors: patterns.to_vec(),
        ignore_releases: patterns.to_vec(),
        allowed_origins: patterns.to_vec(),
        ..Filters::default()
    };
    let (compiled, errors) = Compiled::new(&filters);
    assert!(errors.iter().all(|error| patterns.contains(&error.entry)));
    for text in others.iter().chain(patterns) {
        let event = Event { release: Some(text.clone()), ..Event::default() };
        let (allowed, reason) = (compiled.allows_origin(Some(text)), compiled.check(&event, Some(text)));
        assert_eq!((compiled.allows_origin(Some(text)), compiled.check(&event, Some(text))), (allowed, reason));
        let is_plain = !text.contains(['*', '?', '\r']) && !text.starts_with("re:");
        if patterns.contains(text) && is_plain && !text.trim().is_empty() {
            assert!(reason.is_some(), "{text:?} is not what it says");
        }
    }
}

#[track_caller]
fn check_key(key: &PublicKey) {
    assert_eq!(key.as_str().parse().as_ref(), Ok(key));
    assert!(key.prefix().len() <= 8);
    assert!(!format!("{key:?}").contains(key.as_str()) || key.as_str().len() <= 8, "a key is shown whole");
}
