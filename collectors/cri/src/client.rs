//! The calls that are made to a runtime: four, however many containers there are.

use std::error::Error as _;

use k8s_cri::v1::{
    Container, Image, ListContainersRequest, ListImagesRequest, ListPodSandboxRequest, PodSandbox, VersionRequest,
    VersionResponse, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use stocktake_core::CollectError;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Lists come in one message; the transport's default of 4 MiB is some thousand containers, whose labels and annotations
/// come with them.
const MAX_MESSAGE: usize = 256 << 20;

/// A connection to one runtime.
pub(crate) struct Client {
    socket: String,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Client {
    /// Connects to the runtime at `socket`, an absolute path.
    pub(crate) async fn connect(socket: &str) -> Result<Self, CollectError> {
        let failed =
            |error| CollectError::cannot_connect(format!("cannot connect to CRI at {socket}"), "address", error);
        let endpoint = Endpoint::from_shared(format!("unix:{socket}")).map_err(failed)?;
        let channel = endpoint.connect().await.map_err(failed)?;
        Ok(Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
        })
    }

    pub(crate) async fn version(&mut self) -> Result<VersionResponse, CollectError> {
        let answer = self.runtime.version(VersionRequest::default()).await;
        Ok(answer.map_err(|status| collect_error(&self.socket, "read the version", &status))?.into_inner())
    }

    pub(crate) async fn containers(&mut self) -> Result<Vec<Container>, CollectError> {
        let answer = self.runtime.list_containers(ListContainersRequest::default()).await;
        Ok(answer.map_err(|status| collect_error(&self.socket, "list containers", &status))?.into_inner().containers)
    }

    pub(crate) async fn sandboxes(&mut self) -> Result<Vec<PodSandbox>, CollectError> {
        let answer = self.runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await;
        Ok(answer.map_err(|status| collect_error(&self.socket, "list pod sandboxes", &status))?.into_inner().items)
    }

    pub(crate) async fn images(&mut self) -> Result<Vec<Image>, CollectError> {
        let answer = self.images.list_images(ListImagesRequest::default()).await;
        Ok(answer.map_err(|status| collect_error(&self.socket, "list images", &status))?.into_inner().images)
    }
}

/// What a call to the runtime at `socket` ended with, by what has to happen next.
fn collect_error(socket: &str, action: &str, status: &Status) -> CollectError {
    let message = format!("cannot {action} through CRI at {socket}");
    let cause = root_cause(status);
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => CollectError::denied(message, cause),
        Code::Unimplemented => CollectError::Unsupported {
            message: format!(
                "{message}: this runtime has no CRI v1, or has it turned off; containerd 1.6 and CRI-O 1.23 and later \
                 have it"
            ),
        },
        Code::Cancelled => CollectError::unavailable(format!("{message}; is it a CRI socket?"), cause),
        Code::Unavailable | Code::DeadlineExceeded => CollectError::unavailable(message, cause),
        // A broken connection has a cause; an error that the runtime gave no code has none.
        Code::Unknown if status.source().is_some() || is_starting(status) => CollectError::unavailable(message, cause),
        _ => CollectError::protocol(message, cause),
    }
}

/// containerd listens before it knows its containers again. Not all versions have a code for that; 1.6 has none
/// (containerd/containerd#9565).
fn is_starting(status: &Status) -> bool {
    status.message() == "server is not initialized yet"
}

/// What the status says, and what lies at its root; what is between is the transport's layers naming each other.
fn root_cause(status: &Status) -> String {
    let mut root = status.source();
    while let Some(cause) = root.and_then(|error| error.source()) {
        root = Some(cause);
    }
    match root.map(ToString::to_string) {
        Some(root) if !status.message().contains(&root) => format!("{}: {root}", status.message()),
        _ => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_what_has_to_happen_next() {
        let error = |code| collect_error("/x.sock", "list images", &Status::new(code, "told why"));
        assert!(matches!(error(Code::PermissionDenied), CollectError::Denied { .. }));
        assert!(matches!(error(Code::Unavailable), CollectError::Unavailable { .. }));
        assert!(matches!(error(Code::Unimplemented), CollectError::Unsupported { .. }));
        // Such as an answer that is larger than is taken (tonic, `codec/decode.rs`).
        assert!(matches!(error(Code::OutOfRange), CollectError::Protocol { .. }));
        assert!(matches!(error(Code::Unknown), CollectError::Protocol { .. }));
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        let broken = collect_error("/x.sock", "list images", &broken);
        assert!(matches!(broken, CollectError::Unavailable { .. }), "{broken:?}");
        // Recorded from containerd 1.6 that starts.
        let starting = Status::unknown("server is not initialized yet");
        assert!(matches!(collect_error("/x.sock", "list images", &starting), CollectError::Unavailable { .. }));
        assert_eq!(error(Code::Internal).full_message(), "cannot list images through CRI at /x.sock: told why");
    }
}
