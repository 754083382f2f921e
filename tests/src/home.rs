//! A place for daemons of a test's own, which leaves nothing behind: no process, no mount, no cgroup, no file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A temporary folder with sockets, data and logs of daemons. What they start names it on its command line (shims,
/// monitors), by which it is found again when the folder goes.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty one.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("stocktake-{name}-")).tempdir();
        Self { folder: folder.expect("a temporary folder") }
    }

    /// The path of `name` in it.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Writes a file, and returns its path.
    #[must_use]
    pub fn write(&self, name: &str, content: &str) -> String {
        fs::write(self.folder.path().join(name), content).expect("the temporary folder can be written to");
        self.path(name)
    }

    /// A name for cgroups that nobody else has.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.folder.path().file_name().expect("it has a name").to_string_lossy())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let folder = self.folder.path();
        // What is killed may have started something in between.
        for _ in 0..100 {
            let left = processes_of(folder);
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            thread::sleep(Duration::from_millis(20));
        }
        for socket in shim_sockets(folder) {
            drop(fs::remove_file(socket));
        }
        for mount in mounts_below(folder) {
            drop(Command::new("/usr/bin/umount").args(["--lazy", &mount]).status());
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_cgroup(&hierarchy.path().join(self.cgroup().trim_start_matches('/')));
        }
    }
}

/// Processes that name the folder on their command line, and all that these have started.
fn processes_of(folder: &Path) -> BTreeSet<i32> {
    let mut parents = BTreeMap::new();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut rest = stat.rsplit(')').next().expect("at least one part").split_whitespace();
        if rest.next() == Some("Z") {
            continue;
        }
        parents.insert(pid, rest.next().and_then(|parent| parent.parse::<i32>().ok()).unwrap_or_default());
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&*folder.to_string_lossy()) {
            found.insert(pid);
        }
    }
    loop {
        let children: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&i32::try_from(process::id()).expect("a pid"));
    found
}

/// The one thing of containerd's that no option moves: where its shims listen (`/run/containerd/s`). A containerd has its
/// shims' folders in `state` (`runtime/v2/README.md` of containerd 1.6).
fn shim_sockets(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let shims = below(folder.join("state/io.containerd.runtime.v2.task")).flat_map(below);
    let addresses = shims.filter_map(|shim| fs::read_to_string(shim.join("address")).ok());
    addresses.filter_map(|address| Some(PathBuf::from(address.trim().strip_prefix("unix://")?))).collect()
}

/// Deepest first.
fn mounts_below(folder: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut found: Vec<String> =
        points.filter(|point| Path::new(point).starts_with(folder)).map(str::to_owned).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

fn remove_cgroup(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&entry.path());
    }
    drop(fs::remove_dir(folder));
}
