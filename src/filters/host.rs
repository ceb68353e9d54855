//! Hosts of URLs and origins, as far as filters look at them.

use std::net::IpAddr;

/// `shop.example` of `https://user@shop.example:8443/cart`, an IPv6 address without its brackets.
pub(super) fn of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(split_port(host).0)
}

/// Host and port of `host:port`, `[::1]:port` or a host alone.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// The machine itself: `localhost` and what is below it (RFC 6761, 6.3), loopback and unspecified addresses.
pub(super) fn is_local(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if let Ok(address) = host.parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address.is_unspecified();
    }
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself_has_many_names() {
        for (url, local) in [
            ("http://localhost/", true),
            ("http://LOCALHOST:3000/cart", true),
            ("http://shop.localhost:3000", true),
            ("http://127.0.0.1:8000/", true),
            ("http://127.8.8.8", true),
            ("http://[::1]:8000/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://0.0.0.0:8000/", true),
            ("http://ann:pw@localhost/", true),
            ("https://localhost.example/", false),
            ("https://notlocalhost/", false),
            ("https://10.0.0.7/", false),
            ("https://shop.example/localhost", false),
            ("file:///home/index.html", false),
            ("/cart", false),
            ("://", false),
        ] {
            assert_eq!(of_url(url).is_some_and(is_local), local, "{url}");
        }
    }
}
