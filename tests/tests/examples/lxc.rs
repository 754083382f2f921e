//! The example's agent, LXC's own tools, and containers that a test may break.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use stocktake_tests::{
    agent::{self, Agent},
    tools,
};
use tempfile::TempDir;

/// `example-agent-lxc COMMAND --config FILE ARGUMENTS…`, the file holding `config`.
pub(crate) fn example(command: &str, config: &str, arguments: &[&str]) -> Agent {
    let mut agent = Agent::through(Command::new(agent::example_lxc()));
    let file = agent.folder().join("agent.toml");
    fs::write(&file, config).unwrap();
    agent.command().args([command, "--config"]).arg(file).args(arguments);
    agent
}

/// A configuration for the containers of one folder, whatever their state.
pub(crate) fn config(folder: &str) -> String {
    format!("[collectors.lxc]\nlxcpath = '{folder}'\nstates = ['all']\n")
}

/// One of LXC's tools for the containers of one folder.
pub(crate) fn tool(program: &str, folder: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(format!("/usr/bin/{program}"));
    command.arg("-P").arg(folder).args(arguments);
    command
}

/// Containers of a test's own, which are gone after it.
pub(crate) struct Containers {
    folder: TempDir,
}

impl Containers {
    /// A folder with containers of these names, none of them started.
    pub(crate) fn new(names: &[&str]) -> Self {
        let containers = Self { folder: tempfile::tempdir().unwrap() };
        for name in names {
            let folder = containers.path().join(name);
            for part in ["bin", "dev", "proc", "sys"] {
                fs::create_dir_all(folder.join("rootfs").join(part)).unwrap();
            }
            tools::copy_program("/bin/busybox", folder.join("rootfs/bin/busybox"));
            let (rootfs, cgroup) = (folder.join("rootfs"), containers.cgroup());
            let config = format!(
                "lxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\nlxc.cgroup.dir = {cgroup}/{name}\n\
                 lxc.init.cmd = /bin/busybox sleep 1000000\n",
                rootfs.display()
            );
            fs::write(folder.join("config"), config).unwrap();
        }
        containers
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> String {
        config(self.path().to_str().unwrap())
    }

    /// Runs `lxc-VERB -n NAME`.
    pub(crate) fn run(&self, verb: &str, name: &str) -> String {
        tools::output(&mut tool(&format!("lxc-{verb}"), self.path(), &["-n", name]))
    }

    /// Stops a container at once: a `sleep` does not obey a friendlier request.
    pub(crate) fn kill(&self, name: &str) {
        let _ = tools::output(&mut tool("lxc-stop", self.path(), &["-n", name, "--kill"]));
    }

    /// The process id of a container's monitor.
    pub(crate) fn monitor(&self, name: &str) -> String {
        let init = tools::output(&mut tool("lxc-info", self.path(), &["-n", name, "-pH"]));
        tools::output(Command::new("ps").args(["-o", "ppid=", "-p", init.trim()])).trim().to_owned()
    }

    /// Below the bed's, so that `bed down` takes away what a test that was killed leaves behind.
    fn cgroup(&self) -> String {
        format!("stocktake-bed/lxc/{}", self.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path()).unwrap().flatten() {
            let name = entry.file_name();
            // Those that do not run refuse.
            let stop = ["-n", name.to_str().unwrap(), "--kill"];
            drop(tool("lxc-stop", self.path(), &stop).output());
        }
        let cgroups = format!("*/{}*", self.cgroup());
        let find = ["/sys/fs/cgroup", "-depth", "-type", "d", "-path", &cgroups, "-exec", "rmdir", "{}", "+"];
        drop(Command::new("find").args(find).output());
        let locks = Path::new("/run/lxc/lock").join(self.path().strip_prefix("/").unwrap());
        drop(fs::remove_dir_all(&locks));
        drop(fs::remove_dir(locks.parent().unwrap()));
    }
}
