//! Which proxy, if any, stands between the agent and an API server.
//!
//! kube reads `HTTPS_PROXY` too, but from the process rather than from what the agent hands over, and holds `NO_PROXY`
//! against the proxy's own address. The rules here are those of Go's `net/http`, by which kubectl decides.

use std::net::IpAddr;

use http::Uri;
use stocktake_core::{ConfigError, Environment};

/// The proxy for `server`: the kubeconfig's, else the environment's unless `NO_PROXY` names the server.
pub(crate) fn for_server(
    server: &Uri,
    configured: Option<&str>,
    environment: &Environment,
) -> Result<Option<Uri>, ConfigError> {
    let (source, text) = match configured.filter(|text| !text.is_empty()) {
        Some(text) => ("`proxy-url` of the kubeconfig", text),
        None => match of_environment(server, environment) {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let proxy: Uri = text.parse().map_err(|error| ConfigError::new("", format!("{source} is not a URL: {error}")))?;
    match proxy.scheme_str() {
        Some("http" | "https" | "socks5") => Ok(Some(proxy)),
        _ => Err(ConfigError::new("", format!("{source} is neither an http, https nor socks5 URL"))),
    }
}

fn of_environment<'a>(server: &Uri, environment: &'a Environment) -> Option<(&'static str, &'a str)> {
    let variable = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| environment.variable(name).map(|value| (name, value)))
    };
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_exempt = variable(["NO_PROXY", "no_proxy"]).is_some_and(|(_, list)| is_exempt(host, list));
    if is_exempt || is_loopback(host) {
        return None;
    }
    variable(if server.scheme_str() == Some("http") {
        ["HTTP_PROXY", "http_proxy"]
    } else {
        ["HTTPS_PROXY", "https_proxy"]
    })
}

/// Whether `host`, without brackets, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a list like `10.0.0.0/8,.example.com,localhost` names the host.
fn is_exempt(host: &str, list: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" || entry.eq_ignore_ascii_case(host) {
            return true;
        }
        match (address, entry.split_once('/')) {
            (Some(address), Some((network, bits))) => is_within(address, network, bits),
            (Some(_), None) => false,
            (None, _) => {
                let domain = entry.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
                host.to_ascii_lowercase().ends_with(&format!(".{domain}"))
            }
        }
    })
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Environment::default() }
    }

    fn proxy(server: &str, configured: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let proxy = for_server(&server.parse().unwrap(), configured, &environment(variables)).unwrap();
        proxy.map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_environment_decides_where_the_kubeconfig_does_not() {
        let set = [("HTTPS_PROXY", "proxy:3128")];
        assert_eq!(proxy("https://k8s.example.com", None, &set).as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxy("http://k8s.example.com", None, &set), None);
        assert_eq!(proxy("https://a", Some("socks5://b:1"), &set).as_deref(), Some("socks5://b:1/"));
        assert_eq!(proxy("https://k8s.example.com", None, &[]), None);
    }

    #[test]
    fn loopback_and_no_proxy_go_without() {
        for server in ["https://127.0.0.1:6443", "https://localhost", "https://[::1]:6443"] {
            assert_eq!(proxy(server, None, &[("https_proxy", "http://p")]), None, "{server}");
        }
        let goes_without =
            |server, list| proxy(server, None, &[("HTTPS_PROXY", "http://p"), ("NO_PROXY", list)]).is_none();
        for (server, list) in [
            ("https://10.1.2.3:6443", "a, 10.0.0.0/8"),
            ("https://k8s.example.com", ".example.com"),
            ("https://k8s.example.com", "example.com"),
            ("https://[fd00::1]", "fd00::/8"),
            ("https://x", "*"),
        ] {
            assert!(goes_without(server, list), "{server} {list}");
        }
        for (server, list) in [
            ("https://11.1.2.3:6443", "10.0.0.0/8"),
            ("https://notexample.com", "example.com"),
            ("https://10.1.2.3", "10.0.0.0/99, 10.0.0.0/x, fd00::/8"),
        ] {
            assert!(!goes_without(server, list), "{server} {list}");
        }
        assert!(goes_without("https://11.1.2.3", "0.0.0.0/0"));
    }

    #[test]
    fn a_bad_proxy_is_named_by_where_it_stands() {
        let error = for_server(&"https://a".parse().unwrap(), Some("ftp://b"), &environment(&[])).unwrap_err();
        assert!(error.message.contains("`proxy-url` of the kubeconfig"), "{error}");
    }
}
