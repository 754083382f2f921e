//! A private containerd 1.6 with its CRI plug-in, to which the test is the kubelet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, ImageStatusRequest, KeyValue,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, RunPodSandboxRequest, StartContainerRequest, image_service_client::ImageServiceClient,
    runtime_service_client::RuntimeServiceClient,
};
use serde_json::{Value, json};
use stocktake_collector_cri::CriCollector;
use stocktake_core::{
    CollectError, CollectorFactory, Context, ObservedScope, ScopeSink, Selection,
    conformance::{Daemon as _, Subject},
    model::{Coverage, Warning},
};
use stocktake_tests::{
    bed,
    home::Home,
    private::{IMAGES, containerd_when},
    tools, wait_until,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{Private, SECRET, padding};

/// As the bed's containerd has it.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.6";

pub(crate) fn subject() -> Private {
    let home = Arc::new(Home::new("cri"));
    let socket = home.path("containerd.sock");
    let more = format!(
        "[plugins.'io.containerd.grpc.v1.cri']\nrestrict_oom_score_adj = true\nsandbox_image = '{PAUSE_IMAGE}'\n\
         netns_mounts_under_state_dir = true\n\
         [plugins.'io.containerd.grpc.v1.cri'.cni]\nbin_dir = '{cni}'\nconf_dir = '{cni}'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n\
         [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]\nRoot = '{runc}'\n",
        cni = home.path("cni"),
        runc = home.path("runc"),
    );
    let told = Arc::new(Mutex::new(Vec::new()));
    let (asked, heard) = (socket.clone(), Arc::clone(&told));
    let is_ready = move || collect(&asked).map_err(|error| heard.lock().unwrap().push(error)).is_ok();
    let daemon = containerd_when(&home, &more, is_ready);
    for file in ["side", "pause-3.6"] {
        let file = format!("{IMAGES}/{file}.tar");
        tools::output(tools::ctr(&socket, "k8s.io").args(["images", "import", &file]));
    }
    // The plug-in hears of them a moment later.
    wait_until("the plug-in's images", || [bed::SIDE_IMAGE, PAUSE_IMAGE].iter().all(|image| has(&socket, image)));
    fill(&home, &socket).unwrap_or_else(|error| panic!("cannot make pods through {socket}: {error}"));
    // It answers before it knows its containers again, with an error that says no more than that it is one.
    daemon.kill().and_then(|()| daemon.start()).unwrap();
    for error in told.lock().unwrap().iter() {
        assert!(matches!(error, CollectError::Unavailable { .. }), "while containerd starts: {error:?}");
    }
    Private {
        subject: Subject {
            daemon: Some(Arc::new(daemon)),
            secret: Some(SECRET.to_owned()),
            ..Subject::new::<CriCollector>(settings(&socket))
        },
        // Its one scope is the host, of which none can be absent; and it does not tell what changes.
        not_checked: &["C-21", "C-33"],
        keep: vec![Box::new(home)],
    }
}

async fn connect(socket: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(format!("unix:{socket}")).expect("an address");
    endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))
}

fn settings(socket: &str) -> Value {
    json!({ "address": socket, "states": ["all"] })
}

#[tokio::main(flavor = "current_thread")]
async fn collect(socket: &str) -> Result<Coverage, CollectError> {
    let collector = CollectorFactory::new::<CriCollector>().build(settings(socket), Context::default());
    collector.expect("right settings").collect(&Selection::All, &mut Nowhere).await
}

struct Nowhere;

impl ScopeSink for Nowhere {
    fn scope(&mut self, _: ObservedScope) {}

    fn warning(&mut self, _: Warning) {}
}

#[tokio::main(flavor = "current_thread")]
async fn has(socket: &str, image: &str) -> bool {
    let status = async {
        let request = ImageStatusRequest { image: Some(spec(image)), ..ImageStatusRequest::default() };
        ImageServiceClient::new(connect(socket).await?).image_status(request).await
    };
    status.await.is_ok_and(|status| status.into_inner().image.is_some())
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), ..ImageSpec::default() }
}

/// Two pods with many containers, of which one runs.
#[tokio::main(flavor = "current_thread")]
async fn fill(home: &Home, socket: &str) -> Result<(), Status> {
    let mut runtime = RuntimeServiceClient::new(connect(socket).await?);
    for name in ["pod-a", "pod-b"] {
        let sandbox = pod(home, name);
        let request = RunPodSandboxRequest { config: Some(sandbox.clone()), ..RunPodSandboxRequest::default() };
        let pod_sandbox_id = runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id;
        for number in 0..30 {
            let request = CreateContainerRequest {
                pod_sandbox_id: pod_sandbox_id.clone(),
                config: Some(container(format!("made-{number}"))),
                sandbox_config: Some(sandbox.clone()),
            };
            let container_id = runtime.create_container(request).await?.into_inner().container_id;
            if name == "pod-a" && number == 0 {
                runtime.start_container(StartContainerRequest { container_id }).await?;
            }
        }
    }
    Ok(())
}

/// A pod in the host's network, which needs no plug-in for one.
fn pod(home: &Home, name: &str) -> PodSandboxConfig {
    let namespaces = NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            namespace: "shop".to_owned(),
            attempt: 0,
        }),
        log_directory: home.path("logs"),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: home.cgroup(),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}

fn container(name: String) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name, attempt: 0 }),
        image: Some(spec(bed::SIDE_IMAGE)),
        command: vec!["/bin/hold".to_owned()],
        args: vec![SECRET.to_owned()],
        envs: vec![KeyValue { key: "KEY".to_owned(), value: SECRET.to_owned() }],
        labels: HashMap::from([("padding".to_owned(), padding())]),
        ..ContainerConfig::default()
    }
}
