//! The collector's part of the configuration.

use std::{net::IpAddr, path::PathBuf};

use bytesize::ByteSize;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use stocktake_core::{ConfigError, select::NameSelector};

/// Requests of one look at a cluster: who it is (2), nodes, namespaces, pods, and their owners (2).
const MIN_REQUESTS: u32 = 7;

/// Which cluster to look at, as whom, and at what in it.
///
/// Without `kubeconfig`, `context` and `server` it is the cluster that the agent runs in (`KUBERNETES_SERVICE_HOST` and a
/// service account's token), else that of `$KUBECONFIG`, else that of `~/.kube/config`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Path of a kubeconfig file; several are merged, written with colons between them as in `$KUBECONFIG`.
    #[schemars(example = &"/etc/stocktake/kubeconfig")]
    pub kubeconfig: Option<PathBuf>,
    /// A kubeconfig itself instead of the path of one, for programs that keep credentials elsewhere than in files.
    ///
    /// What it names must stand in it (`certificate-authority-data`, `client-certificate-data`, `client-key-data`, `token`): no
    /// file is read for it, and no program run.
    #[schemars(with = "Option<String>", example = "apiVersion: v1…")]
    pub kubeconfig_data: Option<SecretString>,
    /// IP address at which the API server is, instead of the one that the name in its URL is looked up as. It is spoken to by its name. A
    /// proxy looks the name up itself.
    #[schemars(example = "10.0.0.1")]
    pub address: Option<IpAddr>,
    /// Context of the kubeconfig; its current context by default.
    #[schemars(example = &"prod")]
    pub context: Option<String>,
    /// URL of the API server, to do without a kubeconfig: `https://10.0.0.1:6443`.
    #[schemars(example = &"https://10.0.0.1:6443")]
    pub server: Option<String>,
    /// Path of the certificates that vouch for `server`, in PEM; the system's by default. Read again when it changes.
    #[schemars(example = &"/etc/stocktake/ca.crt")]
    pub ca_file: Option<PathBuf>,
    /// Path of a file with the bearer token for `server`. Read again for every request, so that a renewed token counts.
    #[schemars(example = &"/run/secrets/stocktake/token")]
    pub token_file: Option<PathBuf>,
    /// Bearer token for `server`; prefer `token_file`, which can be renewed.
    #[schemars(with = "Option<String>", example = "eyJhbGciOi…")]
    pub token: Option<SecretString>,
    /// Name of the cluster in reports; by default that of the kubeconfig, and none otherwise.
    #[schemars(example = &"prod-eu")]
    pub cluster: Option<String>,
    /// Namespaces to look at: exact names, globs or regular expressions between slashes; all by default.
    ///
    /// With nothing but exact names each namespace is listed on its own, so that `list` on `pods` in these is enough; add
    /// `cluster_objects = false` if nothing else may be listed.
    #[schemars(example = serde_json::json!({ "include": ["shop", "team-*"], "exclude": ["/kube-.*/"] }))]
    pub namespaces: NameSelector,
    /// Name of the one node whose pods are looked at, for an agent on each node; the whole cluster by default.
    ///
    /// `$NODE_NAME` is the value of the environment variable `NODE_NAME`, which a `DaemonSet` sets with `fieldRef: spec.nodeName`.
    /// All that is seen is then one scope, that of the node; namespaces are not listed, and no other node is.
    #[schemars(example = &"$NODE_NAME")]
    pub node: Option<String>,
    /// Reads the pods of `node` from its kubelet instead of the API server, which is asked where the kubelet refuses or is
    /// down. An empty table is enough.
    #[schemars(example = serde_json::json!({ "url": "https://$HOST_IP:10250" }))]
    pub kubelet: Option<KubeletSettings>,
    /// Whether to report the cluster's own objects, nodes and namespaces, or with `node` that node; true by default.
    ///
    /// False for credentials that are good for a few namespaces alone: what they may not list is then not asked for, and
    /// not missed.
    pub cluster_objects: bool,
    /// Label selector that pods have to match, as for `kubectl get --selector`: `app in (shop, api), !canary`.
    #[schemars(example = &"app in (shop, api), !canary")]
    pub label_selector: Option<String>,
    /// Whether to report what does not run; true by default.
    ///
    /// If false, pods that have ended (phase `Succeeded` or `Failed`) are left out, and of the other pods the containers
    /// that do not run now: init containers that are done, and all that wait to be started. A pod none of whose
    /// containers runs is still reported, without containers.
    pub include_not_running: bool,
    /// How pods are listed; `auto` by default. The log says which way was taken.
    #[schemars(example = &"cache")]
    pub list: ListWay,
    /// How many requests the API server may be asked in any minute; as many as it takes by default.
    ///
    /// At least 7, which is what one look takes; 14 to watch a cluster. A list in pages goes on as one from the watch cache,
    /// which is one request, before it would exceed this. What cannot be asked for is reported as not seen.
    #[schemars(example = &60)]
    pub max_requests_per_minute: Option<u32>,
    /// How much memory the collector may use for what it has seen, such as `64MiB`; as much as it takes by default.
    ///
    /// Before it exceeds this the collector stops watching, and lists in pages instead of all at once. If a single
    /// namespace is larger, it is reported as seen in part.
    #[schemars(with = "Option<String>", example = &"64MiB")]
    pub max_memory: Option<ByteSize>,
}

/// Where a node's kubelet is and how it proves itself. It is asked with the credentials for the API server, and has to allow
/// `get` on `nodes/pods`, or on `nodes/proxy` before Kubernetes 1.33.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubeletSettings {
    /// URL of the kubelet; `https://127.0.0.1:10250` by default, which is the node itself for a pod with `hostNetwork`.
    ///
    /// `$HOST_IP` is the value of the environment variable `HOST_IP`, as `fieldRef: status.hostIP` sets it. Where the host is
    /// this machine (`127.0.0.1`, `localhost`) the certificate has to be that of `node`.
    #[schemars(example = &"https://$HOST_IP:10250")]
    pub url: Option<String>,
    /// Path of the certificates that vouch for the kubelet, in PEM; by default those that vouch for the API server.
    #[schemars(example = &"/var/lib/kubelet/pki/kubelet.crt")]
    pub ca_file: Option<PathBuf>,
    /// Whether to take any certificate, such as one that the kubelet has signed itself. Whoever is in between can then take
    /// the agent's credentials: each report warns of it.
    pub danger_accept_invalid_certificates: bool,
}

/// How pods are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListWay {
    /// `cache`; `stream` where pods are watched and the server is found to answer it.
    #[default]
    Auto,
    /// All at once from the API server's watch cache (`resourceVersion=0`), which costs it least. It may lag behind by
    /// what a watch lags behind, and is never older than what was seen before.
    Cache,
    /// In pages of 500 from etcd, as new as can be, at two to four times the cost.
    Pages,
    /// As the beginning of a watch (`sendInitialEvents`, Kubernetes 1.32), which costs the server no memory. A server that
    /// does not answer it is asked for `cache`.
    Stream,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            kubeconfig_data: None,
            address: None,
            context: None,
            server: None,
            ca_file: None,
            token_file: None,
            token: None,
            cluster: None,
            namespaces: NameSelector::default(),
            node: None,
            kubelet: None,
            cluster_objects: true,
            label_selector: None,
            include_not_running: true,
            list: ListWay::Auto,
            max_requests_per_minute: None,
            max_memory: None,
        }
    }
}

impl Settings {
    /// Whether so many bytes are more than `max_memory`.
    pub(crate) fn exceeds_memory(&self, bytes: usize) -> bool {
        self.max_memory.is_some_and(|limit| bytes as u64 > limit.as_u64())
    }

    /// Refuses settings of which one would silently win over another, or that would do nothing.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.max_memory.is_some_and(|limit| limit.as_u64() == 0) {
            return Err(ConfigError::new("max_memory", "found 0, with which nothing can be kept")
                .hint("write a size such as `64MiB`, or remove the key"));
        }
        let contradict = |key: &str, other: &str, why: &str| {
            Err(ConfigError::new(key, format!("`{key}` and `{other}` cannot be combined: {why}; remove one of them")))
        };
        if self.server.is_some() && self.kubeconfig.is_some() {
            return contradict("server", "kubeconfig", "each names a cluster");
        }
        if self.kubeconfig_data.is_some() && self.kubeconfig.is_some() {
            return contradict("kubeconfig_data", "kubeconfig", "each is a kubeconfig");
        }
        if self.server.is_some() && self.kubeconfig_data.is_some() {
            return contradict("server", "kubeconfig_data", "each names a cluster");
        }
        if self.server.is_some() && self.context.is_some() {
            return contradict("server", "context", "a context is looked up in a kubeconfig, which `server` replaces");
        }
        if self.token.is_some() && self.token_file.is_some() {
            return contradict("token", "token_file", "each is a bearer token");
        }
        let needs_server = [
            ("ca_file", self.ca_file.is_some()),
            ("token_file", self.token_file.is_some()),
            ("token", self.token.is_some()),
        ];
        for (key, is_set) in needs_server {
            if is_set && self.server.is_none() {
                return Err(ConfigError::new(
                    key,
                    format!("`{key}` is used with `server` alone, and `server` is not set; a kubeconfig has its own"),
                )
                .hint(format!("set `server`, or remove `{key}`")));
            }
        }
        for (key, value) in
            [("context", &self.context), ("cluster", &self.cluster), ("label_selector", &self.label_selector)]
        {
            if value.as_deref().is_some_and(|value| value.trim().is_empty()) {
                return Err(ConfigError::new(key, "found an empty string").hint("remove the key for the default"));
            }
        }
        if self.kubelet.is_some() {
            if self.node.is_none() {
                return Err(ConfigError::new("kubelet", "`kubelet` is used with `node` alone, and `node` is not set")
                    .hint("set `node`, or remove the table"));
            }
            if self.label_selector.is_some() {
                return contradict("kubelet", "label_selector", "a kubelet cannot select pods");
            }
        }
        // Below that not even the cluster's objects and the first list of pods can be asked for.
        if self.max_requests_per_minute.is_some_and(|limit| limit < MIN_REQUESTS) {
            return Err(ConfigError::new(
                "max_requests_per_minute",
                format!("one look takes {MIN_REQUESTS} requests at least"),
            )
            .hint("set a higher number, or remove the key"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaint(settings: serde_json::Value) -> String {
        let settings: Settings = ConfigError::deserialize(settings).unwrap();
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn contradictions_name_both_keys() {
        let both = |settings, keys: [&str; 2]| {
            let text = complaint(settings);
            assert!(keys.iter().all(|key| text.contains(&format!("`{key}`"))), "{text}");
        };
        both(json!({"server": "https://a", "kubeconfig": "/b"}), ["server", "kubeconfig"]);
        both(json!({"server": "https://a", "context": "b"}), ["server", "context"]);
        both(json!({"server": "https://a", "kubeconfig_data": "b"}), ["server", "kubeconfig_data"]);
        both(json!({"kubeconfig": "/a", "kubeconfig_data": "b"}), ["kubeconfig", "kubeconfig_data"]);
        both(json!({"server": "https://a", "token": "b", "token_file": "/c"}), ["token", "token_file"]);
        both(json!({"token": "b"}), ["token", "server"]);
        both(json!({"token_file": "/b", "kubeconfig": "/c"}), ["token_file", "server"]);
        both(json!({"ca_file": "/b"}), ["ca_file", "server"]);
        both(json!({"kubelet": {}}), ["kubelet", "node"]);
        both(json!({"kubelet": {}, "node": "a", "label_selector": "b"}), ["kubelet", "label_selector"]);
    }

    #[test]
    fn an_empty_string_is_not_a_default() {
        for key in ["context", "cluster", "label_selector"] {
            assert!(complaint(json!({key: ""})).starts_with(&format!("{key}: found an empty string")));
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let settings: Settings = ConfigError::deserialize(json!({})).unwrap();
        settings.check().unwrap();
        assert!(settings.include_not_running && settings.namespaces.matches("any"));
        let error = ConfigError::deserialize::<Settings, _>(json!({"kubconfig": "/x"})).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `kubeconfig`?"));
    }

    #[test]
    fn a_token_is_not_printed() {
        let settings: Settings = ConfigError::deserialize(json!({"server": "https://a", "token": "hunter2"})).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        let settings: Settings = ConfigError::deserialize(json!({"kubeconfig_data": "token: hunter2"})).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
