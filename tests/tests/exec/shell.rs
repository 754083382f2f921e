//! Shell scripts: the example, and the one in the documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::{Child, Command},
};

use stocktake_core::model::{ContainerState, MissingReason, ScopeId};
use stocktake_tests::{agent::Agent, bed, cleanup::Cleanup, needs, repository, tools, wait_until};

use crate::{
    Program, command,
    document::{complaints, documented},
};

/// The number of a process's PID namespace.
fn namespace(pid: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    link.to_str().unwrap().trim_start_matches("pid:[").trim_end_matches(']').to_owned()
}

/// A process that is the first of a PID namespace, and its id here.
fn in_a_namespace(program: &Path) -> (Child, String) {
    let unshare = Command::new("/usr/bin/unshare")
        .args(["--pid", "--fork", "--kill-child"])
        .arg(program)
        .arg("1000")
        .spawn()
        .unwrap();
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let mut pid = String::new();
    wait_until("the process in the namespace", || {
        fs::read_to_string(&children).unwrap().trim().clone_into(&mut pid);
        !pid.is_empty() && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
    });
    (unshare, pid)
}

#[test]
fn the_example_sees_each_namespace_whatever_its_processes_are_called() {
    needs!("root");
    let folder = tempfile::tempdir().unwrap();
    // As hostile as a name of 15 bytes can be.
    let program = folder.path().join(OsStr::from_bytes(b"a\"b\\c\n\x1b\xff$(x)"));
    tools::copy_program("/bin/sleep", &program);
    let (mut unshare, pid) = in_a_namespace(&program);
    let _cleanup = Cleanup::new(move || {
        unshare.kill().unwrap();
        unshare.wait().unwrap();
    });

    let example = repository().join("examples/exec-shell/pid-namespaces");
    let run =
        Agent::collect(&format!("[collectors.ns]\ntype = 'exec'\n{}\n", command(&example)), &["--format", "json"]);
    let run = run.run().exits(0);
    let report = run.report();
    let source = report.source("ns");
    assert_eq!(source.runtime.as_ref().unwrap().name, "linux");
    assert!(source.is_complete(), "{source:?}");
    let scope = report.scope("ns", &ScopeId::host());
    let found = scope.containers.iter().find(|container| container.id.as_deref() == Some(&namespace(&pid))).unwrap();
    // The kernel escapes line breaks and backslashes, the script replaces what is left.
    assert_eq!(found.name, r#"a"b\\c\n??$(x)"#);
    assert_eq!((found.state, found.image_missing), (ContainerState::Running, Some(MissingReason::NotRecorded)));
    assert!(found.started_at.is_some());
    let own = namespace("self");
    assert!(scope.containers.iter().all(|container| container.id.as_deref() != Some(&own)));
}

#[test]
fn the_example_sees_what_docker_runs_and_since_when() {
    needs!("docker");
    let example = repository().join("examples/exec-shell/pid-namespaces");
    let document = tools::json(&mut Command::new(&example));
    assert_eq!(complaints(&document), [""; 0]);
    let containers = document["scopes"][0]["containers"].as_array().unwrap();
    let seen: BTreeMap<&str, &str> = containers
        .iter()
        .map(|container| (container["id"].as_str().unwrap(), container["started_at"].as_str().unwrap()))
        .collect();
    let running = tools::output(tools::docker(bed::DOCKER).args(["ps", "--quiet", "--no-trunc"]));
    let ids: Vec<&str> = running.split_whitespace().collect();
    let pids = tools::output(tools::docker(bed::DOCKER).args(["inspect", "--format", "{{.State.Pid}}"]).args(&ids));
    assert!(pids.split_whitespace().count() > 3, "{pids}");
    for pid in pids.split_whitespace() {
        let namespace = namespace(pid);
        // As ps(1) tells it, in the machine's own words.
        let started = tools::output(Command::new("/bin/ps").env("TZ", "UTC").args(["-o", "lstart=", "-p", pid]));
        let seconds =
            tools::output(Command::new("/bin/date").args(["-u", "+%s", "-d", &format!("{} UTC", started.trim())]));
        let told = seen.get(namespace.as_str()).unwrap_or_else(|| panic!("{namespace} of {pid} is not in {seen:?}"));
        let told = tools::output(Command::new("/bin/date").args(["-u", "+%s", "-d", told]));
        let [seconds, told] = [seconds, told].map(|text| text.trim().parse::<i64>().unwrap());
        // ps rounds; a second is what there is to round.
        assert!((seconds - told).abs() <= 1, "{pid}: {seconds} {told}");
    }
    let ids: BTreeSet<&str> = seen.keys().copied().collect();
    assert_eq!(ids.len(), containers.len(), "an id twice");
}

/// Who may not see is no empty host.
#[test]
fn the_example_says_what_it_may_not_see() {
    needs!("docker");
    let program = Program::new(&fs::read_to_string(repository().join("examples/exec-shell/pid-namespaces")).unwrap());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(program.folder.path(), open).unwrap();
    let mut nobody = Command::new("/usr/bin/setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program.path());
    let scope = &tools::json(&mut nobody)["scopes"][0];
    assert_eq!(scope["coverage"]["status"], "partial", "{scope}");
    assert!(scope["coverage"]["reason"].as_str().unwrap().contains("run as root"), "{scope}");
}

/// With another folder, so that there is something in it.
#[test]
fn the_documented_script_works() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("jails");
    let script = documented("sh").replace("/var/jails", root.to_str().unwrap());
    assert!(script.contains(root.to_str().unwrap()), "{script}");
    let program = Program::new(&script);
    let config = program.config("jails");
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(69);
    assert!(run.report().source("jails").coverage.reason().unwrap().contains("there is no"), "{run}");
    for name in ["web", "quo\"te\\", "line\nbreak"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(0);
    let report = run.report();
    let mut names: Vec<&str> =
        report.scope("jails", &ScopeId::host()).containers.iter().map(|container| container.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["line?break", "quo\"te\\", "web"]);
}
