//! The calls that are made to containerd, each in the one namespace that it is about.

use std::{error::Error as _, path::PathBuf};

use containerd_client::{
    services::v1::{
        Container, Image, ListContainersRequest, ListImagesRequest, ListNamespacesRequest, ListTasksRequest,
        PluginsRequest, ReadContentRequest, SubscribeRequest,
        containers_client::ContainersClient,
        content_client::ContentClient,
        events_client::EventsClient,
        images_client::ImagesClient,
        introspection_client::IntrospectionClient,
        namespaces_client::NamespacesClient,
        snapshots::{ListSnapshotsRequest, snapshots_client::SnapshotsClient},
        tasks_client::TasksClient,
        version_client::VersionClient,
    },
    tonic::{
        Code, Request, Status,
        metadata::{Ascii, MetadataValue},
        service::{Interceptor, interceptor::InterceptedService},
        transport::Channel,
    },
    types::{Envelope, v1::Process},
};
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream::BoxStream};
use stocktake_core::{CollectError, Digest};

/// Tasks, images and namespaces come in one message, in which a hundred thousand of them find room; the transport's
/// default of 4 MiB is too small for a large host.
const MAX_MESSAGE: usize = 64 << 20;

/// Bytes that are kept of a list that comes one message at a time: each may be small, and there may be no last one.
const MAX_LIST: usize = 256 << 20;

/// The largest index, manifest or configuration that is read; registries are told to accept manifests of 4 MiB
/// (distribution specification 1.1, "Pushing Manifests").
pub(crate) const MAX_BLOB: usize = 4 << 20;

/// What the content store has under a digest.
pub(crate) enum Blob {
    Found(Vec<u8>),
    Absent,
    /// Larger than any document that is of use.
    TooLarge,
}

/// Events, until they end or cannot be followed any further.
pub(crate) type Events = BoxStream<'static, Result<Envelope, CollectError>>;

/// A connection to one containerd.
#[derive(Clone)]
pub(crate) struct Client {
    socket: PathBuf,
    channel: Channel,
}

/// The same in one of its namespaces.
#[derive(Clone)]
pub(crate) struct NamespaceClient {
    client: Client,
    name: String,
    header: MetadataValue<Ascii>,
}

impl Client {
    pub(crate) async fn connect(socket: PathBuf) -> Result<Self, CollectError> {
        match containerd_client::connect(&socket).await {
            Ok(channel) => Ok(Self { socket, channel }),
            Err(error) => {
                let what = format!("cannot connect to containerd at {}", socket.display());
                Err(CollectError::cannot_connect(what, "address", error))
            }
        }
    }

    pub(crate) async fn version(&self) -> Result<String, CollectError> {
        let answer = VersionClient::new(self.channel.clone()).version(()).await;
        Ok(answer.map_err(|status| self.error("read the version", &status))?.into_inner().version)
    }

    pub(crate) async fn namespaces(&self) -> Result<Vec<String>, CollectError> {
        let mut client = NamespacesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let answer = client.list(ListNamespacesRequest { filter: String::new() }).await;
        let namespaces = answer.map_err(|status| self.error("list namespaces", &status))?.into_inner().namespaces;
        Ok(namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    /// The events of all namespaces that one of `filters` lets through. They are asked for when the stream is polled first.
    pub(crate) fn events(&self, filters: &[&str]) -> Events {
        let client = self.clone();
        let request = SubscribeRequest { filters: filters.iter().map(|filter| (*filter).to_owned()).collect() };
        let answer = async move { EventsClient::new(client.channel).subscribe(request).await };
        let client = self.clone();
        let events = answer.map_ok(tonic::Response::into_inner).try_flatten_stream();
        events.map_err(move |status| client.error("follow the events", &status)).boxed()
    }

    /// Names of the snapshotters that work.
    pub(crate) async fn snapshotters(&self) -> Result<Vec<String>, CollectError> {
        let mut client = IntrospectionClient::new(self.channel.clone());
        let filters = vec!["type==io.containerd.snapshotter.v1".to_owned()];
        let answer = client.plugins(PluginsRequest { filters }).await;
        let plugins = answer.map_err(|status| self.error("list snapshotters", &status))?.into_inner().plugins;
        Ok(plugins.into_iter().filter(|plugin| plugin.init_err.is_none()).map(|plugin| plugin.id).collect())
    }

    pub(crate) fn namespace(&self, name: &str) -> Result<NamespaceClient, CollectError> {
        let header = name.parse().map_err(|error| {
            CollectError::protocol(format!("containerd namespace `{name}` has an unusable name"), error)
        })?;
        Ok(NamespaceClient { client: self.clone(), name: name.to_owned(), header })
    }

    /// Counts what is kept of a list, and ends it where the machine's memory might.
    fn keep(&self, action: &str, kept: &mut usize, bytes: usize) -> Result<(), CollectError> {
        *kept = kept.saturating_add(bytes);
        if *kept <= MAX_LIST {
            return Ok(());
        }
        let (socket, limit) = (self.socket.display(), MAX_LIST >> 20);
        let message = format!("cannot {action} of containerd at {socket}: the list is larger than {limit} MiB");
        Err(CollectError::Protocol { message, source: None })
    }

    /// What an end of the events is, which have none.
    pub(crate) fn ended(&self) -> CollectError {
        let message = format!("cannot follow the events of containerd at {}: they have ended", self.socket.display());
        CollectError::Unavailable { message, source: None }
    }

    fn error(&self, action: &str, status: &Status) -> CollectError {
        let message = format!("cannot {action} of containerd at {}", self.socket.display());
        let cause = root_cause(status);
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => CollectError::denied(message, cause),
            Code::Unimplemented => CollectError::Unsupported {
                message: format!("{message}: this containerd does not have the call; 1.6 and later do"),
            },
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => CollectError::unavailable(message, cause),
            // A broken connection has a cause; an error that containerd gave no code has none.
            Code::Unknown if status.source().is_some() => CollectError::unavailable(message, cause),
            _ => CollectError::protocol(message, cause),
        }
    }
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

impl NamespaceClient {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// All containers. They come one a message, because each carries its whole OCI specification, which is dropped as
    /// it arrives: it holds environment variables, and those are never collected.
    pub(crate) async fn containers(&self) -> Result<Vec<Container>, CollectError> {
        let mut client = ContainersClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let failed = |status: Status| self.client.error("list containers", &status);
        let mut stream =
            client.list_stream(ListContainersRequest { filters: Vec::new() }).await.map_err(failed)?.into_inner();
        let mut containers = Vec::new();
        let mut kept = 0;
        while let Some(message) = stream.message().await.map_err(failed)? {
            let Some(container) = message.container else { continue };
            let container = Container { spec: None, ..container };
            self.client.keep("list containers", &mut kept, weight(&container))?;
            containers.push(container);
        }
        Ok(containers)
    }

    pub(crate) async fn tasks(&self) -> Result<Vec<Process>, CollectError> {
        let mut client = TasksClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let answer = client.list(ListTasksRequest { filter: String::new() }).await;
        Ok(answer.map_err(|status| self.client.error("list tasks", &status))?.into_inner().tasks)
    }

    pub(crate) async fn images(&self) -> Result<Vec<Image>, CollectError> {
        let mut client = ImagesClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let answer = client.list(ListImagesRequest { filters: Vec::new() }).await;
        Ok(answer.map_err(|status| self.client.error("list images", &status))?.into_inner().images)
    }

    /// Names of all snapshots of a snapshotter, each with that of its parent.
    pub(crate) async fn snapshots(&self, snapshotter: &str) -> Result<Vec<(String, String)>, CollectError> {
        let mut client = SnapshotsClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let action = format!("list {snapshotter} snapshots");
        let failed = |status: Status| self.client.error(&action, &status);
        let request = ListSnapshotsRequest { snapshotter: snapshotter.to_owned(), filters: Vec::new() };
        let mut stream = client.list(request).await.map_err(failed)?.into_inner();
        let mut snapshots = Vec::new();
        let mut kept = 0;
        while let Some(message) = stream.message().await.map_err(failed)? {
            for info in message.info {
                let snapshot = (info.name, info.parent);
                self.client.keep(&action, &mut kept, size_of_val(&snapshot) + snapshot.0.len() + snapshot.1.len())?;
                snapshots.push(snapshot);
            }
        }
        Ok(snapshots)
    }

    /// A blob of the content store.
    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Blob, CollectError> {
        let mut client = ContentClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let request = ReadContentRequest { digest: digest.to_string(), offset: 0, size: 0 };
        let failed = |status: Status| match status.code() {
            Code::NotFound => Ok(Blob::Absent),
            _ => Err(self.client.error(&format!("read {digest}"), &status)),
        };
        let mut stream = match client.read(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return failed(status),
        };
        let mut bytes = Vec::new();
        loop {
            match stream.message().await {
                Ok(Some(message)) if bytes.len() + message.data.len() > MAX_BLOB => return Ok(Blob::TooLarge),
                Ok(Some(message)) => bytes.extend(message.data),
                Ok(None) => return Ok(Blob::Found(bytes)),
                Err(status) => return failed(status),
            }
        }
    }

    fn channel(&self) -> InterceptedService<Channel, InNamespace> {
        InterceptedService::new(self.client.channel.clone(), InNamespace(self.header.clone()))
    }
}

/// Says in every request which namespace it is about (containerd, `pkg/namespaces/grpc.go`).
#[derive(Clone)]
struct InNamespace(MetadataValue<Ascii>);

impl Interceptor for InNamespace {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", self.0.clone());
        Ok(request)
    }
}

/// Bytes that a container takes: an empty one too, of which a megabyte of messages holds half a million.
fn weight(container: &Container) -> usize {
    let entry = size_of::<(String, String)>();
    let labels = container.labels.iter().map(|(key, value)| entry + key.len() + value.len());
    let extensions = container
        .extensions
        .iter()
        .map(|(key, any)| entry + size_of_val(any) + key.len() + any.type_url.len() + any.value.len());
    let texts = [&container.id, &container.image, &container.snapshotter, &container.snapshot_key, &container.sandbox];
    let runtime = container.runtime.iter().map(|runtime| {
        runtime.name.len() + runtime.options.as_ref().map_or(0, |any| any.type_url.len() + any.value.len())
    });
    size_of_val(container)
        + labels.chain(extensions).chain(runtime).chain(texts.into_iter().map(String::len)).sum::<usize>()
}
