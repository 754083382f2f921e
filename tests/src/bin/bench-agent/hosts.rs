//! Docker and containerd of the test bed, with containers of the benchmark's own.

use std::{process::Command, time::Duration};

use anyhow::bail;
use stocktake_tests::bench::table::Row;
use tokio::time::sleep;

use crate::{Arguments, daemon::Daemon};

const MARK: &str = "stocktake-bench-agent";
const RUN: &str = "/run/stocktake-bed";

/// A runtime of the bed: how it is called, configured, and made to create a container and remove all of them.
pub(crate) struct Host {
    name: &'static str,
    config: fn() -> String,
    prepare: fn() -> anyhow::Result<()>,
    create: fn(usize) -> Vec<String>,
    remove: fn(usize),
}

pub(crate) const DOCKER: Host = Host {
    name: "Docker 20.10",
    config: || format!("[collectors.docker]\nhost = 'unix://{RUN}/docker/docker.sock'\nstates = ['all']\n"),
    prepare: || Ok(()),
    create: |_| {
        let image = "example.com/bed/side:2.0";
        docker(&["create", "--network", "none", "--label", MARK, image])
    },
    remove: |_| {
        let filter = format!("label={MARK}");
        if let Ok(ids) = run(&docker(&["ps", "-aq", "--filter", &filter])) {
            for id in ids.split_whitespace() {
                let _ = run(&docker(&["rm", "-f", id]));
            }
        }
    },
};

pub(crate) const CONTAINERD: Host = Host {
    name: "containerd 1.6",
    config: || {
        format!(
            "[collectors.containerd]\naddress = '{RUN}/containerd/containerd.sock'\nnamespaces = ['{MARK}']\nstates = ['all']\n"
        )
    },
    prepare: || run(&ctr(&["images", "pull", "--plain-http", "127.0.0.1:15000/team/app:1.0"])).map(drop),
    create: |number| ctr(&["containers", "create", "127.0.0.1:15000/team/app:1.0", &format!("made-{number}")]),
    remove: |count| {
        for number in 0..count {
            let _ = run(&ctr(&["containers", "delete", &format!("made-{number}")]));
        }
        let _ = run(&ctr(&["images", "remove", "--sync", "127.0.0.1:15000/team/app:1.0"]));
        let _ = run(&ctr(&["namespaces", "remove", MARK]));
    },
};

fn docker(arguments: &[&str]) -> Vec<String> {
    let socket = format!("unix://{RUN}/docker/docker.sock");
    ["/usr/bin/docker", "-H", &socket].iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

fn ctr(arguments: &[&str]) -> Vec<String> {
    let socket = format!("{RUN}/containerd/containerd.sock");
    let base = ["/usr/bin/ctr", "--address", &socket, "--namespace", MARK];
    base.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

fn run(command: &[String]) -> anyhow::Result<String> {
    let output = Command::new(&command[0]).args(&command[1..]).output()?;
    if !output.status.success() {
        bail!("{}: {}; is the bed up (`make bed-up`)?", command.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Containers that are removed when this goes.
struct Made<'a>(&'a Host, usize);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        (self.0.remove)(self.1);
    }
}

pub(crate) async fn measure(host: &Host, arguments: &Arguments) -> anyhow::Result<(String, Vec<Row>)> {
    (host.remove)(arguments.containers);
    let made = Made(host, arguments.containers);
    (host.prepare)()?;
    eprintln!("bench: creating {} containers on {}", arguments.containers, host.name);
    (0..arguments.containers).try_for_each(|number| run(&(host.create)(number)).map(drop))?;
    let mut daemon = Daemon::start(arguments, &(host.config)())?;
    daemon.wait_for_reports(1).await?;
    let first = daemon.sent();
    // What starting leaves behind is not of the steady state.
    sleep(Duration::from_secs(10)).await;
    let time = Duration::from_secs(arguments.seconds);
    let cost = daemon
        .cost(async {
            sleep(time).await;
            Ok(())
        })
        .await?;
    let mut rows = vec![Row::new("first report", format!("{first} bytes"))];
    rows.extend(cost.rows("nothing changes", first, Some((0.1, 20.0))));
    drop(made);
    Ok((format!("{}, {} containers", host.name, arguments.containers), rows))
}
