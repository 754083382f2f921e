//! `config import`: another program's configuration as one of ours.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use stocktake_core::Registry;

use crate::{
    exit::Exit,
    import::{Imported, Level, Told, import},
    say,
};

pub(super) fn run(file: &Path, registry: &Registry) -> anyhow::Result<Exit> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let text = match contents(file) {
        Ok(text) => text,
        Err(error) => {
            say::error(&format!("{name}: cannot read the configuration: {error}"));
            return Ok(Exit::Config);
        }
    };
    let Imported { text, told } = import(&text, registry);
    for told in &told {
        let message = line(&name, told);
        match told.level {
            Level::Note => say::note(&message),
            Level::Warning | Level::Unknown => say::warning(&message),
            Level::Error => say::error(&message),
        }
    }
    let Some(text) = text else { return Ok(Exit::Config) };
    io::stdout().write_all(text.as_bytes())?;
    let is_unknown = told.iter().any(|told| told.level == Level::Unknown);
    Ok(if is_unknown { Exit::Incomplete } else { Exit::Success })
}

fn contents(file: &Path) -> io::Result<String> {
    if file != Path::new("-") {
        return fs::read_to_string(file);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// As complaints about a configuration are told.
fn line(name: &str, Told { line, key, message, .. }: &Told) -> String {
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
    format!("{name}{line}: {key}{message}")
}
