//! Where the server does not connect to on somebody's word: what only it can reach is not to be asked for by others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::target::Target;
use crate::network::Network;

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where clouds tell machines their credentials, and what else is there for one machine alone: link-local addresses, and Amazon's in IPv6.
pub(crate) const USUALLY_REFUSED: [Network; 3] = [
    Network::new(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    Network::new(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    Network::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 128),
];

/// Refuses a runtime that is in one of these networks, or whose name leads there. A name that nobody here knows may be known by a proxy.
pub(crate) async fn check(target: &Target, refused: &[Network]) -> Result<(), String> {
    for (host, port) in target.peers() {
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
        let Ok(Ok(addresses)) = found else { continue };
        // An IPv4 address may be written as one of IPv6.
        for address in addresses.map(|address| address.ip().to_canonical()) {
            if refused.iter().any(|network| network.has(address)) {
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
