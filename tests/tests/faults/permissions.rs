//! A user who may not open a socket.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    process::Command,
};

use stocktake_core::model::Coverage;
use stocktake_tests::{
    agent::{Agent, Run, binary},
    needs, tools,
};
use tempfile::TempDir;

/// The agent as a user without any rights, who can read it and its configuration and not much else.
fn as_nobody(config: &str, folder: &TempDir) -> Run {
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(folder.path(), 0o755);
    // Not every checkout is open to everyone.
    let copy = folder.path().join("stocktake-agent");
    tools::copy_program(binary(), &copy);
    open(&copy, 0o755);
    let file = folder.path().join("agent.toml");
    fs::write(&file, config).unwrap();
    open(&file, 0o644);
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]).arg(copy);
    command.args(["collect", "--format", "json", "--config"]).arg(file);
    Agent::through(command).run()
}

#[test]
fn a_socket_that_may_not_be_opened_is_denied_and_said_what_to_do() {
    needs!("root");
    for (kind, key, advice) in
        [("docker", "host = 'unix://", "socket's group"), ("containerd", "address = '", "run as root")]
    {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("daemon.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!("[collectors.closed]\ntype = '{kind}'\n{key}{}'\n", socket.display());
        let run = as_nobody(&config, &folder).exits(1);
        let report = run.report();
        let Coverage::Denied { reason } = &report.source("closed").coverage else { panic!("{run}") };
        assert!(reason.contains("permission denied") && reason.contains(advice), "{reason}");
        assert!(reason.contains(&socket.display().to_string()), "{reason}");
        assert_eq!(report.source("closed").scopes, []);
    }
}

#[test]
fn a_kubeconfig_that_may_not_be_read_is_named() {
    needs!("root");
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, "{}").unwrap();
    fs::set_permissions(&kubeconfig, fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!("[collectors.k]\ntype = 'kubernetes'\nkubeconfig = '{}'\n", kubeconfig.display());
    let run = as_nobody(&config, &folder);
    assert!(matches!(run.code, Some(1 | 69 | 78)), "{run}");
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(
        said.contains(&kubeconfig.display().to_string()) && said.to_lowercase().contains("permission denied"),
        "{run}"
    );
}
