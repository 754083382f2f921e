//! `check`: is the configuration sound, does each runtime answer, and may everything be read?

use std::io;

use anstyle::{AnsiColor, Style};
use futures_util::future::join_all;
use stocktake_core::{
    Registry,
    model::{Coverage, Source},
};

use super::configuration;
use crate::{
    cli::Check,
    config::Configuration,
    exit::Exit,
    observe::{Observation, observe},
    render::{describe, plain},
};

pub(super) async fn run(arguments: Check, registry: &Registry) -> anyhow::Result<Exit> {
    let Configuration { collectors, filters, .. } = match configuration(&arguments.source, registry).await {
        Ok(configuration) => configuration,
        Err(exit) => return Ok(exit),
    };
    let mut out = anstream::AutoStream::auto(io::stdout());
    let width = collectors.iter().map(|collector| collector.name.len()).chain(["configuration".len()]).max();
    let mut list = Checklist { out: &mut out, width: width.unwrap_or_default() };
    if let Some(path) = &arguments.source.config {
        list.line("ok", "configuration", &path.display().to_string())?;
    }
    // Looking is the only way to know what may be looked at.
    let observations = join_all(collectors.iter().map(|collector| observe(collector, &filters))).await;
    for Observation { source, .. } in &observations {
        list.source(source)?;
    }
    Ok(Exit::of(&observations))
}

struct Checklist<'a, W> {
    out: &'a mut W,
    width: usize,
}

impl<W: io::Write> Checklist<'_, W> {
    fn source(&mut self, source: &Source) -> io::Result<()> {
        let what = describe(source).unwrap_or_else(|| source.kind.to_string());
        let seen = source.scopes.iter().filter(|scope| scope.coverage.is_complete()).count();
        let number = source.scopes.len();
        match &source.coverage {
            Coverage::Complete if seen == number => {
                self.line("ok", &source.collector, &format!("{what}, {}", scopes(number)))?;
            }
            coverage if coverage.has_seen() => {
                self.line("partly", &source.collector, &format!("{what}, {seen} of {}", scopes(number)))?;
                self.reason("source", coverage)?;
            }
            coverage => self.line("failed", &source.collector, coverage.reason().unwrap_or_default())?,
        }
        if source.coverage.has_seen() {
            for scope in &source.scopes {
                self.reason(&scope.id.to_string(), &scope.coverage)?;
            }
        }
        source.warnings.iter().try_for_each(|warning| self.detail(&format!("warning: {}", warning.message)))
    }

    fn reason(&mut self, what: &str, coverage: &Coverage) -> io::Result<()> {
        coverage.reason().map_or(Ok(()), |reason| self.detail(&format!("{} {what}: {reason}", coverage.status())))
    }

    fn detail(&mut self, text: &str) -> io::Result<()> {
        let indent = self.width + 10;
        writeln!(self.out, "{:indent$}{}", "", plain(text))
    }

    fn line(&mut self, word: &str, name: &str, text: &str) -> io::Result<()> {
        let colour = match word {
            "ok" => AnsiColor::Green,
            "partly" => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let width = self.width;
        writeln!(self.out, "{style}{word:6}{style:#}  {name:width$}  {}", plain(text))
    }
}

fn scopes(number: usize) -> String {
    if number == 1 { "1 scope".to_owned() } else { format!("{number} scopes") }
}
