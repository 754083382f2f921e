//! Which proxy, if any, stands between the agent and a server: by the rules of Go's `net/http`, which those who run agents know.

use std::net::IpAddr;

use reqwest::{NoProxy, Proxy, Url};
use secrecy::{ExposeSecret as _, SecretString};
use stocktake_core::{ConfigError, Environment};

/// The proxy for `server`: that of the settings, else the environment's unless `NO_PROXY` names the server.
pub(super) fn choose(
    server: &Url,
    configured: Option<&SecretString>,
    environment: &Environment,
) -> Result<Option<Proxy>, ConfigError> {
    if let Some(text) = configured {
        return parse("proxy", "it", text.expose_secret()).map(Some);
    }
    let variable = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| environment.variable(name).map(|value| (name, value)))
    };
    let names = if server.scheme() == "http" { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
    let Some((name, text)) = variable(names) else { return Ok(None) };
    if is_loopback(server.host_str().unwrap_or_default()) {
        return Ok(None);
    }
    let exempt = variable(["NO_PROXY", "no_proxy"]).and_then(|(_, list)| NoProxy::from_string(list));
    parse("", &format!("the environment variable `{name}`"), text).map(|proxy| Some(proxy.no_proxy(exempt)))
}

/// Messages do not repeat the URL, which may hold a password.
fn parse(key: &str, what: &str, text: &str) -> Result<Proxy, ConfigError> {
    let wrong = |why: &str| ConfigError::new(key, format!("{what} {why}")).hint("write `http://HOST:PORT`");
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: Url = text.parse().map_err(|error| wrong(&format!("is not the URL of a proxy: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither an http nor an https URL"));
    }
    Proxy::all(url).map_err(|_| wrong("is not the URL of a proxy"))
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
