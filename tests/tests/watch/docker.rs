//! A real runtime.

use rustix::process::Signal;
use stocktake_tests::{bed, cleanup::Cleanup, needs, tools};

use crate::Watch;

#[test]
fn a_container_that_is_made_and_removed_is_told() {
    needs!("docker");
    let config = format!("[collectors.docker]\nhost = 'unix://{}'\nstates = ['all']\n", bed::DOCKER);
    let watch = Watch::new(&config, &["--format", "changes"]);
    assert!(watch.line().contains("= docker"));
    let name = format!("watched-{}", std::process::id());
    let docker = |arguments: &[&str]| tools::output(tools::docker(bed::DOCKER).args(arguments));
    let _cleanup = Cleanup::new(|| drop(tools::try_output(tools::docker(bed::DOCKER).args(["rm", "--force", &name]))));
    docker(&["create", "--name", &name, "--network", "none", bed::SIDE_IMAGE, "/bin/hold"]);
    // Other tests may have containers come and go.
    let told = |sign: &str| {
        let sign = format!("  {sign} ");
        let is_it = |line: &String| line.contains(&sign) && line.contains(&name);
        while !is_it(&watch.line()) {}
    };
    told("+");
    docker(&["rm", "--force", &name]);
    told("-");
    watch.end(Signal::TERM);
}
