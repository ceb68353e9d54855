//! Whose address a request came from, when proxies stand between: each adds whom it was asked by to `X-Forwarded-For`,
//! and everybody may write that header.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of the proxies that say the truth about whom they were asked by; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

/// The text is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network in CIDR notation, as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(pub String);

impl TrustedProxies {
    /// Networks in CIDR notation and single addresses, both of IPv4 and IPv6.
    pub fn parse<S: AsRef<str>>(networks: &[S]) -> Result<Self, InvalidNetwork> {
        let parse = |text: &S| network(text.as_ref()).ok_or_else(|| InvalidNetwork(text.as_ref().to_owned()));
        Ok(Self { networks: networks.iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// The address that a request of `peer` came from: the rightmost one that is not of a trusted proxy.
    /// `forwarded_for` are the values of all `X-Forwarded-For` headers in their order. What a trusted proxy says that
    /// is no address hides what is left of it: then the proxy itself is the last that is known.
    pub fn client_ip<'a>(&self, peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for entry in forwarded_for.rev().flat_map(|value| value.rsplit(',')) {
            if !self.contain(client) {
                break;
            }
            let Some(address) = address(entry.trim()) else { break };
            client = address;
        }
        client
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Stricter than `ipnet` itself, which reads `08` as `8`.
fn network(text: &str) -> Option<IpNet> {
    let Some((address, digits)) = text.split_once('/') else {
        return text.parse().ok().map(|address: IpAddr| address.into());
    };
    let is_decimal = digits == "0" || !digits.starts_with(['+', '0']);
    let prefix = digits.parse().ok().filter(|_| is_decimal)?;
    IpNet::new(address.parse().ok()?, prefix).ok()
}

/// An address as proxies write it: some add the port, and IPv6 may be in brackets. One of IPv4 that is written in IPv6
/// is that of IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // One colon is before a port, more are an address of IPv6.
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_a_prefix_of_one() {
        for (text, valid) in [
            ("10.0.0.0/8", true),
            ("10.1.2.3", true),
            ("0.0.0.0/0", true),
            ("10.1.2.3/32", true),
            ("fd00::/8", true),
            ("::1", true),
            ("::/0", true),
            ("10.0.0.0/33", false),
            ("fd00::/129", false),
            ("10.0.0.0/", false),
            ("10.0.0.0/08", false),
            ("10.0.0.0/+8", false),
            ("10.0.0.0/-1", false),
            ("10.0.0/8", false),
            ("10.0.0.0/8 ", false),
            ("proxy.example", false),
            ("", false),
        ] {
            let parsed = TrustedProxies::parse(&[text]);
            assert_eq!(parsed.is_ok(), valid, "{text}");
            if let Err(error) = parsed {
                assert!(error.to_string().contains(text), "{error}");
            }
        }
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_is_not_of_a_trusted_proxy() {
        let inside = &["10.0.0.0/8", "fd00::/8", "192.0.2.7"][..];
        let everybody = &["0.0.0.0/0", "::/0"][..];
        for (case, trusted, peer, forwarded, client) in [
            ("nobody is trusted", &[][..], "10.0.0.1", &["198.51.100.1"][..], "10.0.0.1"),
            ("the peer is not", inside, "203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("the peer is and says nothing", inside, "10.0.0.1", &[], "10.0.0.1"),
            ("one proxy", inside, "10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("what the client wrote itself", inside, "10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("two proxies", inside, "10.0.0.1", &["1.1.1.1, 198.51.100.1 , 192.0.2.7"], "198.51.100.1"),
            ("several headers", inside, "10.0.0.1", &["198.51.100.1", "10.9.9.9"], "198.51.100.1"),
            ("inside all the way", inside, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("no address", inside, "10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("an empty header", inside, "10.0.0.1", &[""], "10.0.0.1"),
            ("with a port", inside, "10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("IPv6", inside, "fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("IPv6 with a port", inside, "fd00::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("IPv4 in IPv6", inside, "::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("everybody is trusted", everybody, "10.0.0.1", &["198.51.100.1, 203.0.113.9"], "198.51.100.1"),
        ] {
            let trusted = TrustedProxies::parse(trusted).unwrap();
            let found = trusted.client_ip(peer.parse().unwrap(), forwarded.iter().copied());
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{case}");
        }
    }

    #[test]
    fn a_prefix_ends_between_two_addresses() {
        let trusted = TrustedProxies::parse(&["10.1.16.0/20", "2001:db8:0:10::/60"]).unwrap();
        for (address, contained) in [
            ("10.1.15.255", false),
            ("10.1.16.0", true),
            ("10.1.31.255", true),
            ("10.1.32.0", false),
            ("2001:db8:0:f::", false),
            ("2001:db8:0:10::", true),
            ("2001:db8:0:1f:ffff::", true),
            ("2001:db8:0:20::", false),
        ] {
            assert_eq!(trusted.contain(address.parse().unwrap()), contained, "{address}");
        }
    }
}
