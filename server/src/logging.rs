//! The log, on stderr.

use std::{
    io::{self, IsTerminal as _},
    panic,
};

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::{cli::LogFormat, say};

/// What libraries may log at the most: beyond it sqlx prints every statement, and h2 every frame.
const LIBRARIES: [(&str, &str); 3] = [("sqlx", "sqlx=warn"), ("h2", "h2=info"), ("hyper", "hyper=info")];

/// Starts the log. `STOCKTAKE_LOG` goes before the number of `--verbose` flags.
pub(crate) fn start(format: LogFormat, verbose: u8) {
    say::in_format(format);
    let level = ["warn", "info", "debug"].get(usize::from(verbose)).unwrap_or(&"debug");
    // Set and empty means "not set", as everywhere; to the library it is a filter that lets errors through.
    let chosen = std::env::var("STOCKTAKE_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = filter(chosen.as_deref().unwrap_or(level)).unwrap_or_else(|error| {
        say::warning(&format!("STOCKTAKE_LOG is not a filter and is ignored: {error}"));
        EnvFilter::new(level)
    });
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    // A second start in one process keeps the first log.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A handler's panic is a failed request and the server goes on; it belongs into the log, in the log's form.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", info.payload_as_str().unwrap_or("no message"));
    }));
}

/// A filter in which a library is named only if it is named in `text`.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let unnamed = LIBRARIES.iter().filter(|(name, _)| !text.contains(name)).map(|(_, directive)| *directive);
    EnvFilter::try_new(std::iter::once(text).chain(unnamed).collect::<Vec<_>>().join(","))
}
