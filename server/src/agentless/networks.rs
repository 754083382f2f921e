//! Where the server does not connect to on somebody's word: what only it can reach is not to be asked for by others.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use futures_util::future::join_all;
use stocktake_core::Environment;
use tokio::{net::lookup_host, time::timeout};

use super::target::{Peer, Target};
use crate::network::Network;

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where clouds tell machines their credentials, and what else is there for one machine alone: loopback, link-local addresses, and Amazon's
/// in IPv6. To connect to no address (0.0.0.0, ::) is to connect to this machine.
pub(crate) const USUALLY_REFUSED: [Network; 7] = [
    Network::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    Network::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    Network::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    Network::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    Network::new(IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    Network::new(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    Network::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), 128),
];

/// Where names lead, as it was checked: what is connected to, and looked up by nobody a second time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The runtime; nothing if only a proxy knows its name.
    pub(crate) runtime: Option<IpAddr>,
    /// Whether that is so: its collector, which knows whether it asks one, is not to look the name up again.
    pub(crate) is_unknown: bool,
    /// The source's own proxy.
    pub(crate) proxy: Option<IpAddr>,
}

/// Refuses a runtime that is in one of these networks, or whose name leads there, or leads nowhere within `limit`. Only a name behind a
/// proxy may be unknown here.
pub(crate) async fn check(
    target: &Target,
    environment: &Environment,
    refused: &[Network],
    limit: Duration,
) -> Result<Checked, String> {
    let peers = target.peers(environment);
    let checked = peers.iter().map(|peer| check_one(peer, refused, PATIENCE.min(limit)));
    let mut all = Checked::default();
    for (peer, address) in peers.iter().zip(join_all(checked).await) {
        match (address?, peer) {
            (address, Peer { is_proxy: true, .. }) => all.proxy = address,
            (address, _) => (all.runtime, all.is_unknown) = (address, address.is_none()),
        }
    }
    Ok(all)
}

/// The first of the addresses, all of which may be connected to: those that are likely to be reached come first (RFC 6724). None if only
/// a proxy knows any.
async fn check_one(peer: &Peer, refused: &[Network], limit: Duration) -> Result<Option<IpAddr>, String> {
    let Peer { host, port, is_behind_proxy, .. } = peer;
    let addresses = match timeout(limit, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(addresses)) => addresses,
        _ if *is_behind_proxy => return Ok(None),
        Ok(Err(error)) => return Err(format!("`{host}` cannot be looked up: {error}")),
        Err(_) => return Err(format!("`{host}` cannot be looked up: no name server answers in time")),
    };
    // An IPv4 address may be written as one of IPv6.
    let addresses: Vec<IpAddr> = addresses.map(|address| address.ip().to_canonical()).collect();
    match addresses.iter().find(|address| refused.iter().any(|network| network.has(**address))) {
        Some(address) => Err(format!(
            "`{host}` is at {address}, where this server does not look (`refused_networks` of `[agentless]` in its configuration)"
        )),
        None => Ok(addresses.first().copied()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stocktake_agent::embed::{Collectors, Limits};

    use super::*;
    use crate::{
        agentless::target::{Daemon, Docker, OfDaemon},
        config::AgentlessSettings,
    };

    fn daemon(host: &str) -> Target {
        let daemon = Daemon { host: host.into(), certificate_authority: String::new(), client_certificate: None };
        Target::Docker(Docker { daemon, selection: OfDaemon::default() })
    }

    fn cluster(server: &str, proxy_url: Option<&str>) -> Target {
        let mut cluster = json!({ "server": server, "credential_type": "token" });
        cluster["proxy_url"] = json!(proxy_url);
        Target::read("kubernetes", &cluster.to_string(), r#"{"cluster_objects": true}"#).unwrap()
    }

    async fn is_refused(target: &Target, environment: &Environment) -> bool {
        check(target, environment, &USUALLY_REFUSED, PATIENCE).await.is_err()
    }

    #[tokio::test]
    async fn link_local_addresses_and_this_machine_are_refused_however_they_are_written() {
        for host in [
            "tcp://127.0.0.1:1",
            "tcp://127.255.0.1:1",
            "tcp://localhost:1",
            "tcp://[::1]:1",
            "tcp://[::ffff:127.0.0.1]:1",
            "tcp://0.0.0.0:1",
            "tcp://[::]:1",
            "tcp://169.254.169.254:80",
            "tcp://[::ffff:169.254.169.254]:80",
            "tcp://[fe80::1]:1",
            "tcp://[fd00:ec2::254]",
        ] {
            assert!(is_refused(&daemon(host), &Environment::default()).await, "{host}");
        }
        // Clusters are in private networks.
        for host in ["tcp://10.0.0.1", "tcp://192.168.0.1:1", "tcp://[fd00::1]:1", "tcp://192.0.2.1:1"] {
            assert!(!is_refused(&daemon(host), &Environment::default()).await, "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_refused_unless_a_proxy_may_know_it() {
        const UNKNOWN: &str = "https://no-such-host.invalid";
        let none = Environment::default();
        assert!(is_refused(&daemon("tcp://no-such-host.invalid:1"), &none).await);
        assert!(is_refused(&cluster(UNKNOWN, None), &none).await);
        assert!(!is_refused(&cluster(UNKNOWN, Some("http://10.0.0.1:3128")), &none).await);
        assert!(is_refused(&cluster(UNKNOWN, Some("http://127.0.0.1:3128")), &none).await);
        assert!(is_refused(&cluster(UNKNOWN, Some("http://no-such-proxy.invalid:1")), &none).await);
        assert!(is_refused(&cluster(UNKNOWN, Some("socks5://169.254.169.254")), &none).await);
        assert!(is_refused(&cluster("https://169.254.169.254", Some("http://10.0.0.1:1")), &none).await);
        let variables = [("HTTPS_PROXY".to_owned(), "http://proxy.example".to_owned())].into();
        let proxied = Environment { variables, ..Environment::default() };
        assert!(!is_refused(&cluster(UNKNOWN, None), &proxied).await);
        assert!(is_refused(&daemon("tcp://no-such-host.invalid:1"), &proxied).await, "its collector takes no proxy");
    }

    #[tokio::test]
    async fn what_was_checked_is_what_is_connected_to() {
        let none = Environment::default();
        let refused = AgentlessSettings::of_tests().refused_networks;
        let checked = async |target: &Target| check(target, &none, &refused, PATIENCE).await.unwrap();
        let loopback = |address: Option<IpAddr>| address.is_some_and(|address| address.is_loopback());
        let (docker, direct) = (daemon("tcp://localhost:1"), cluster("https://localhost:1", None));
        for target in [&docker, &direct] {
            let found = checked(target).await;
            assert!(loopback(found.runtime) && found.proxy.is_none(), "{found:?}");
            assert_eq!(target.settings("x", None, found)["address"], json!(found.runtime));
        }
        let proxied = cluster("https://localhost:1", Some("http://localhost:3128"));
        let found = checked(&proxied).await;
        assert!(loopback(found.runtime) && loopback(found.proxy), "{found:?}");
        let settings = proxied.settings("x", None, found);
        let kubeconfig = settings["kubeconfig_data"].as_str().unwrap();
        assert!(!kubeconfig.contains("http://localhost") && kubeconfig.contains(":3128"), "{kubeconfig}");
        assert!(kubeconfig.contains("https://localhost:1"), "{kubeconfig}");
    }

    #[tokio::test]
    async fn what_was_not_checked_is_not_connected_to() {
        let target = cluster("https://no-such-host.invalid", None);
        for (exempt, is_built) in [("other.invalid", true), (".invalid", false)] {
            let variables = [("HTTPS_PROXY", "http://proxy.example"), ("NO_PROXY", exempt)];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let environment = Environment { variables, ..Environment::default() };
            let checked = check(&target, &environment, &USUALLY_REFUSED, PATIENCE).await.unwrap();
            let settings = target.settings("x", None, checked);
            let limits = Limits { timeout: PATIENCE, bytes: 1 };
            let built = Collectors::linked("x", environment).unwrap().build("kubernetes", settings, limits);
            let error = built.err().map(|error| error.to_string());
            assert_eq!(error.is_none(), is_built, "{exempt}: {error:?}");
            assert!(error.is_none_or(|error| error.contains("no proxy leads to")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_time_is_taken_than_there_is() {
        let error = check(&daemon("tcp://localhost:1"), &Environment::default(), &[], Duration::ZERO).await;
        assert!(error.is_err_and(|error| error.contains("in time")));
    }
}
