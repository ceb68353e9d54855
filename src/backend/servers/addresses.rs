//! Which addresses the name of a server may lead to. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell a machine its own credentials, beside the link-local 169.254.0.0/16 and `fe80::/10`: Alibaba,
/// Oracle and Azure, then AWS (machines, containers), Google and Scaleway.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// The addresses to which a server's name may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The platform team named the address itself, or localhost.
    Any,
    /// A name, whose owner decides where it leads: not to the operator's own machine, nor to what a machine is told of
    /// itself. Private networks are where companies keep their servers.
    Network,
}

impl Reach {
    pub(super) fn permits(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Network, IpAddr::V4(address)) => is_on_the_network(address),
            (Self::Network, IpAddr::V6(address)) => match embedded(address) {
                Some(address) => is_on_the_network(address),
                None => {
                    !(address.is_unspecified()
                        || address.is_loopback()
                        || address.is_unicast_link_local()
                        || address.is_multicast()
                        || METADATA_V6.contains(&address))
                }
            },
        }
    }
}

fn is_on_the_network(address: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 is "this host".
    !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA_V4.contains(&address))
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, by NAT64 (RFC 6052) or by 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(of(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_address_of_the_machine_itself() {
        for (address, permitted) in [
            ("34.120.62.213", true),
            ("10.0.0.8", true),
            ("172.16.4.1", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("100.100.100.200", false),
            ("192.0.0.192", false),
            ("168.63.129.16", false),
            ("2600:1901:0:38d7::", true),
            ("fd00::1", true),
            ("::", false),
            ("::1", false),
            ("fe80::a9fe:a9fe", false),
            ("ff02::1", false),
            ("fd00:ec2::254", false),
            ("fd20:ce::254", false),
            ("::ffff:10.0.0.8", true),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::a00:8", true),
            ("2002:7f00:1::", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(Reach::Network.permits(address), permitted, "{address}");
            assert!(Reach::Any.permits(address), "{address}");
        }
    }
}
