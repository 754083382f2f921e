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
    let imported = import(&text, registry);
    for told in &imported.told {
        let message = line(&name, told);
        match told.level {
            Level::Note => say::note(&message),
            Level::Warning | Level::Unknown => say::warning(&message),
            Level::Error => say::error(&message),
        }
    }
    io::stdout().write_all(imported.text.as_deref().unwrap_or_default().as_bytes())?;
    Ok(exit(&imported))
}

fn exit(Imported { text, told }: &Imported) -> Exit {
    match text {
        None => Exit::Config,
        Some(_) if told.iter().any(|told| told.level == Level::Unknown) => Exit::Incomplete,
        Some(_) => Exit::Success,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_ends() {
        let registry = Registry::linked().unwrap();
        let ends = |text| exit(&import(text, &registry));
        assert_eq!(ends("mode: periodic\n"), Exit::Success);
        assert_eq!(ends("mode: periodic\nmood: good\n"), Exit::Incomplete);
        assert_eq!(ends("mode: periodic\n- a\n"), Exit::Config);
        assert_eq!(ends("polling-interval-seconds: 0\n"), Exit::Config);
    }

    #[test]
    fn a_line_is_as_complaints_about_a_configuration_are() {
        let told = |number, key: &str| Told { level: Level::Note, line: number, key: key.into(), message: "b".into() };
        assert_eq!(line("kai.yaml", &told(Some(3), "a.c")), "kai.yaml:3: a.c: b");
        assert_eq!(line("kai.yaml", &told(None, "")), "kai.yaml: b");
    }
}
