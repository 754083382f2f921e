//! Every way to find a cluster: kubeconfig and context, server with certificate and token, from within a pod.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use stocktake_core::model::Coverage;
use stocktake_tests::{
    agent::{Agent, Run},
    bed, needs,
    sandbox::Machine,
    tools,
};

const SERVER: &str = "https://127.0.0.1:16443";

/// The certificate authority and the token of `user`, written to files in `folder`.
fn credentials(user: &str, folder: &Path) {
    let mut kubectl = std::process::Command::new(format!("{}/bin/kubectl", bed::RUN));
    let view = ["config", "view", "--raw", "--output", "json", "--kubeconfig"];
    let config = tools::json(kubectl.args(view).arg(bed::kubeconfig(user)));
    let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    fs::write(folder.join("ca.crt"), BASE64_STANDARD.decode(authority).unwrap()).unwrap();
    fs::write(folder.join("token"), config["users"][0]["user"]["token"].as_str().unwrap()).unwrap();
    fs::write(folder.join("namespace"), "shop").unwrap();
}

fn with_server(folder: &Path, rest: &str) -> Run {
    let folder = folder.display();
    let config = format!(
        "[collectors.k]\ntype = 'kubernetes'\nserver = '{SERVER}'\nca_file = '{folder}/ca.crt'\n\
         token_file = '{folder}/token'\n{rest}\n"
    );
    Agent::collect(&config, &["--format", "json"]).run()
}

#[test]
fn a_server_with_certificate_and_token_is_read() {
    needs!("kubernetes");
    let folder = tempfile::tempdir().unwrap();
    credentials("reader", folder.path());
    let report = with_server(folder.path(), "cluster = 'by-hand'").exits(0).report();
    assert_eq!(report.source("k").cluster.as_ref().unwrap().name.as_deref(), Some("by-hand"));
    assert!(report.containers("k") >= 16);
}

#[test]
fn a_wrong_token_is_denied() {
    needs!("kubernetes");
    let folder = tempfile::tempdir().unwrap();
    credentials("reader", folder.path());
    fs::write(folder.path().join("token"), "made-up").unwrap();
    let run = with_server(folder.path(), "").exits(1);
    let report = run.report();
    let Coverage::Denied { reason } = &report.source("k").coverage else { panic!("{run}") };
    assert!(reason.contains("401") && reason.contains("token"), "{reason}");
    assert!(!run.stdout.contains("made-up") && !run.stderr.contains("made-up"), "a token is in the output");
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    needs!("kubernetes", "docker");
    let folder = tempfile::tempdir().unwrap();
    credentials("reader", folder.path());
    fs::copy(format!("{}/ca.pem", bed::DOCKER_TLS), folder.path().join("ca.crt")).unwrap();
    let run = with_server(folder.path(), "").exits(69);
    let report = run.report();
    let Coverage::Failed { reason } = &report.source("k").coverage else { panic!("{run}") };
    assert!(reason.contains("ca_file"), "{reason}");
}

#[test]
fn a_context_of_a_merged_kubeconfig_is_read() {
    needs!("kubernetes");
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    let text = fs::read_to_string(bed::kubeconfig("reader")).unwrap();
    // The same cluster under other names, which is not the current context.
    let text = text.replace("current-context: bed", "").replace("name: bed", "name: edge");
    let text = text.replace("cluster: bed", "cluster: edge").replace("reader", "edge-reader");
    fs::write(&other, text).unwrap();
    let list = format!("{}:{}", bed::kubeconfig("nobody"), other.display());
    let config = format!("[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{list}'\ncontext = 'edge'\n");
    let report = Agent::collect(&config, &["--format", "json"]).run().exits(0).report();
    assert_eq!(report.source("k").cluster.as_ref().unwrap().name.as_deref(), Some("edge"));

    let config = config.replace("'edge'", "'egde'");
    let run = Agent::collect(&config, &["--format", "json"]).run();
    assert!(matches!(run.code, Some(69 | 78)), "{run}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains("egde"), "{run}");
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named() {
    let config = "[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '/nonexistent/config'\n";
    let run = Agent::collect(config, &["--format", "json"]).run();
    assert!(matches!(run.code, Some(69 | 78)), "{run}");
    assert!(format!("{}{}", run.stdout, run.stderr).contains("/nonexistent/config"), "{run}");
}

#[test]
fn within_a_pod_the_service_account_is_used() {
    const MOUNTED: &str = "/run/secrets/kubernetes.io/serviceaccount";
    needs!("kubernetes");
    let account = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    credentials("limited", account.path());
    let mut machine = Machine::new();
    for file in ["ca.crt", "token", "namespace"] {
        machine = machine.with(&account.path().join(file).display().to_string(), &format!("{MOUNTED}/{file}"));
    }
    let config = account.path().join("agent.toml");
    fs::write(&config, "[collectors.kubernetes]\nnamespaces = ['shop']\n").unwrap();
    let agent = machine.agent(scratch.path(), &["collect", "--format", "json", "--config", config.to_str().unwrap()]);
    let run = agent.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "16443").run();
    let report = run.report();
    assert_eq!(report.entry("kubernetes", &crate::namespace("shop")).counts.containers, 12, "{run}");

    // The namespace of the agent's own pod needs no naming: it is the one that a service account is most likely to see.
    fs::write(&config, "[collectors.kubernetes]\n").unwrap();
    let agent = machine.agent(
        scratch_again(&account).as_path(),
        &["collect", "--format", "json", "--config", config.to_str().unwrap()],
    );
    let run = agent.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "16443").run().exits(1);
    let report = run.report();
    assert!(report.coverage("kubernetes", &crate::namespace("shop")).is_complete(), "{run}");
}

/// A machine wants an empty folder each time.
fn scratch_again(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let path = folder.path().join("scratch");
    fs::create_dir(&path).unwrap();
    path
}
