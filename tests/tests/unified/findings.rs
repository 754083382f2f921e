//! What one vantage point sees and another ought to.

use std::{fs, process::Command, sync::RwLock};

use k8s_cri::v1::{RemoveContainerRequest, StopContainerRequest, runtime_service_client::RuntimeServiceClient};
use stocktake_core::model::{FindingKind, ScopeId};
use stocktake_tests::{agent::Agent, bed, cleanup::Cleanup, needs, tools};
use tonic::transport::Endpoint;

use crate::{collect, view};

const POD: &str = "bed-lost";

/// One test makes a finding that another one must not meet.
static FINDINGS: RwLock<()> = RwLock::new(());

/// `ctr run` on a Kubernetes node: containerd runs it, and the cluster knows nothing of it.
#[test]
fn a_ctr_container_on_a_kubernetes_node_is_found() {
    needs!("kubernetes");
    let _quiet = FINDINGS.read();
    let inventory = collect();
    let view = view(&inventory);
    let found = |name: &str, collector: &str| {
        view.unified.findings.iter().find(|finding| {
            view.unified.containers[finding.container].name == name
                && finding.seen_by.iter().any(|point| point.collector == collector)
        })
    };
    let finding = found("ctr-running", "containerd").expect("a finding");
    assert_eq!(finding.kind, FindingKind::UnknownToOrchestrator);
    assert_eq!(finding.node_name.as_deref(), Some("bed-node"));
    assert_eq!(finding.seen_by[0].scope, ScopeId::namespace("default"));
    assert_eq!(finding.not_seen_by[0].collector, "kubernetes");
    // What has ended, and what the kubelet made, is no finding.
    assert!(found("ctr-exited", "containerd").is_none());
    for finding in &view.unified.findings {
        assert_eq!(view.containers[finding.container].pod().map(|pod| &pod.name), None, "{finding:?}");
    }
}

/// Its API server may be asked for some pods only; then nobody knows what it would have said of the others.
#[test]
fn a_narrow_look_finds_nothing() {
    needs!("kubernetes");
    let config = format!(
        "[collectors.kubernetes]\nkubeconfig = '{}'\nlabel_selector = 'app=web'\n[collectors.containerd]\naddress = '{}'\n",
        bed::kubeconfig("admin"),
        bed::CONTAINERD
    );
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(0);
    assert_eq!(run.report().inventory.unified.unwrap().findings, []);
}

/// The kubelet sleeps while somebody removes a pod's container behind its back: the API server still says that it runs.
#[test]
fn a_pod_whose_container_the_runtime_lacks_is_found() {
    needs!("kubernetes");
    let _alone = FINDINGS.write();
    let kubelet = fs::read_to_string(format!("{}/pid/kubelet.pid", bed::RUN)).unwrap();
    let signal = |name: &str| {
        tools::output(Command::new("/bin/kill").args([&format!("-{name}"), kubelet.trim()]));
    };
    let kubectl = |arguments: &[&str]| tools::output(tools::kubectl().args(["-n", "default"]).args(arguments));
    let _ = tools::try_output(tools::kubectl().args(["-n", "default", "delete", "pod", POD, "--now"]));
    kubectl(&["run", POD, "--image", bed::SIDE_IMAGE, "--image-pull-policy", "Never", "--restart", "Never"]);
    let _restored = Cleanup::new(|| {
        signal("CONT");
        drop(tools::try_output(tools::kubectl().args(["-n", "default", "delete", "pod", POD, "--now"])));
    });
    kubectl(&["wait", "--for=condition=Ready", &format!("pod/{POD}"), "--timeout=60s"]);
    let id = kubectl(&["get", "pod", POD, "-o", "jsonpath={.status.containerStatuses[0].containerID}"]);
    let id = id.trim_start_matches("containerd://");

    let lost = || {
        let inventory = collect();
        let unified = inventory.unified.unwrap();
        let of = |finding: &&stocktake_core::model::Finding| unified.containers[finding.container].name == POD;
        unified.findings.iter().find(of).cloned()
    };
    assert_eq!(lost(), None, "as long as it runs");
    signal("STOP");
    // Through the CRI, as the kubelet would: behind its back containerd's CRI plug-in goes on listing what is gone.
    remove_through_cri(id);
    let finding = lost().expect("a finding");
    assert_eq!(finding.kind, FindingKind::UnknownToRuntime);
    assert_eq!(finding.seen_by[0].collector, "kubernetes");
    let blind: Vec<String> =
        finding.not_seen_by.iter().map(|point| format!("{} {}", point.collector, point.scope)).collect();
    assert_eq!(blind, ["containerd namespace k8s.io", "cri host"]);
}

#[tokio::main(flavor = "current_thread")]
async fn remove_through_cri(id: &str) {
    let endpoint = Endpoint::from_shared(format!("unix:{}", bed::CONTAINERD)).unwrap();
    let mut runtime = RuntimeServiceClient::new(endpoint.connect().await.unwrap());
    runtime.stop_container(StopContainerRequest { container_id: id.to_owned(), timeout: 0 }).await.unwrap();
    runtime.remove_container(RemoveContainerRequest { container_id: id.to_owned() }).await.unwrap();
}
