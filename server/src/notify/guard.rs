//! Which addresses notifications may be sent to: not those of this machine and its networks, unless somebody allows it. Who may subscribe
//! is not to reach with the server's hands what they cannot reach themselves.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::network::Network;

/// Addresses that are of no one machine on the internet (<https://www.iana.org/assignments/iana-ipv4-special-registry>).
const V4: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Of what IPv6 has given out for the internet, `2000::/3`: parts that are not of it (<https://www.iana.org/assignments/iana-ipv6-special-registry>).
const V6: [([u16; 8], u8); 3] = [
    // Teredo and others of its kind.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Where nothing is sent to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "{0} is an address of this machine, a private network, or no single machine's, and is not sent to; `allow_networks` of `[notify]` may allow it"
    )]
    Address(IpAddr),
    /// Who subscribes is not told which: names may mean something to this machine only.
    #[error(
        "its name is of this machine, a private network, or no single machine, and is not sent to; `allow_networks` of `[notify]` may allow it"
    )]
    Name,
}

/// Says which addresses are sent to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    allowed: Arc<[Network]>,
}

impl Guard {
    pub(crate) fn new(allowed: &[Network]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether an address may be sent to.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        if is_public(address) || self.allowed.iter().any(|network| network.has(address)) {
            return Ok(());
        }
        Err(Refused::Address(address))
    }
}

/// Names lead to allowed addresses only, and who asks connects to those: nobody resolves the name a second time.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| guard.check(address.ip()).is_ok()).collect();
            if allowed.is_empty() {
                return Err(Refused::Name.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => {
            !V4.iter().any(|(network, prefix)| Network::new(Ipv4Addr::from(*network).into(), *prefix).has(address))
        }
        IpAddr::V6(own) => {
            let segments = own.segments();
            // NAT64 and 6to4 lead to what they have within.
            let within = match segments {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some([high, low]),
                _ => None,
            };
            if let Some([high, low]) = within {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                return is_public(Ipv4Addr::new(a, b, c, d).into());
            }
            let is_special =
                V6.iter().any(|(network, prefix)| Network::new(Ipv6Addr::from(*network).into(), *prefix).has(address));
            segments[0] & 0xe000 == 0x2000 && !is_special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(guard: &Guard, address: &str) -> bool {
        guard.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_the_internet_is_sent_to() {
        let guard = Guard::default();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_allowed(&guard, address), "{address}");
        }
        for address in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_allowed(&guard, address), "{address}");
        }
    }

    #[test]
    fn networks_are_allowed_by_name() {
        let networks = ["10.1.0.0/16", "fd00::/8", "127.0.0.1"].map(|text| text.parse().unwrap());
        let guard = Guard::new(&networks);
        for (address, expected) in [
            ("10.1.200.3", true),
            ("::ffff:10.1.0.1", true),
            ("10.2.0.1", false),
            ("fd12::1", true),
            ("fc12::1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
        ] {
            assert_eq!(is_allowed(&guard, address), expected, "{address}");
        }
        assert!(is_allowed(&Guard::new(&["0.0.0.0/0".parse().unwrap()]), "10.0.0.1"));
    }

    #[tokio::test]
    async fn a_name_of_this_machine_leads_nowhere() {
        let resolve = async |guard: Guard| guard.resolve("localhost".parse().unwrap()).await.map(Iterator::count);
        let error = resolve(Guard::default()).await.unwrap_err();
        assert!(error.to_string().contains("is not sent to"), "{error}");
        assert!(!error.to_string().contains("127.") && !error.to_string().contains("::1"), "{error}");
        let all = ["127.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        assert!(resolve(Guard::new(&all)).await.unwrap() > 0);
    }
}
