//! Which of Anchore's APIs a server has.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;

use super::{document::Format, settings::ApiSetting};
use crate::deliver::{
    Failure, Sent,
    http::{Client, Credentials, Request},
};

/// How long what a server said of itself is taken for true: it may be upgraded without any answer being `404`.
pub(super) const FRESH: Duration = Duration::from_hours(1);

/// Where an inventory is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Api {
    /// Enterprise 5.0 and later.
    V2,
    /// 4.7 to 4.9: the same document.
    V1,
    /// Before 4.7: what kai sends.
    Kai,
}

impl Api {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::V2 => "v2/kubernetes-inventory",
            Self::V1 => "v1/enterprise/kubernetes-inventory",
            Self::Kai => "v1/enterprise/inventories",
        }
    }

    pub(super) fn format(self) -> Format {
        match self {
            Self::V2 | Self::V1 => Format::Pods,
            Self::Kai => Format::Images,
        }
    }
}

/// What `GET /version` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerVersion {
    pub(super) is_v2: bool,
    /// Major and minor of the server itself.
    pub(super) service: Option<(u64, u64)>,
}

impl ServerVersion {
    fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Part {
            version: Option<String>,
        }
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            api: Part,
            #[serde(default)]
            service: Part,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let service = answer.service.version.as_deref().and_then(|version| {
            let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        Some(Self { is_v2: answer.api.version.as_deref() == Some("2"), service })
    }

    fn api(self) -> Option<Api> {
        match (self.is_v2, self.service) {
            (true, _) | (_, Some((5.., _))) => Some(Api::V2),
            (_, Some((4, 7..))) => Some(Api::V1),
            (_, Some(_)) => Some(Api::Kai),
            (_, None) => None,
        }
    }

    /// Whether it has integrations, which register and say how they are.
    pub(super) fn has_integrations(self) -> bool {
        self.service.is_some_and(|version| version >= (5, 11))
    }
}

/// Asks for the version, as anybody may. `None` if it is not told, for not every proxy in front of a server lets that through.
pub(super) async fn version(client: &Client, sent: &mut Sent) -> Result<Option<ServerVersion>, Failure> {
    let request = Request {
        method: Method::GET,
        path: "version",
        headers: Vec::new(),
        body: Bytes::new(),
        credentials: &Credentials::None,
    };
    let answer = client.send(request, sent).await?;
    Ok(if answer.status.is_success() { ServerVersion::parse(&answer.body) } else { None })
}

/// What is known of a server.
pub(super) struct Apis {
    setting: ApiSetting,
    known: Option<(Api, Instant)>,
}

impl Apis {
    pub(super) fn new(setting: ApiSetting) -> Self {
        Self { setting, known: None }
    }

    /// The APIs to try, the likeliest first.
    pub(super) async fn candidates(&mut self, client: &Client, sent: &mut Sent) -> Result<Vec<Api>, Failure> {
        let fixed = match self.setting {
            ApiSetting::Auto => None,
            ApiSetting::V2 => Some(Api::V2),
            ApiSetting::V1 => Some(Api::V1),
            ApiSetting::Kai => Some(Api::Kai),
        };
        if let Some(api) = fixed {
            return Ok(vec![api]);
        }
        let known = match self.known {
            Some((api, since)) if since.elapsed() < FRESH => return Ok(vec![api]),
            other => other.map(|(api, _)| api),
        };
        let told = match version(client, sent).await {
            Ok(version) => version.and_then(ServerVersion::api),
            // What takes inventories may live where what tells the version does not.
            Err(_) if known.is_some() => None,
            Err(failure) => return Err(failure),
        };
        let all = [Api::V2, Api::V1, Api::Kai];
        Ok(match (told, known) {
            (Some(api), _) => vec![api],
            (None, Some(known)) => std::iter::once(known).chain(all.into_iter().filter(|api| *api != known)).collect(),
            (None, None) => all.to_vec(),
        })
    }

    /// An inventory was taken there.
    pub(super) fn confirm(&mut self, api: Api) {
        if self.known.is_none_or(|(known, since)| known != api || since.elapsed() >= FRESH) {
            self.known = Some((api, Instant::now()));
        }
    }

    /// There is no such API any more.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_follows_from_what_a_server_says_of_itself() {
        for (body, api) in [
            (r#"{"api":{"version":"2"},"db":{"schema_version":"5"},"service":{"version":"5.26.0"}}"#, Some(Api::V2)),
            (r#"{"api":{"version":"2"},"service":{}}"#, Some(Api::V2)),
            (r#"{"api":{},"service":{"version":"5.0.0"}}"#, Some(Api::V2)),
            (r#"{"api":{},"db":{},"service":{"version":"4.9.1"}}"#, Some(Api::V1)),
            (r#"{"service":{"version":"4.7.0-rc1"}}"#, Some(Api::V1)),
            (r#"{"service":{"version":"4.6.2"}}"#, Some(Api::Kai)),
            (r#"{"service":{"version":"3.1.0"}}"#, Some(Api::Kai)),
            (r#"{"service":{"version":"dev"}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(ServerVersion::parse(body.as_bytes()).unwrap().api(), api, "{body}");
        }
        assert_eq!(ServerVersion::parse(b"<html>"), None);
    }

    #[test]
    fn integrations_are_there_since_5_11() {
        let of = |service| ServerVersion { is_v2: true, service }.has_integrations();
        assert!(of(Some((5, 11))) && of(Some((6, 0))));
        assert!(!of(Some((5, 10))) && !of(Some((4, 99))) && !of(None));
    }
}
