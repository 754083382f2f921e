//! A node's kubelet, which lists the pods of its node: no watch, no selectors, and no request to the API server but those
//! by which the kubelet asks whether it may answer.

use http::header::USER_AGENT;
use kube::Config;
use stocktake_core::{
    CollectError, ConfigError, Environment,
    model::{Text, Warning},
};

use crate::{
    address::{Target, display, parse_url},
    api::{Api, JSON},
    convert::{ConvertedPod, convert_pod},
    decode::ListDecoder,
    error::{self, Action, Failure, FailureKind, Peer, PeerKind, one_line},
    node::{Found, expand},
    pods,
    proxy::is_loopback,
    settings::Settings,
    target,
    texts::Texts,
    wire,
};

/// Where a kubelet listens on its own node.
const DEFAULT_URL: &str = "https://127.0.0.1:10250";

/// Bytes of one list: a thousand pods, of which a node has a hundred by default, of 256 KiB each.
const MAX_LIST: usize = 256 << 20;

/// What the kubelet writes on every pod: when it learnt of it.
const SEEN: &str = "kubernetes.io/config.seen";
/// And from where: `api`, or `file` and `http` for static pods.
const SOURCE: &str = "kubernetes.io/config.source";

/// Where the settings' kubelet is, asked as whom the API server is asked.
pub(crate) fn target(
    settings: &Settings,
    environment: &Environment,
    server: &Target,
) -> Result<Option<Target>, ConfigError> {
    let Some(kubelet) = &settings.kubelet else { return Ok(None) };
    let url = expand("kubelet.url", kubelet.url.as_deref().unwrap_or(DEFAULT_URL), environment)?;
    let url = parse_url("kubelet.url", &url).map_err(|error| error.hint("write the kubelet's URL"))?;
    if url.scheme_str() != Some("https") {
        return Err(ConfigError::new(
            "kubelet.url",
            "a kubelet is asked for its pods with credentials, over https alone",
        )
        .hint("write `https://` and the port of the kubelet, which is 10250 by default"));
    }
    let mut config = Config::new(url.clone());
    config.auth_info.clone_from(&server.config.auth_info);
    config.headers.extend(server.config.headers.iter().filter(|(name, _)| *name == USER_AGENT).cloned());
    config.default_retry = false;
    config.accept_invalid_certs = kubelet.danger_accept_invalid_certificates;
    config.root_cert.clone_from(&server.config.root_cert);
    config.root_cert_file.clone_from(&server.config.root_cert_file);
    if let Some(path) = &kubelet.ca_file {
        config.root_cert = Some(target::certificates("kubelet.ca_file", path)?);
        config.root_cert_file = Some(path.clone());
    }
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    if is_loopback(host) {
        // Kubelets have certificates for their node's name and addresses, of which loopback is none.
        config.tls_server_name.clone_from(&settings.node);
    }
    let peer = Peer { server: display(&url), credentials: server.peer.credentials.clone(), kind: PeerKind::Kubelet };
    let warnings = kubelet.danger_accept_invalid_certificates.then(|| {
        Warning::new(format!(
            "the certificate of {peer} is not checked, because `danger_accept_invalid_certificates` is set: whoever is in \
             between can take the agent's credentials and make up the inventory; name in `ca_file` who vouches for it"
        ))
    });
    let target = Target {
        config,
        peer,
        cluster_name: None,
        own_namespace: server.own_namespace.clone(),
        token_file: server.token_file.clone(),
        warnings: warnings.into_iter().collect(),
    };
    target::check_certificates(&target)?;
    Ok(Some(target))
}

/// The pods that the settings select, as the kubelet of node `name` lists them.
pub(crate) async fn list(api: &Api, settings: &Settings, name: &Text) -> Result<Found, Failure> {
    let action = Action::PodsOfKubelet;
    let broken = |broken| error::broken(&api.peer, &action, &broken);
    let mut answer = api.ask("/pods", JSON, &action).await?;
    let mut decoder = ListDecoder::new(answer.encoding);
    let (mut found, mut texts) = (Found::default(), Texts::default());
    let (mut kept_bytes, mut received) = (0, 0);
    loop {
        while let Some(pod) = decoder.next::<wire::Pod>().map_err(broken)? {
            let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            if on != name {
                return Err(other_node(&api.peer, on, name));
            }
            if let Some(pod) = select(pod, settings, &mut found, &mut texts) {
                kept_bytes += pod.kept_bytes();
                found.pods.push(pod);
            }
            if settings.exceeds_memory(kept_bytes) {
                found.errors.push(pods::over_memory(settings, &format!("node `{name}`")));
                return Ok(found);
            }
        }
        match api.more(&mut answer, &action).await? {
            Some(bytes) => {
                received += bytes.len();
                if received > MAX_LIST {
                    return Err(has_no_end(&api.peer));
                }
                decoder.push(&bytes);
            }
            None => break,
        }
    }
    decoder.finish().map_err(broken)?;
    Ok(found)
}

fn select(pod: wire::Pod, settings: &Settings, found: &mut Found, texts: &mut Texts) -> Option<ConvertedPod> {
    let namespace = pod.metadata.as_ref().and_then(|metadata| metadata.namespace.as_deref()).unwrap_or_default();
    if namespace.is_empty() {
        found.stray.add();
        return None;
    }
    let namespace = texts.shared(namespace);
    (settings.namespaces.matches(&namespace) && pods::is_selected(&pod, settings))
        .then(|| convert_pod(as_of_api_server(pod), &namespace, texts))
}

/// The pod without what the kubelet writes on it that the API server has not. A static pod is the kubelet's own, and its
/// mirror in the API server has the same annotations.
fn as_of_api_server(mut pod: wire::Pod) -> wire::Pod {
    if let Some(metadata) = &mut pod.metadata
        && metadata.annotations.get(SOURCE).is_some_and(|source| source == b"api")
    {
        metadata.annotations.remove(SOURCE);
        metadata.annotations.remove(SEEN);
    }
    pod
}

fn has_no_end(peer: &Peer) -> Failure {
    let message =
        format!("{peer} lists pods of more than {} MiB; check its URL and any proxy in between", MAX_LIST >> 20);
    Failure { kind: FailureKind::Other, error: CollectError::Protocol { message, source: None } }
}

fn other_node(peer: &Peer, is: &str, asked: &str) -> Failure {
    let message =
        format!("{peer} is that of node `{}`, not of `{asked}`; correct `node`, or `url` in `kubelet`", one_line(is));
    Failure { kind: FailureKind::Other, error: CollectError::Protocol { message, source: None } }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn found(namespace: &str, annotations: &serde_json::Value) -> (Option<ConvertedPod>, Found) {
        let pod = json!({
            "metadata": { "name": "p", "namespace": namespace, "uid": "u", "annotations": annotations },
            "spec": { "nodeName": "n", "containers": [{ "name": "c" }] },
        });
        let (mut found, mut texts) = (Found::default(), Texts::default());
        let pod = select(serde_json::from_value(pod).unwrap(), &Settings::default(), &mut found, &mut texts);
        (pod, found)
    }

    #[test]
    fn what_the_kubelet_writes_on_pods_of_the_api_server_is_left_out() {
        let (pod, _) = found("shop", &json!({ "a": "b", SOURCE: "api", SEEN: "2026-01-01T00:00:00Z" }));
        let kept: Vec<_> = pod.unwrap().pod.annotations.keys().map(ToString::to_string).collect();
        assert_eq!(kept, ["a"]);
        let of_file = json!({ "kubernetes.io/config.hash": "h", SOURCE: "file", SEEN: "2026-01-01T00:00:00Z" });
        let (pod, _) = found("kube-system", &of_file);
        let pod = pod.unwrap().pod;
        assert_eq!((pod.annotations.len(), pod.config_hash.as_deref()), (3, Some("h")));
    }

    #[test]
    fn a_pod_without_a_namespace_is_counted() {
        let (pod, found) = found("", &json!({}));
        assert!(pod.is_none() && found.stray.warning().is_some());
    }

    fn of(kubelet: &serde_json::Value) -> Result<Target, ConfigError> {
        let settings = json!({ "node": "n", "kubelet": kubelet, "server": "https://a", "token": "t" });
        let settings: Settings = ConfigError::deserialize(settings).unwrap();
        let environment =
            Environment { variables: [("HOST_IP".to_owned(), "fd00::7".to_owned())].into(), ..Environment::default() };
        let context = stocktake_core::Context { environment, user_agent: "agent/1".into(), ..Default::default() };
        let server = target::resolve(&settings, &context).unwrap();
        target(&settings, &context.environment, &server).map(Option::unwrap)
    }

    #[test]
    fn a_kubelet_on_this_machine_is_known_by_its_nodes_name() {
        let target = of(&json!({})).unwrap();
        assert_eq!(target.peer.to_string(), "the kubelet at https://127.0.0.1:10250");
        assert_eq!(target.config.tls_server_name.as_deref(), Some("n"));
        assert!(target.warnings.is_empty() && target.config.auth_info.token.is_some());
        assert!(target.config.headers.contains(&(USER_AGENT, HeaderValue::from_static("agent/1"))));

        let target = of(&json!({ "url": "https://$HOST_IP:10250" })).unwrap();
        assert_eq!(target.peer.server, "https://[fd00::7]:10250");
        assert_eq!(target.config.tls_server_name, None);
    }

    #[test]
    fn what_would_give_credentials_away_is_refused_or_warned_of() {
        let error = of(&json!({ "url": "http://127.0.0.1:10255" })).unwrap_err();
        assert!(error.to_string().starts_with("kubelet.url: "), "{error}");
        let target = of(&json!({ "danger_accept_invalid_certificates": true })).unwrap();
        assert!(target.config.accept_invalid_certs && target.warnings.len() == 1);
    }
}
