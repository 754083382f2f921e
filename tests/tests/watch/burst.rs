//! Much at once.

use std::sync::Arc;

use rustix::process::Signal;
use stocktake_tests::{
    bed,
    home::Home,
    needs,
    private::{Dockerd, IMAGES, WITHOUT_CRI, containerd, curl},
    tools,
};

use crate::{Known, Watch, stream::collected};

/// Reads until a reader knows what a look of another agent says, which is what there is at the end.
#[track_caller]
fn ends_as_collected(config: &str, watch: Watch, known: &mut Known) {
    let there_is = collected(config);
    known.read_until(&watch, "all of it", |known| {
        // A scope's line comes before what is in it.
        known.0.len() == there_is.0.len() && *known == there_is
    });
    let (_, stderr) = watch.end(Signal::TERM);
    assert_eq!(stderr, "");
}

/// 100 starts, each of a container that ends by itself, on 10 containers; then half of them are removed.
#[test]
fn a_burst_of_docker_loses_nothing() {
    needs!("docker");
    let daemon = Dockerd::start("burst");
    let body =
        format!(r#"{{"Image": "{}", "Cmd": ["/bin/echo"], "HostConfig": {{"NetworkMode": "none"}}}}"#, bed::SIDE_IMAGE);
    let body = format!("@{}", daemon.home.write("container.json", &body));
    let post = ["--request", "POST", "--header", "Content-Type: application/json"];
    let create = [&post[..], &["--data", &body, "http://d/v1.40/containers/create?name=burst-[0-9]"]].concat();
    curl(&daemon.socket, &create).unwrap();
    let config = format!("[collectors.docker]\nhost = 'unix://{}'\nstates = ['all']\n", daemon.socket);
    let watch = Watch::told(&config);
    let mut known = Known::default();
    known.read_until(&watch, "the first report", |known| known.state("burst-9").is_some());
    // One after the other; one that still runs is left alone (304).
    for _ in 0..10 {
        curl(&daemon.socket, &[&post[..], &["http://d/v1.40/containers/burst-[0-9]/start"]].concat()).unwrap();
    }
    curl(&daemon.socket, &["--request", "DELETE", "http://d/v1.40/containers/burst-[0-4]?force=true"]).unwrap();
    let ended = tools::docker(&daemon.socket)
        .args((5..=9).fold(vec!["wait".to_owned()], |mut list, number| {
            list.push(format!("burst-{number}"));
            list
        }))
        .output();
    assert!(ended.unwrap().status.success());
    ends_as_collected(&config, watch, &mut known);
}

/// 100 containers that come, of which each second one goes again, in two namespaces.
#[test]
fn a_burst_of_containerd_loses_nothing() {
    needs!("containerd");
    let home = Arc::new(Home::new("burst"));
    let _daemon = containerd(&home, WITHOUT_CRI);
    let socket = home.path("containerd.sock");
    let side = format!("{IMAGES}/side.tar");
    tools::output(tools::ctr(&socket, "one").args(["images", "import", &side]));
    let config = format!("[collectors.containerd]\naddress = '{socket}'\nstates = ['all']\n");
    let watch = Watch::told(&config);
    let mut known = Known::default();
    known.read_until(&watch, "the first report", |known| !known.0.is_empty());
    for namespace in ["one", "two"] {
        tools::output(tools::ctr(&socket, namespace).args(["images", "import", &side]));
        for number in 0..50 {
            let name = format!("burst-{number}");
            let ctr = |arguments: &[&str]| tools::output(tools::ctr(&socket, namespace).args(arguments));
            ctr(&["containers", "create", bed::SIDE_IMAGE, &name]);
            if number % 2 == 0 {
                ctr(&["containers", "delete", &name]);
            }
        }
    }
    ends_as_collected(&config, watch, &mut known);
}
