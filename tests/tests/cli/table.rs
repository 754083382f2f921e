//! The table: a line a container, within the width.

use stocktake_tests::{agent::Agent, needs};

struct Section {
    name: String,
    header: String,
    rows: Vec<String>,
    summary: String,
}

fn sections(table: &str) -> Vec<Section> {
    table
        .split("\n\n")
        // Below the last one, what the letters before narrow digests mean.
        .filter(|section| !section.starts_with("digests: "))
        .map(|section| {
            let mut lines = section.lines().map(str::to_owned);
            let name = lines.next().unwrap().split(':').next().unwrap().to_owned();
            let mut rows: Vec<String> = lines.collect();
            assert!(rows.iter().all(|row| row.starts_with("  ")), "{section}");
            let summary = rows.pop().unwrap();
            let header = rows.remove(0);
            Section { name, header, rows, summary }
        })
        .collect()
}

#[test]
fn each_container_has_one_line_within_the_width() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    for width in [80, 100, 120, 159, 160, 200, 300] {
        let agent = Agent::collect(&super::quiet_config(), &["--by-source"]).env("COLUMNS", width.to_string());
        let table = agent.run().exits(0).stdout;
        for line in table.lines() {
            let length = line.chars().count();
            assert!(length <= width, "{length} columns instead of {width}: {line}");
            assert_eq!(line, line.trim_end(), "blanks at the end");
        }
        let found: Vec<(String, usize)> =
            sections(&table).into_iter().map(|section| (section.name, section.rows.len())).collect();
        let expected: Vec<(String, usize)> =
            super::QUIET.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
        assert_eq!(found, expected, "at {width}\n{table}");
    }
}

#[test]
fn a_wide_table_has_every_digest_and_a_narrow_one_the_best() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let table = |width: &str| {
        Agent::collect(&super::quiet_config(), &["--by-source"]).env("COLUMNS", width).run().exits(0).stdout
    };
    let wide = table("260");
    let docker_next = sections(&wide).into_iter().find(|section| section.name == "docker-next").unwrap();
    for column in ["CONTAINER", "STATE", "IMAGE", "INDEX", "MANIFEST", "ID"] {
        assert!(docker_next.header.contains(column), "{}", docker_next.header);
    }
    assert!(docker_next.summary.contains("12 containers"), "{}", docker_next.summary);
    let narrow = table("80");
    for section in sections(&narrow) {
        for column in ["CONTAINER", "STATE", "IMAGE", "DIGEST"] {
            assert!(section.header.contains(column), "{}: {}", section.name, section.header);
        }
    }
    // The state is a word that a person searches for, so it is never cut.
    let docker = sections(&narrow).into_iter().find(|section| section.name == "docker").unwrap();
    let paused = docker.rows.iter().filter(|row| row.split_whitespace().any(|word| word == "paused")).count();
    assert_eq!(paused, 1, "{narrow}");
}

/// A container that several sources saw is one line, in the section of the cluster or host that it belongs to.
#[test]
fn the_table_shows_each_container_once() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    for width in [80, 120, 160, 250] {
        let agent = Agent::collect(&super::quiet_config(), &[]).env("COLUMNS", width.to_string());
        let table = agent.run().exits(0).stdout;
        for line in table.lines() {
            assert!(line.chars().count() <= width, "more than {width} columns: {line}");
        }
        let rows = |start: &str| {
            let section =
                table.split("\n\n").find(|section| section.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
            section.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let host = rows("host ");
        // Docker 28's containers are in its containerd too.
        let shared = host.iter().filter(|row| row.contains(" bed-pulled ")).count();
        assert_eq!(shared, 2, "one of Docker 20.10, one of Docker 28.5\n{table}");
        let summary = host.iter().find(|row| row.contains(" containers (")).unwrap();
        // Three sources of 12, 12 and 3, and what containerd alone knows: 17 of which Docker has 10.
        assert!(summary.trim_start().starts_with("34 containers"), "{summary}");
        assert!(rows("cluster ").iter().any(|row| row.contains("16 containers")), "{table}");
        assert!(rows("findings").len() > 1, "{table}");
    }
    let wide = Agent::collect(&super::quiet_config(), &[]).env("COLUMNS", "250").run().exits(0).stdout;
    assert!(wide.contains("docker-next, containerd"), "who saw it\n{wide}");
}

/// Each image with what every source calls it, in one row, or in a block where a row would be cut.
#[test]
fn images_are_shown_with_what_each_source_calls_them() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let show = |width: Option<&str>| {
        let agent = Agent::collect(&super::quiet_config(), &["--by-image"]);
        let agent = if let Some(width) = width { agent.env("COLUMNS", width) } else { agent };
        agent.run().exits(0).stdout
    };
    let table = show(None);
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let sources = ["CONTAINERD", "DOCKER", "DOCKER-NEXT", "KUBERNETES", "PODMAN"];
    assert_eq!(header[1..6], sources, "{table}");
    let side: Vec<&str> = table.lines().filter(|line| line.starts_with("example.com/bed/side:2.0")).collect();
    assert_eq!(side.len(), 1, "one image, whatever it is called\n{table}");
    for told in ["c:7492c1b054f0", "m:a516e3b3cd51", "(single platform)"] {
        assert!(side[0].contains(told), "{}", side[0]);
    }
    let blocks = show(Some("80"));
    assert!(blocks.lines().all(|line| line.chars().count() <= 80), "{blocks}");
    assert!(blocks.contains("\n  kubernetes   c:7492c1b054f0\n"), "{blocks}");
}

#[test]
fn by_source_is_a_view_of_the_table() {
    let run = Agent::collect("[collectors.docker]", &["--by-source", "--format", "json"]).run().exits(2);
    let _ = run.says("--by-source is a view of the table");
}

#[test]
fn nothing_is_cut_where_there_is_no_terminal() {
    needs!("docker", "docker-next", "podman", "kubernetes");
    let table = Agent::collect(&super::quiet_config(), &["--by-source"]).run().exits(0).stdout;
    assert!(!table.contains('…'), "{table}");
}

#[test]
fn a_refused_scope_is_in_the_table() {
    needs!("kubernetes");
    let kubeconfig = stocktake_tests::bed::kubeconfig("partial");
    let config = format!("[collectors.kubernetes]\nkubeconfig = '{kubeconfig}'\n");
    let table = Agent::collect(&config, &[]).run().exits(1).stdout;
    let line = table.lines().find(|line| line.contains("DENIED") && line.contains("restricted"));
    assert!(line.is_some(), "a table without what was not seen passes for the whole: {table}");
}
