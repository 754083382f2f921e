//! What `[telemetry]` holds.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// Where health and metrics are served where nothing is said. No service is registered for the port.
pub(crate) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 17820);

/// What `[telemetry]` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySettings {
    /// `run`: the address and port where `/livez`, `/readyz` and `/metrics` are served over HTTP, or `off`. Whoever reaches
    /// it may read it. Default: `127.0.0.1:17820`, if nobody else has it.
    #[schemars(with = "Option<String>", example = "127.0.0.1:17820")]
    pub(crate) listen: Place<SocketAddr>,

    /// `run`: the socket where `stocktake-agent status` asks, or `off`. Only the agent's own user and root may. Default:
    /// `/run/stocktake/agent.sock`, or `stocktake/agent.sock` in `XDG_RUNTIME_DIR` where the agent may not write that.
    #[schemars(with = "Option<String>", example = "/run/stocktake/agent.sock")]
    pub(crate) socket: Place<PathBuf>,

    /// `run`: where to send a trace of each collection and each delivery, by OTLP over HTTP. Default: nowhere. What the
    /// receiver wants besides is taken from the environment, such as `OTEL_EXPORTER_OTLP_HEADERS`.
    #[serde(deserialize_with = "endpoint")]
    #[schemars(example = "http://127.0.0.1:4318")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// Where something is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Place<T> {
    /// Where it usually is, if it can be.
    #[default]
    Usual,
    /// Nowhere.
    Off,
    /// There, or not at all.
    At(T),
}

impl<'de> Deserialize<'de> for Place<SocketAddr> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        place(deserializer, |text| {
            SocketAddr::from_str(text).map_err(|_| {
                format!("`{text}` is no address with a port like `127.0.0.1:17820` or `[::1]:17820`, and not `off`")
            })
        })
    }
}

impl<'de> Deserialize<'de> for Place<PathBuf> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        place(deserializer, |text| match PathBuf::from(text) {
            path if path.is_absolute() => Ok(path),
            _ => Err(format!("`{text}` is not an absolute path, and not `off`")),
        })
    }
}

fn place<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    at: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Place<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" { Ok(Place::Off) } else { at(&text).map(Place::At).map_err(de::Error::custom) }
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !cfg!(feature = "otlp") {
        return Err(de::Error::custom("this program was built without OTLP (its feature `otlp`)"));
    }
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
        uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if is_url {
        Ok(Some(text))
    } else {
        Err(de::Error::custom(format!("`{text}` is no URL like `http://127.0.0.1:4318`")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(value: serde_json::Value) -> Result<TelemetrySettings, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        assert_eq!(settings(json!({})), Ok(TelemetrySettings::default()));
        assert_eq!(TelemetrySettings::default().listen, Place::Usual);
    }

    #[test]
    fn places_and_off() {
        let found = settings(json!({ "listen": "[::]:80", "socket": "/x", "otlp_endpoint": "https://o:4318/x" }));
        let found = found.unwrap();
        assert_eq!(found.listen, Place::At("[::]:80".parse().unwrap()));
        assert_eq!(found.socket, Place::At("/x".into()));
        let off = settings(json!({ "listen": "off", "socket": "off" })).unwrap();
        assert_eq!((off.listen, off.socket), (Place::Off, Place::Off));
    }

    #[test]
    fn what_is_no_place_is_told() {
        for (value, told) in [
            (json!({ "listen": "9100" }), "`9100` is no address"),
            (json!({ "listen": "" }), "is no address"),
            (json!({ "socket": "agent.sock" }), "not an absolute path"),
            (json!({ "otlp_endpoint": "127.0.0.1:4318" }), "is no URL"),
            (json!({ "otlp_endpoint": "grpc://x" }), "is no URL"),
            (json!({ "port": 5 }), "unknown field"),
        ] {
            let found = settings(value.clone()).unwrap_err();
            assert!(found.contains(told), "{value}: {found}");
        }
    }
}
