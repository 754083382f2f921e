//! How much harm a service could do.

use std::{fs, process::Command};

use stocktake_tests::{bed, needs, repository, tools};

/// What `systemd-analyze security` may come to at the most, of 10.
const EXPOSURE: f64 = 2.0;

#[test]
fn services_are_hardly_exposed() {
    needs!("root");
    let root = super::debian_root();
    for service in ["stocktake-agent.service", "stocktake-server.service"] {
        let unit = tempfile::Builder::new().suffix(service).tempfile_in(root.join("tmp")).unwrap();
        fs::copy(repository().join("deploy/systemd").join(service), unit.path()).unwrap();
        // Debian's own, of the release that the packages are for.
        let mut analyze = Command::new("chroot");
        analyze.arg(&root).args(["systemd-analyze", "security", "--offline=true", "--no-pager"]);
        let told = tools::output(
            analyze.arg(unit.path().strip_prefix(&root).map(|path| format!("/{}", path.display())).unwrap()),
        );
        let overall = told.lines().find(|line| line.contains("Overall exposure level")).expect("an overall level");
        let (_, level) = overall.split_once(": ").unwrap();
        let level: f64 = level.split_whitespace().next().unwrap().parse().unwrap();
        bed::say(&format!("exposure of {service}: {level}"));
        assert!(level <= EXPOSURE, "{service}: {told}");
    }
}
