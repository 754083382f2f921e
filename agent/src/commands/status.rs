//! `status`: ask the agent that runs how it is.

use std::{
    io::{self, BufWriter, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    cli::{self, StatusFormat},
    config::{Place, load_telemetry},
    exit::Exit,
    render, say,
    telemetry::{AskError, Status, ask, usual_places},
};

/// Where `run` has its configuration where nothing is said.
const USUAL_CONFIG: &str = "/etc/stocktake/agent.toml";

pub(super) async fn run(arguments: cli::Status) -> anyhow::Result<Exit> {
    let places = match places(&arguments) {
        Ok(places) => places,
        Err(exit) => return Ok(exit),
    };
    let status = match first_answer(&places).await {
        Ok(status) => status,
        Err(complaint) => {
            say::error(&complaint);
            return Ok(Exit::Unavailable);
        }
    };
    let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout()));
    match arguments.format {
        StatusFormat::Table => render::status(&status, render::terminal_width(), &mut out)?,
        StatusFormat::Json => {
            serde_json::to_writer_pretty(&mut out, &status).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(exit(&status, arguments.alive))
}

/// How an agent with this status is told: whether it is ready, or with `--alive` whether it is at work.
fn exit(status: &Status, is_asked_alive: bool) -> Exit {
    let is_well = if is_asked_alive { status.alive } else { status.ready };
    if is_well { Exit::Success } else { Exit::Incomplete }
}

/// Where an agent may be asked.
fn places(arguments: &cli::Status) -> Result<Vec<PathBuf>, Exit> {
    if let Some(socket) = &arguments.socket {
        return Ok(vec![socket.clone()]);
    }
    let usual = Path::new(USUAL_CONFIG);
    // Who may not read it may still ask at the usual socket.
    let usual = usual.exists().then_some(usual).filter(|path| std::fs::File::open(path).is_ok());
    let Some(config) = arguments.config.as_deref().or(usual) else { return Ok(usual_places()) };
    match load_telemetry(config) {
        Ok(settings) => match settings.socket {
            Place::At(path) => Ok(vec![path]),
            Place::Usual => Ok(usual_places()),
            Place::Off => {
                say::error(&format!(
                    "the agent of {} cannot be asked: `socket` of `[telemetry]` is `off`",
                    config.display()
                ));
                Err(Exit::Unavailable)
            }
        },
        Err(invalid) => {
            invalid.complaints().for_each(|complaint| say::error(&complaint));
            Err(Exit::Config)
        }
    }
}

/// Asks at one place after the other. What stands in the way of an answer where nobody answers.
async fn first_answer(places: &[PathBuf]) -> Result<Status, String> {
    let mut complaint = None;
    for place in places {
        match ask(place).await {
            Ok(status) => return Ok(status),
            // The other place may have it, and is not worth a word where it does not.
            Err(AskError::Connect(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                complaint.get_or_insert(format!(
                    "cannot ask the agent at {}: {error}{}",
                    place.display(),
                    hint(&error)
                ));
            }
        }
    }
    Err(complaint.unwrap_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "no agent runs: there is no {}\n\
             hint: start one (`stocktake-agent run`), or say where it can be asked (--socket PATH, or --config FILE of the agent)",
            places.join(" and no ")
        )
    }))
}

fn hint(error: &AskError) -> &'static str {
    match error {
        AskError::Connect(error) => match error.kind() {
            ErrorKind::PermissionDenied => "\nhint: ask as the agent's own user, or as root",
            ErrorKind::ConnectionRefused => {
                "\nhint: the agent that had this socket does not run any more; start it (`stocktake-agent run`)"
            }
            _ => "",
        },
        AskError::Hangs => "\nhint: the agent's log may say what it does; `/livez` says whether it reports",
        AskError::Protocol(_) => "\nhint: is this the agent's socket, and the agent of this version?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn who_is_dead_or_not_ready_is_told_by_the_exit_status() {
        let mut found = Telemetry::default().status();
        for (alive, ready) in [(false, false), (false, true), (true, false), (true, true)] {
            (found.alive, found.ready) = (alive, ready);
            let told = |is_well| if is_well { Exit::Success } else { Exit::Incomplete };
            assert_eq!(exit(&found, true), told(alive), "alive: {alive}, ready: {ready}");
            assert_eq!(exit(&found, false), told(ready), "alive: {alive}, ready: {ready}");
        }
    }

    /// A wrong configuration does not keep a probe from asking at the socket that it names.
    #[test]
    fn who_names_a_socket_asks_there_whatever_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("agent.toml");
        std::fs::write(&config, "this is no TOML").unwrap();
        let asked = |socket: Option<&str>| cli::Status {
            socket: socket.map(PathBuf::from),
            config: Some(config.clone()),
            format: StatusFormat::Json,
            alive: true,
        };
        assert_eq!(places(&asked(Some("/run/agent.sock"))), Ok(vec![PathBuf::from("/run/agent.sock")]));
        assert_eq!(places(&asked(None)), Err(Exit::Config));
    }
}
