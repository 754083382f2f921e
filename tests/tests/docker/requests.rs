//! The number of requests, counted by the daemons.

use stocktake_core::model::ScopeId;
use stocktake_tests::{agent::Agent, bed, cleanup::Cleanup, meter, needs, tools};

const MORE: usize = 20;

#[test]
fn docker_20_10_is_asked_as_often_for_many_containers() {
    needs!("docker");
    requests_do_not_grow("docker", bed::DOCKER);
}

#[test]
fn docker_28_5_is_asked_as_often_for_many_containers() {
    needs!("docker-next");
    requests_do_not_grow("docker-next", bed::DOCKER_NEXT);
}

fn requests_do_not_grow(name: &str, socket: &'static str) {
    let _alone = super::alone();
    let few = look(name, socket);
    let _cleanup = Cleanup::new(|| remove(socket));
    let mut last = String::new();
    for number in 0..MORE {
        let name = format!("stocktake-test-{number}");
        let create = ["create", "--network", "none", "--label", "stocktake-test", "--name", &name, bed::SIDE_IMAGE];
        last = tools::output(tools::docker(socket).args(create));
    }
    let many = look(name, socket);

    assert_eq!(few.requests, many.requests, "requests for {} and {} containers", few.containers, many.containers);
    assert_eq!(many.containers, few.containers + MORE);
    assert!(many.ids.contains(&last.trim().to_owned()), "the last one made is not in the report");
    assert_eq!(
        many.requests.keys().collect::<Vec<_>>(),
        ["/containers/json", "/images/json", "/info", "/version"],
        "one collection"
    );
    assert_eq!(meter::total(&many.requests), 4);
}

struct Look {
    requests: meter::Requests,
    containers: usize,
    ids: Vec<String>,
}

fn look(name: &str, socket: &str) -> Look {
    let config = format!("[collectors.docker]\nhost = 'unix://{socket}'\nstates = ['all']\n");
    let mut report = None;
    let requests = meter::fewest(|| {
        meter::docker(name, || {
            report = Some(Agent::collect(&config, &["--format", "json"]).run().exits(0).report());
        })
    });
    let report = report.unwrap();
    let scope = report.scope("docker", &ScopeId::host());
    let ids = scope.containers.iter().filter_map(|container| container.id.clone()).map(Into::into).collect();
    Look { requests, containers: report.containers("docker"), ids }
}

fn remove(socket: &str) {
    let filter = ["ps", "--all", "--quiet", "--filter", "label=stocktake-test"];
    let ids = tools::try_output(tools::docker(socket).args(filter)).unwrap_or_default();
    if !ids.is_empty() {
        drop(tools::try_output(tools::docker(socket).args(["rm", "--force"]).args(ids.lines())));
    }
}
