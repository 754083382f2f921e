//! What LXC and the kernel print, as containers.

use jiff::Timestamp;
use stocktake_core::{
    CollectError,
    model::{Container, ContainerState, MissingReason},
};

/// The containers of a table of the columns `NAME`, `STATE` and `PID`. `lxc-ls` prints nothing where there are none.
pub(crate) fn containers(
    table: &str,
    started_at: impl Fn(&str) -> Option<Timestamp>,
) -> Result<Vec<Container>, CollectError> {
    let mut lines = table.lines();
    let Some(heading) = lines.next() else { return Ok(Vec::new()) };
    if columns(heading) != Some(("NAME", "STATE", "PID")) {
        return Err(CollectError::protocol(
            "lxc-ls printed no table of NAME, STATE and PID, report its version",
            heading,
        ));
    }
    let row = |line| {
        // A name of several lines, which a folder may have.
        let (name, word, pid) = columns(line).unwrap_or((line, "-", "-"));
        Container { started_at: started_at(pid), ..container(name, state(word)) }
    };
    Ok(lines.map(row).collect())
}

/// A container of which no more is known. LXC tells it by its name from others in the folder, and does not record what
/// its root file system was made from.
pub(crate) fn container(name: &str, state: ContainerState) -> Container {
    Container {
        id: Some(name.into()),
        name: name.into(),
        state,
        image_missing: Some(MissingReason::NotRecorded),
        ..Container::default()
    }
}

/// When the system was started, in seconds since 1970, from `/proc/stat`.
pub(crate) fn boot_time(stat: &str) -> Option<i64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// When a process was started, from `/proc/PID/stat`: its field 22 counts hundredths of a second since `boot` (proc(5)),
/// which is a whole second, so that the answer may be up to two seconds early. Field 2, the command in brackets, may
/// itself hold spaces and brackets.
pub(crate) fn started_at(stat: &str, boot: i64) -> Option<Timestamp> {
    let ticks: i64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Timestamp::from_second(boot.checked_add(ticks / 100)?).ok()
}

/// A name may hold spaces; the other two columns do not.
fn columns(line: &str) -> Option<(&str, &str, &str)> {
    let (rest, pid) = line.trim_end().rsplit_once(' ')?;
    let (name, state) = rest.trim_end().rsplit_once(' ')?;
    Some((name.trim_end(), state, pid))
}

/// LXC's states (src/lxc/state.c): until a container is frozen, and until it has stopped, its processes run.
fn state(word: &str) -> ContainerState {
    match word {
        "RUNNING" | "FREEZING" | "THAWED" | "STOPPING" | "ABORTING" => ContainerState::Running,
        "FROZEN" => ContainerState::Paused,
        "STOPPED" | "STARTING" => ContainerState::Stopped,
        _ => ContainerState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use stocktake_core::model::Text;

    use super::*;

    /// Recorded from LXC 5.0.2 and Linux 6.18.
    fn recorded(file: &str) -> String {
        std::fs::read_to_string(format!("{}/testdata/{file}", env!("CARGO_MANIFEST_DIR"))).expect(file)
    }

    fn read(table: &str) -> Vec<(Text, ContainerState)> {
        let containers = containers(table, |_| None).unwrap();
        containers.into_iter().map(|container| (container.name, container.state)).collect()
    }

    fn expected(rows: &[(&str, ContainerState)]) -> Vec<(Text, ContainerState)> {
        rows.iter().map(|(name, state)| ((*name).into(), *state)).collect()
    }

    #[test]
    fn reads_the_table() {
        use ContainerState::{Paused, Running, Stopped};
        let rows = [("old", Stopped), ("paused", Paused), ("web", Running), ("with space", Stopped)];
        assert_eq!(read(&recorded("lxc-ls-5.0.txt")), expected(&rows));
        assert_eq!(read(""), [], "nothing is printed where there is no container");
    }

    #[test]
    fn asks_when_a_process_was_started_by_its_id() {
        let started = |pid: &str| Some(Timestamp::from_second(pid.parse().ok()?).unwrap());
        let containers = containers(&recorded("lxc-ls-5.0.txt"), started).unwrap();
        let started: Vec<Option<i64>> =
            containers.iter().map(|container| container.started_at.map(Timestamp::as_second)).collect();
        assert_eq!(started, [None, Some(12372), Some(12368), None]);
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        use ContainerState::{Stopped, Unknown};
        // Asked by a user who may not talk to the monitors, and with a folder whose name has two lines.
        let table = recorded("lxc-ls-5.0-other-user.txt");
        let rows = [
            ("new", Unknown),
            ("line", Stopped),
            ("old", Stopped),
            ("paused", Unknown),
            ("web", Unknown),
            ("with space", Stopped),
        ];
        assert_eq!(read(&table), expected(&rows));
        // Hand-written: a state of another version.
        assert_eq!(read("NAME STATE PID\nweb DREAMING 1\n"), expected(&[("web", Unknown)]));
    }

    #[test]
    fn something_else_than_the_table_is_an_error() {
        // Hand-written.
        for text in ["NAME STATE AUTOSTART\nweb RUNNING 0\n", "\n", "web RUNNING 1\n"] {
            let error = containers(text, |_| None).unwrap_err();
            assert!(matches!(error, CollectError::Protocol { .. }), "{text:?}: {error}");
        }
    }

    #[test]
    fn tells_when_a_process_was_started() {
        let stat = recorded("pid-stat.txt");
        let started = Some(Timestamp::from_second(1_795_563_001 + 903).unwrap());
        assert_eq!(boot_time("cpu 1 2\nbtime 1795563001\nprocesses 3\n"), Some(1_795_563_001));
        assert_eq!(started_at(&stat, 1_795_563_001), started);
        assert_eq!(started_at(&stat.replace("(busybox)", "(a) b (c)"), 1_795_563_001), started);
        assert_eq!(started_at(&stat, i64::MAX), None);
        assert_eq!(started_at("12368 (busybox) S 1", 0), None);
        assert_eq!(boot_time("cpu 1 2\n"), None);
    }
}
