//! The log, on stderr.

use std::panic;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

use crate::{cli::LogFormat, say};

/// What client libraries may log at the most: beyond it bollard prints whole answers, with the command lines of
/// containers in them, and kube logs as an error what it also returns as one.
const CLIENTS: [(&str, &str); 2] = [("bollard", "bollard=info"), ("kube_client", "kube_client=off")];

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
    let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A second start in one process (a program that calls the agent twice) keeps the first log.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // A collector's panic is a failed source and goes on; it belongs into the log, in the log's form.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", info.payload_as_str().unwrap_or("no message"));
    }));
}

/// A filter in which a client library is named only if it is named in `text`.
fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let unnamed = CLIENTS.iter().filter(|(name, _)| !text.contains(name)).map(|(_, directive)| *directive);
    EnvFilter::try_new(std::iter::once(text).chain(unnamed).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_libraries_are_quiet_unless_they_are_named() {
        let quiet = filter("debug").unwrap().to_string();
        assert!(quiet.contains("bollard=info") && quiet.contains("kube_client=off"), "{quiet}");
        let named = filter("debug,bollard=trace").unwrap().to_string();
        assert!(named.contains("bollard=trace") && !named.contains("bollard=info"), "{named}");
        assert!(filter("bad[").is_err());
    }
}
