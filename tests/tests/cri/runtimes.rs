//! Runtimes without pods, without CRI, and gone.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use stocktake_core::model::{Coverage, Scope, ScopeId};
use stocktake_tests::{agent::Agent, bed, needs, wait_until};
use tempfile::TempDir;

/// A containerd 2.1 of the test's own that has never run anything, from the same root as the bed's.
struct Containerd {
    process: Child,
    folder: TempDir,
}

impl Containerd {
    fn start() -> Self {
        // The one place that is the same inside and outside of that root.
        let folder = tempfile::tempdir_in(format!("{}/docker-next", bed::RUN)).unwrap();
        let path = folder.path().display();
        let config = format!(
            "version = 3\nroot = '{path}/root'\nstate = '{path}/state'\n[grpc]\naddress = '{path}/containerd.sock'\n\
             [plugins.'io.containerd.internal.v1.opt']\npath = '{path}/opt'\n\
             [plugins.'io.containerd.cri.v1.runtime'.cni]\nconf_dir = '{path}/cni'\n"
        );
        fs::create_dir(folder.path().join("cni")).unwrap();
        fs::write(folder.path().join("config.toml"), config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let pid = fs::read_to_string(format!("{}/pid/docker-next-containerd.pid", bed::RUN)).unwrap();
        let process = Command::new("/usr/bin/nsenter")
            .args(["--mount", "--root", "--wd", "--target", pid.trim(), "containerd", "--config"])
            .arg(folder.path().join("config.toml"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self { process, folder };
        wait_until("a containerd of the test's own", || {
            assert!(daemon.process.try_wait().unwrap().is_none(), "it has ended: {}", daemon.log());
            daemon.log().contains("containerd successfully booted")
        });
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn stop(&mut self) {
        // It has no containers and so nothing to leave behind.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_runtime_without_pods_is_complete_and_one_that_is_gone_is_not() {
    needs!("docker-next");
    let mut daemon = Containerd::start();
    let config = format!("[collectors.cri]\naddress = '{}'\nstates = ['all']\n", daemon.socket().display());
    let look = |code| Agent::collect(&config, &["--format", "json"]).run().exits(code);
    let run = look(0);
    let report = run.report();
    assert!(report.coverage("cri", &ScopeId::host()).is_complete(), "{run}");
    assert_eq!(report.scope("cri", &ScopeId::host()), &Scope::default());
    let runtime = report.source("cri").runtime.clone().expect("it was asked");
    assert!(runtime.name == "containerd" && runtime.version.starts_with("2."), "{runtime:?}");

    daemon.stop();
    // Nothing else is configured, so nothing is reachable.
    let run = look(69);
    let source = run.report().source("cri").clone();
    assert_eq!(source.scopes, [], "{run}");
    let Coverage::Failed { reason } = source.coverage else { panic!("{run}") };
    assert!(reason.ends_with("nothing listens there; start the daemon or set `address`"), "{reason}");
}

/// The bed's containerd 2.1 has its CRI plug-in turned off, as a host with Docker alone has.
#[test]
fn a_containerd_without_cri_is_no_empty_one() {
    needs!("docker-next");
    let config = format!("[collectors.cri]\naddress = '{}'\n", bed::CONTAINERD_NEXT);
    let run = Agent::collect(&config, &["--format", "json"]).run().exits(1);
    let source = run.report().source("cri").clone();
    assert!(source.coverage.reason().is_some_and(|reason| reason.contains("this runtime has no CRI v1")), "{run}");
    assert!(source.scopes.iter().all(|entry| !entry.coverage.is_complete()), "{run}");
}
