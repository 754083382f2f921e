//! Where the server does not connect to on somebody's word: what only it can reach is not to be asked for by others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};

use super::target::Target;

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A network: an address, and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

/// Where clouds tell machines their credentials, and what else is there for one machine alone: link-local addresses, and Amazon's in IPv6.
pub(crate) const USUALLY_REFUSED: [Network; 3] = [
    Network { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), bits: 16 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), bits: 10 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), bits: 128 },
];

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let shifted = |bits: u128, width: u32| bits.checked_shr(width - self.bits.min(width)).unwrap_or(0);
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                shifted(network.to_bits().into(), 32) == shifted(address.to_bits().into(), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                shifted(network.to_bits(), 128) == shifted(address.to_bits(), 128)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no network: expected an address and a number of bits, as in `169.254.0.0/16`");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits): (IpAddr, u32) =
            (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Refuses a runtime that is in one of these networks, or whose name leads there. A name that nobody here knows may be known by a proxy.
pub(crate) async fn check(target: &Target, refused: &[Network]) -> Result<(), String> {
    for (host, port) in target.peers() {
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
        let Ok(Ok(addresses)) = found else { continue };
        // An IPv4 address may be written as one of IPv6.
        for address in addresses.map(|address| address.ip().to_canonical()) {
            if refused.iter().any(|network| network.contains(address)) {
                return Err(format!(
                    "`{host}` is at {address}, where this server does not look (`refused_networks` of `[agentless]` in its configuration)"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agentless::target::{Daemon, Docker, OfDaemon};

    #[test]
    fn a_network_has_what_begins_as_it_does() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        for (network, inside, outside) in [
            ("169.254.0.0/16", "169.254.169.254", "169.255.0.1"),
            ("10.0.0.0/8", "10.255.0.1", "::a00:1"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ] {
            assert!(contains(network, inside) && !contains(network, outside), "{network}");
        }
        assert!(contains("0.0.0.0/0", "1.2.3.4") && contains("::/0", "::1"));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fe80::/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn link_local_addresses_are_refused_however_they_are_written() {
        let refused = async |host: &str| {
            let daemon = Daemon { host: host.into(), certificate_authority: String::new(), client_certificate: None };
            check(&Target::Docker(Docker { daemon, selection: OfDaemon::default() }), &USUALLY_REFUSED).await.is_err()
        };
        for host in [
            "tcp://169.254.169.254:80",
            "tcp://[::ffff:169.254.169.254]:80",
            "tcp://[fe80::1]:1",
            "tcp://[fd00:ec2::254]",
        ] {
            assert!(refused(host).await, "{host}");
        }
        for host in ["tcp://127.0.0.1:1", "tcp://10.0.0.1", "tcp://no-such-host.invalid:1"] {
            assert!(!refused(host).await, "{host}");
        }
    }
}
