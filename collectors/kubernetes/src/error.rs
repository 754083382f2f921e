//! Failures of requests, in words that name the request, the server and what to do.

use std::{error::Error as StdError, fmt, io};

use http::StatusCode;
use http_body_util::LengthLimitError;
use kube::client::AuthError;
use rustls::pki_types::pem;
use stocktake_core::CollectError;

use crate::{
    api::{MAX_ANSWER, SILENT},
    decode::{Broken, MAX_OBJECT},
    wire::Status,
};

/// A request that failed, with the little of the reason that decides what is asked next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) error: CollectError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No answer, or half of one.
    Unreachable,
    /// 401: nothing else will be answered either.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 410: the rest of the list can no longer be had.
    Gone,
    /// Nothing came for too long.
    Silent,
    /// 429: it has too much to do.
    Busy,
    /// The settings allow no more requests in this minute.
    OverBudget,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// Whether the same request may be answered otherwise without anybody's doing.
    pub(crate) fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Silent | Self::Unauthenticated | Self::Gone | Self::OverBudget | Self::Busy
        )
    }
}

impl From<Failure> for CollectError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// What is asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// To list a resource (`pods`, `replicasets.apps`) in one namespace or throughout the cluster.
    List { resource: String, namespace: Option<String> },
    /// To tell what changes in one namespace or throughout the cluster.
    Watch { resource: String, namespace: Option<String> },
    /// To read one namespace.
    GetNamespace { name: String },
    /// To read one object of a resource.
    Get { resource: String, namespace: Option<String>, name: String },
    /// To list the pods of a node, of its kubelet.
    PodsOfKubelet,
    /// To tell its version.
    Version,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { resource, namespace: Some(namespace) } => {
                write!(f, "list `{resource}` in namespace `{}`", one_line(namespace))
            }
            Self::List { resource, namespace: None } => write!(f, "list `{resource}` throughout the cluster"),
            Self::Watch { resource, namespace: Some(namespace) } => {
                write!(f, "watch `{resource}` in namespace `{}`", one_line(namespace))
            }
            Self::Watch { resource, namespace: None } => write!(f, "watch `{resource}` throughout the cluster"),
            Self::GetNamespace { name } => write!(f, "get namespace `{name}`"),
            Self::Get { resource, namespace, name } => {
                write!(f, "get `{}` of `{resource}`", one_line(name))?;
                match namespace {
                    Some(namespace) => write!(f, " in namespace `{}`", one_line(namespace)),
                    None => Ok(()),
                }
            }
            Self::PodsOfKubelet => f.write_str("get `/pods`"),
            Self::Version => f.write_str("get `/version`"),
        }
    }
}

impl Action {
    /// The settings that go into the request.
    fn input(&self) -> &'static str {
        match self {
            Self::List { resource, .. } | Self::Watch { resource, .. } if resource == "pods" => {
                "the server's URL and `label_selector`"
            }
            _ => "the server's URL",
        }
    }

    /// What has to be granted for it.
    pub(crate) fn grant(&self) -> String {
        let (verb, resource, namespace) = match self {
            Self::List { resource, namespace } => ("list", resource, namespace),
            Self::Watch { resource, namespace } => ("watch", resource, namespace),
            Self::Get { resource, namespace, .. } => ("get", resource, namespace),
            Self::PodsOfKubelet => {
                return "grant `get` on `nodes/pods` in a ClusterRole, or on `nodes/proxy` for a kubelet before 1.33, with which \
                        whoever has it may also run commands in all pods of the nodes"
                    .into();
            }
            Self::GetNamespace { name } => {
                return format!("grant `get` on `namespaces` named `{name}` in a ClusterRole");
            }
            Self::Version => return "bind the ClusterRole `system:public-info-viewer`".into(),
        };
        match namespace {
            Some(namespace) => {
                let namespace = one_line(namespace);
                format!("grant `{verb}` on `{resource}` in a Role of namespace `{namespace}` or in a ClusterRole")
            }
            None => format!("grant `{verb}` on `{resource}` in a ClusterRole"),
        }
    }
}

/// Who is asked, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its URL.
    pub(crate) server: String,
    /// Where the credentials come from.
    pub(crate) credentials: String,
    pub(crate) kind: PeerKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerKind {
    ApiServer,
    Kubelet,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PeerKind::ApiServer => "API server",
            PeerKind::Kubelet => "kubelet",
        };
        write!(f, "the {kind} at {}", self.server)
    }
}

/// The failure of a request that was answered with something else than success.
pub(crate) fn refused(peer: &Peer, action: &Action, status: StatusCode, said: &str) -> Failure {
    let cause = if said.is_empty() { status.to_string() } else { said.to_owned() };
    let (kind, error) = match status {
        StatusCode::UNAUTHORIZED => (
            FailureKind::Unauthenticated,
            CollectError::denied(
                format!("{peer} does not accept the agent's credentials (401); renew them: {}", peer.credentials),
                cause,
            ),
        ),
        StatusCode::FORBIDDEN => (
            FailureKind::Forbidden,
            CollectError::denied(format!("{peer} does not let the agent {action}; {}", action.grant()), cause),
        ),
        StatusCode::NOT_FOUND => (
            FailureKind::NotFound,
            CollectError::Unsupported {
                message: format!(
                    "{peer} knows no way to {action} (404); check that its URL is that of Kubernetes: {cause}"
                ),
            },
        ),
        StatusCode::GONE => (
            FailureKind::Gone,
            CollectError::unavailable(format!("{peer} no longer has the rest of the answer to {action} (410)"), cause),
        ),
        // After etcd was restored from a backup no answer may ever be as new as one before (`ResourceVersionTooLarge`).
        StatusCode::GATEWAY_TIMEOUT if said.contains("Too large resource version") => (
            FailureKind::Gone,
            CollectError::unavailable(format!("{peer} is behind what it answered before to {action} (504)"), cause),
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            FailureKind::Busy,
            CollectError::unavailable(format!("{peer} has too much to do to {action} (429); look less often"), cause),
        ),
        status if status.is_server_error() => (
            FailureKind::Other,
            CollectError::unavailable(format!("{peer} failed to {action} ({}); see its log", status.as_u16()), cause),
        ),
        status => (
            FailureKind::Other,
            CollectError::protocol(
                format!(
                    "{peer} does not accept the request to {action} ({}); check {}",
                    status.as_u16(),
                    action.input()
                ),
                cause,
            ),
        ),
    };
    Failure { kind, error }
}

/// The failure of a request that was not answered, or not to the end.
pub(crate) fn unanswered(peer: &Peer, action: &Action, error: &(dyn StdError + 'static)) -> Failure {
    let causes = causes(error);
    let cause = told_by(*causes.last().unwrap_or(&error));
    if causes.iter().any(|cause| cause.is::<LengthLimitError>()) {
        let message = format!(
            "{peer} answers with more than {} MiB when asked to {action}; check its URL and any proxy in between",
            MAX_ANSWER >> 20
        );
        return Failure { kind: FailureKind::Other, error: CollectError::protocol(message, cause) };
    }
    let message = if let Some(auth) = causes.iter().find_map(|cause| cause.downcast_ref::<AuthError>()) {
        return Failure { kind: FailureKind::Unauthenticated, error: no_credentials(peer, auth) };
    } else if causes.iter().any(|cause| cause.is::<rustls::Error>()) {
        format!(
            "cannot agree on TLS with {peer}; check the certificate authority (`ca_file`, or \
             `certificate-authority` in the kubeconfig), the client certificate, and the host name in the URL"
        )
    } else if causes.iter().any(|cause| is_connect(*cause)) {
        format!("cannot connect to {peer}; check that it is up and that its URL is right")
    } else {
        format!("{peer} broke off its answer to {action}; check it and any proxy in between")
    };
    Failure { kind: FailureKind::Unreachable, error: CollectError::unavailable(message, cause) }
}

/// The failure of a client that could not be built.
pub(crate) fn unusable(peer: &Peer, error: &kube::Error) -> CollectError {
    if let Some(auth) = causes(error).iter().find_map(|cause| cause.downcast_ref::<AuthError>()) {
        return no_credentials(peer, auth);
    }
    let cause = causes(error).last().map_or_else(|| told_by(error), |cause| told_by(*cause));
    CollectError::unavailable(format!("cannot prepare a connection to {peer}; check its certificates"), cause)
}

/// A credential plug-in is named, and what it said on stderr; its stdout and environment may hold secrets and are not
/// repeated (kube's own message has both).
fn no_credentials(peer: &Peer, error: &AuthError) -> CollectError {
    let cause = match error {
        AuthError::AuthExecRun { out, .. } => {
            let said = one_line(&String::from_utf8_lossy(&out.stderr));
            format!("its credential plug-in ended with {}: {said}", out.status)
        }
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => "what it printed is no credential".into(),
        AuthError::AuthExec(_) => "its provider could not be used".into(),
        error => told_by(error),
    };
    CollectError::unavailable(format!("cannot get credentials for {peer}; check {}", peer.credentials), cause)
}

/// An answer that says success and is not what was asked for.
pub(crate) fn garbled(peer: &Peer, action: &Action, error: &serde_json::Error) -> Failure {
    let message = format!(
        "{peer} answered something else than Kubernetes does when asked to {action}; check its URL and any proxy in between"
    );
    Failure { kind: FailureKind::Other, error: CollectError::protocol(message, told_by(error)) }
}

/// A list or watch that cannot be read to its end.
pub(crate) fn broken(peer: &Peer, action: &Action, broken: &Broken) -> Failure {
    let foreign = |cause: String| {
        let message = format!(
            "{peer} answered something else than Kubernetes does when asked to {action}; check its URL and any proxy in between"
        );
        Failure { kind: FailureKind::Other, error: CollectError::protocol(message, one_line(&cause)) }
    };
    match broken {
        Broken::Foreign(cause) => foreign(cause.clone()),
        Broken::Large => foreign(format!("an object has more than {} MiB", MAX_OBJECT >> 20)),
        Broken::Short => {
            let message = format!("{peer} broke off its answer to {action}; check it and any proxy in between");
            let error = CollectError::unavailable(message, "the answer ends before its end");
            Failure { kind: FailureKind::Unreachable, error }
        }
    }
}

/// A watch that the server has ended with a word about why.
pub(crate) fn watch_ended(peer: &Peer, action: &Action, status: &Status) -> Failure {
    let code = status.code.and_then(|code| u16::try_from(code).ok()).and_then(|code| StatusCode::from_u16(code).ok());
    let said = status.message.as_deref().unwrap_or_default();
    refused(peer, action, code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &one_line(said))
}

/// A server that has taken a request and says nothing.
pub(crate) fn silent(peer: &Peer, action: &Action) -> Failure {
    let message = format!(
        "{peer} has been silent for {} seconds after it was asked to {action}; check it and any proxy in between",
        SILENT.as_secs()
    );
    Failure { kind: FailureKind::Silent, error: CollectError::Unavailable { message, source: None } }
}

/// A list that does not say of which version it is, so that nothing can go on from there.
pub(crate) fn unversioned(peer: &Peer, action: &Action) -> Failure {
    let message = format!("{peer} does not say of which version its answer is when asked to {action}");
    Failure { kind: FailureKind::Other, error: CollectError::Unsupported { message } }
}

/// A request that is not sent, because the settings allow no more of them.
pub(crate) fn over_budget(peer: &Peer, action: &Action) -> Failure {
    let message = format!(
        "{peer} was not asked to {action}, because `max_requests_per_minute` are used up; raise it, or look less often"
    );
    Failure { kind: FailureKind::OverBudget, error: CollectError::Unavailable { message, source: None } }
}

/// What an error says, if that may be repeated: it may hold what someone else wrote, such as the value of a field that is
/// of the wrong type, and a complaint about PEM holds a line of the file, which may be a key.
pub(crate) fn told_by(error: &(dyn StdError + 'static)) -> String {
    if causes(error).iter().any(|cause| cause.is::<pem::Error>()) {
        return "a certificate or key is not PEM, which has lines like `-----BEGIN CERTIFICATE-----`".into();
    }
    one_line(&error.to_string())
}

/// The beginning of a text that someone else wrote, fit for a message.
pub(crate) fn one_line(text: &str) -> String {
    const ENOUGH: usize = 300;
    let mut line = String::new();
    // Such as the zeros of what is no text at all, which neither a terminal nor a database takes well.
    let text = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "");
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(ENOUGH + 1));
        if let Some((end, _)) = line.char_indices().nth(ENOUGH) {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    line
}

/// The error and all beneath it, outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes: Vec<&(dyn StdError + 'static)> = vec![error];
    let mut current = error;
    while let Some(next) = beneath(current) {
        causes.push(next);
        current = next;
    }
    causes
}

fn beneath<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    // `io::Error` passes over the error that it wraps, which is the one that tells (rustls').
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// hyper-util tells connecting from all that comes after by this method alone.
fn is_connect(error: &(dyn StdError + 'static)) -> bool {
    error.to_string() == "client error (Connect)"
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Output};

    use super::*;

    fn peer() -> Peer {
        Peer { server: "https://k8s:6443".into(), credentials: "user `u` in `f`".into(), kind: PeerKind::ApiServer }
    }

    fn pods() -> Action {
        Action::List { resource: "pods".into(), namespace: Some("shop".into()) }
    }

    #[test]
    fn the_status_decides_what_happens_next() {
        let name = |status: u16| {
            let failure = refused(&peer(), &pods(), StatusCode::from_u16(status).unwrap(), "");
            let variant = match failure.error {
                CollectError::Unavailable { .. } => "unavailable",
                CollectError::Denied { .. } => "denied",
                CollectError::Unsupported { .. } => "unsupported",
                CollectError::Protocol { .. } => "protocol",
                _ => "another",
            };
            (variant, failure.kind)
        };
        assert_eq!(name(401), ("denied", FailureKind::Unauthenticated));
        assert_eq!(name(403), ("denied", FailureKind::Forbidden));
        assert_eq!(name(404), ("unsupported", FailureKind::NotFound));
        assert_eq!(name(410), ("unavailable", FailureKind::Gone));
        assert_eq!(name(429), ("unavailable", FailureKind::Busy));
        for status in [500, 502, 503, 504] {
            assert_eq!(name(status), ("unavailable", FailureKind::Other), "{status}");
        }
        for status in [302, 400, 405, 406] {
            assert_eq!(name(status), ("protocol", FailureKind::Other), "{status}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_grant() {
        let failure = refused(&peer(), &pods(), StatusCode::FORBIDDEN, "pods is forbidden: User \"u\" cannot list");
        assert_eq!(
            failure.error.full_message(),
            "the API server at https://k8s:6443 does not let the agent list `pods` in namespace `shop`; grant `list` on \
             `pods` in a Role of namespace `shop` or in a ClusterRole: pods is forbidden: User \"u\" cannot list"
        );
    }

    #[test]
    fn of_a_credential_plug_in_only_its_complaint_is_repeated() {
        let output = Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"half a token".into(),
            stderr: b"not logged in\n".into(),
        };
        let error = AuthError::AuthExecRun { cmd: "SECRET=hunter2 aws".into(), out: Box::new(output) };
        let failure = unanswered(&peer(), &pods(), &kube::Error::Auth(error));
        assert_eq!(
            failure.error.full_message(),
            "cannot get credentials for the API server at https://k8s:6443; check user `u` in `f`: its credential plug-in \
             ended with exit status: 1: not logged in"
        );
    }

    #[test]
    fn what_others_wrote_is_cut_to_a_line() {
        assert_eq!(one_line("<html>\n  <body>\n"), "<html> <body>");
        assert_eq!(one_line(&"ä".repeat(400)).chars().count(), 301);
        assert_eq!(one_line(&"ä ".repeat(1 << 20)).chars().count(), 301);
        assert_eq!((one_line(" \n"), one_line(&"ä".repeat(300)).chars().count()), (String::new(), 300));
    }
}
