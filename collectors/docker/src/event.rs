//! What an event of a daemon says: whether what is reported of its containers may be another now.

use serde::Deserialize;

/// The kinds of things whose events are asked for. Pods, networks and volumes change with their containers, or are not
/// reported.
pub(crate) const FILTERS: &str = r#"{"type":["container","image"]}"#;

/// Actions that change nothing that is reported; all others are looked at, so that a daemon may learn new ones. Most of them
/// come without end: a health check is three every few seconds, and Podman tells of each container it has looked at.
const WITHOUT_CHANGE: [&str; 25] = [
    "archive-path",
    "attach",
    // Podman, after a container's end was told.
    "cleanup",
    "commit",
    "copy",
    "detach",
    "exec",
    "exec_create",
    "exec_detach",
    "exec_die",
    "exec_died",
    "exec_start",
    "export",
    "extract-to-dir",
    "health_status",
    // A signal. If it ends the container, its end is told.
    "kill",
    "mount",
    // The end of a process; if it was the container's first, its end is told.
    "oom",
    "push",
    "resize",
    "save",
    "sync",
    "top",
    "unmount",
    // Of limits and the restart policy.
    "update",
];

/// The part of an event that is read (Docker Engine API, `GET /events`). The rest holds labels and command lines.
#[derive(Deserialize)]
struct Event {
    /// `die`, `exec_start: /bin/sh -c …`.
    #[serde(rename = "Action", default)]
    action: Option<String>,
}

/// Whether to look again because of an event, which is a line of JSON.
pub(crate) fn is_change(line: &str) -> Result<bool, serde_json::Error> {
    let event: Event = serde_json::from_str(line)?;
    let action = event.action.unwrap_or_default();
    let action = action.split_once(':').map_or(&*action, |(action, _)| action);
    Ok(!WITHOUT_CHANGE.contains(&action))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from a container's and an image's life: made, started, asked, paused, renamed, copied from, signalled, started
    /// again, stopped, committed, removed; tagged, saved, loaded.
    fn recorded(daemon: &str) -> Vec<String> {
        let path = format!("{}/testdata/{daemon}/events.jsonl", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).expect(&path).lines().map(str::to_owned).collect()
    }

    /// The actions of those events that are looked at.
    fn changes(daemon: &str) -> Vec<String> {
        let recorded = recorded(daemon);
        let changes = recorded.iter().filter(|line| is_change(line).unwrap());
        changes
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                format!("{} {}", event["Type"].as_str().unwrap(), event["Action"].as_str().unwrap())
            })
            .collect()
    }

    #[test]
    fn what_changes_a_container_or_the_names_of_its_image_is_looked_at() {
        for daemon in ["docker-20.10", "docker-28.5", "podman-4.3"] {
            let changes = changes(daemon);
            println!("{daemon}: {changes:?}");
            let has = |change: &str| assert!(changes.iter().any(|found| found == change), "{daemon}: {change}");
            for action in ["create", "start", "pause", "unpause", "rename", "die", "restart"] {
                has(&format!("container {action}"));
            }
            has(if daemon.starts_with("docker") { "container destroy" } else { "container remove" });
            for action in ["tag", "untag", "delete"] {
                has(&format!("image {action}"));
            }
        }
    }

    #[test]
    fn a_health_check_and_whoever_looks_into_a_container_cause_no_look() {
        let left = |daemon: &str, actions: &[&str]| {
            let recorded = recorded(daemon);
            for action in actions {
                let quoted = format!("\"Action\":\"{action}");
                let mut lines = recorded.iter().filter(|line| line.contains(&quoted)).peekable();
                assert!(lines.peek().is_some(), "{daemon}: {action} is not recorded");
                assert!(lines.all(|line| !is_change(line).unwrap()), "{daemon}: {action}");
            }
        };
        let of_docker =
            ["exec_create: ", "exec_start: ", "exec_die", "health_status: ", "attach", "archive-path", "kill"];
        left("docker-20.10", &of_docker);
        left("docker-28.5", &of_docker);
        left("podman-4.3", &["exec\"", "exec_died", "health_status", "attach", "sync", "cleanup", "kill"]);
    }

    #[test]
    fn what_is_not_known_is_looked_at() {
        for line in [r#"{"Type":"container","Action":"teleport"}"#, r#"{"Type":"starship"}"#, "{}"] {
            assert!(is_change(line).unwrap(), "{line}");
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for line in ["", "[", r#"{"Type":"container","Acti"#, "<html>", "7", r#"{"Action":7}"#] {
            assert!(is_change(line).is_err(), "{line}");
        }
    }
}
