//! Debian packages, in a Debian of their own that boots systemd: `tests/packages/trial.sh` is what is done there.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use stocktake_tests::{bed, cleanup::Cleanup, needs, repository, tools};
use tempfile::TempDir;

const NAMES: [&str; 3] = ["stocktake-agent", "stocktake-server", "stocktake"];
/// The version of those that replace the first ones.
const LATER: &str = "99.0.0-1";

/// Runs the trial, and ends the machine whatever comes of it.
const UNIT: &str = "\
[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/trial/trial.sh
StandardOutput=file:/trial/out
StandardError=file:/trial/out
";

#[test]
fn packages_are_installed_used_upgraded_removed_and_purged() {
    needs!("root", "docker");
    let packages = super::made("STOCKTAKE_PACKAGES", "deploy/debian/build --test");
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("root");
    let _unmount = overlay(&folder, &mounted);
    let trial = mounted.join("trial");
    fs::create_dir_all(trial.join("later")).unwrap();
    for name in NAMES {
        let package = packages.join(name).with_extension("deb");
        fs::copy(&package, trial.join(name).with_extension("deb")).unwrap();
        make_later(&package, &folder.path().join(name), &trial.join("later").join(name).with_extension("deb"));
    }
    fs::write(trial.join("later/version"), LATER).unwrap();
    fs::copy(repository().join("tests/packages/trial.sh"), trial.join("trial.sh")).unwrap();
    let units = mounted.join("etc/systemd/system");
    fs::write(units.join("trial.service"), UNIT).unwrap();
    fs::create_dir_all(units.join("multi-user.target.wants")).unwrap();
    std::os::unix::fs::symlink("../trial.service", units.join("multi-user.target.wants/trial.service")).unwrap();

    let console = boot(&mounted);
    let told = fs::read_to_string(trial.join("out")).unwrap_or_default();
    assert!(told.lines().last() == Some("all is as it should be"), "{told}\n--- console\n{console}");
}

#[test]
fn a_systemd_that_takes_no_folder_of_credentials_is_none() {
    let packages = super::made("STOCKTAKE_PACKAGES", "deploy/debian/build --test");
    for name in ["stocktake-agent", "stocktake-server"] {
        let package = packages.join(name).with_extension("deb");
        let breaks = tools::output(Command::new("dpkg-deb").arg("--field").arg(package).arg("Breaks"));
        assert_eq!(breaks.trim(), "systemd (<< 250)", "{name}");
    }
}

/// The plain Debian at `mounted`, with whatever is written to it in `folder`.
fn overlay(folder: &TempDir, mounted: &Path) -> Cleanup<impl FnMut()> {
    let (upper, work) = (folder.path().join("upper"), folder.path().join("work"));
    for directory in [&upper, &work, &mounted.to_owned()] {
        fs::create_dir_all(directory).unwrap();
    }
    let lower = super::debian_root();
    let layers = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    tools::output(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(mounted));
    let mounted = mounted.to_owned();
    Cleanup::new(move || {
        tools::output(Command::new("umount").arg("--lazy").arg(&mounted));
    })
}

/// The same package of a later version, whose configuration has changed.
fn make_later(package: &Path, folder: &Path, later: &Path) {
    tools::output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(folder));
    let control = folder.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let line = text.lines().find(|line| line.starts_with("Version: ")).unwrap();
    fs::write(&control, text.replace(line, &format!("Version: {LATER}"))).unwrap();
    for configuration in ["etc/stocktake/agent.toml", "etc/stocktake/server.toml"] {
        let path = folder.join(configuration);
        if let Ok(text) = fs::read_to_string(&path) {
            fs::write(&path, format!("{text}# What is new in the one of a later version.\n")).unwrap();
        }
    }
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]);
    tools::output(build.arg(folder).arg(later));
    fs::remove_dir_all(folder).unwrap();
}

/// Boots it, without a network but for the loopback, and returns what was on its console when it is off.
fn boot(root: &Path) -> String {
    let mut nspawn = Command::new("systemd-nspawn");
    nspawn.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]);
    nspawn.arg(format!("--bind={}:/trial/docker.sock", bed::DOCKER)).arg("--directory").arg(root);
    let output = nspawn.stdin(Stdio::null()).output().expect("tests/packages/root has installed systemd-nspawn");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
