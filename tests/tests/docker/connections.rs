//! Unix sockets, TCP with TLS, and what the environment names.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use stocktake_core::model::{Coverage, ScopeId};
use stocktake_tests::{agent::Agent, bed, needs, tools};

/// How many containers the bed has in each Docker.
const CONTAINERS: usize = 12;
const JSON: [&str; 2] = ["--format", "json"];

fn with_tls(folder: &str, ca_file: &str, client: bool) -> String {
    let client =
        if client { format!("cert_file = '{folder}/cert.pem', key_file = '{folder}/key.pem'") } else { String::new() };
    format!(
        "[collectors.remote]\ntype = 'docker'\nhost = '{}'\nstates = ['all']\n\
         tls = {{ ca_file = '{ca_file}', {client} }}\n",
        bed::DOCKER_TCP
    )
}

#[test]
fn a_remote_daemon_with_client_certificates_is_read() {
    needs!("docker");
    let _shared = super::shared();
    let tls = bed::DOCKER_TLS;
    let report = Agent::collect(&with_tls(tls, &format!("{tls}/ca.pem"), true), &JSON).run().exits(0).report();
    assert_eq!(report.containers("remote"), CONTAINERS);
    // Who is remote is asked who it is; the agent's own name would be a guess.
    let host = report.source("remote").host.as_ref().unwrap();
    let id = tools::output(tools::docker(bed::DOCKER).args(["info", "--format", "{{.ID}}"]));
    assert_eq!(host.machine_id.as_deref(), Some(id.trim()));
}

#[test]
fn without_a_client_certificate_the_daemon_refuses() {
    needs!("docker");
    let _shared = super::shared();
    let tls = bed::DOCKER_TLS;
    let run = Agent::collect(&with_tls(tls, &format!("{tls}/ca.pem"), false), &JSON).run().exits(1);
    assert_denied(&run.report(), "`tls.cert_file`");
}

#[test]
fn a_daemon_of_another_authority_is_not_believed() {
    needs!("docker");
    let _shared = super::shared();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other-ca.pem");
    make_authority(&other);
    let config = with_tls(bed::DOCKER_TLS, &other.display().to_string(), true);
    let run = Agent::collect(&config, &JSON).run().exits(1);
    assert_denied(&run.report(), "`tls.ca_file`");
}

/// The source is denied, and its message names the address and the setting.
fn assert_denied(report: &stocktake_tests::report::Report, setting: &str) {
    let source = report.source("remote");
    let Coverage::Denied { reason } = &source.coverage else { panic!("{:?}", source.coverage) };
    assert!(reason.contains(bed::DOCKER_TCP), "{reason}");
    assert!(reason.contains(setting), "{reason:?} does not name {setting}");
    assert_eq!(source.scopes, []);
}

fn make_authority(path: &Path) {
    let key = path.with_extension("key");
    tools::output(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=somebody else", "-keyout"])
            .arg(key)
            .arg("-out")
            .arg(path),
    );
}

#[test]
fn docker_host_with_its_tls_variables_is_read() {
    needs!("docker");
    let _shared = super::shared();
    let config = "[collectors.docker]\nstates = ['all']\n";
    let agent = Agent::collect(config, &JSON).env("DOCKER_HOST", bed::DOCKER_TCP);
    let run = agent.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", bed::DOCKER_TLS).run().exits(0);
    assert_eq!(run.report().containers("docker"), CONTAINERS);

    // `docker` looks into ~/.docker where DOCKER_CERT_PATH is not set.
    let home = tempfile::tempdir().unwrap();
    symlink(bed::DOCKER_TLS, home.path().join(".docker")).unwrap();
    let agent = Agent::collect(config, &JSON).env("DOCKER_HOST", bed::DOCKER_TCP).env("DOCKER_TLS_VERIFY", "1");
    assert_eq!(agent.env("HOME", home.path()).run().exits(0).report().containers("docker"), CONTAINERS);
}

#[test]
fn plain_http_to_a_tls_port_says_so() {
    needs!("docker");
    let _shared = super::shared();
    let config = "[collectors.remote]\ntype = 'docker'\n";
    let run = Agent::collect(config, &JSON).env("DOCKER_HOST", bed::DOCKER_TCP).run();
    let source = run.report().source("remote").coverage.clone();
    let reason = source.reason().unwrap_or_else(|| panic!("{run}"));
    assert!(reason.contains("HTTPS") || reason.contains("TLS"), "{reason}");
    assert!(matches!(run.code, Some(1 | 69)), "{run}");
}

#[test]
fn docker_host_names_a_socket() {
    needs!("docker");
    let _shared = super::shared();
    let agent = Agent::collect("[collectors.docker]\nstates = ['all']\n", &JSON);
    let run = agent.env("DOCKER_HOST", format!("unix://{}", bed::DOCKER)).run().exits(0);
    assert_eq!(run.report().containers("docker"), CONTAINERS);
}

#[test]
fn a_link_to_a_socket_is_as_good_as_the_socket() {
    needs!("docker");
    let _shared = super::shared();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("docker.sock");
    symlink(bed::DOCKER, &link).unwrap();
    let config = format!("[collectors.docker]\nhost = 'unix://{}'\nstates = ['all']\n", link.display());
    assert_eq!(Agent::collect(&config, &JSON).run().exits(0).report().containers("docker"), CONTAINERS);
}

#[test]
fn certificates_that_cannot_be_read_are_a_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    for (ca_file, told) in [("/nonexistent/ca.pem".to_owned(), "No such file"), (empty.display().to_string(), "PEM")] {
        let run = Agent::collect(&with_tls(bed::DOCKER_TLS, &ca_file, false), &JSON).run().exits(78);
        let _ = run.says("collectors.remote.tls.ca_file").says(&ca_file).says(told).says("agent.toml:5");
    }
}

#[test]
fn states_choose_containers() {
    needs!("docker", "docker-next", "podman");
    let _shared = super::shared();
    for (socket, states, expected) in [
        (bed::DOCKER, "", vec!["paused", "running"]),
        (bed::DOCKER, "states = ['exited', 'created']", vec!["created", "exited"]),
        (bed::DOCKER_NEXT, "states = ['paused']", vec!["paused"]),
        (bed::PODMAN, "", vec!["running"]),
        (bed::PODMAN, "states = ['all']", vec!["created", "exited", "running"]),
    ] {
        let config = format!("[collectors.docker]\nhost = 'unix://{socket}'\n{states}\n");
        let report = Agent::collect(&config, &JSON).run().exits(0).report();
        let scope = report.scope("docker", &ScopeId::host());
        let mut found: Vec<&str> = scope.containers.iter().map(|container| container.state.as_str()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{socket} {states}");
    }
}

#[test]
fn owners_are_those_of_the_labels() {
    needs!("docker", "docker-next");
    let _shared = super::shared();
    for socket in [bed::DOCKER, bed::DOCKER_NEXT] {
        let config = format!("[collectors.docker]\nhost = 'unix://{socket}'\n");
        let report = Agent::collect(&config, &JSON).run().exits(0).report();
        let scope = report.scope("docker", &ScopeId::host());
        let owner = |name: &str| {
            let container = scope.containers.iter().find(|container| container.name == name).unwrap();
            let owner = scope.workloads.iter().find(|workload| Some(&workload.id) == container.workload.as_ref())?;
            Some((owner.kind.as_str(), owner.name.as_str(), owner.namespace.as_deref()))
        };
        assert_eq!(owner("shop-web-1"), Some(("compose_service", "web", Some("shop"))));
        assert_eq!(owner("stack_api.1.x"), Some(("swarm_service", "stack_api", Some("stack"))));
        assert_eq!(owner("bed-running"), None);
    }
}
