//! Asking before something is lost.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::{failure::Failure, say};

/// What is wrong with a command that has to be confirmed, before anything else is looked at.
pub(super) fn can_be_asked(what: &str, is_said: bool) -> Result<(), Failure> {
    if is_said || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(format!("this deletes {what}, and there is no terminal to ask at; say -y if it is meant")))
}

/// Asks, unless it is said already.
pub(super) fn confirm(what: &str, is_said: bool) -> Result<(), Failure> {
    if is_said || agrees(what)? { Ok(()) } else { Err(Failure::Refused("nothing was deleted".into())) }
}

fn agrees(what: &str) -> io::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "delete {}? [y/N] ", say::plain(what))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
