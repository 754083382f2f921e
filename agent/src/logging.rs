//! The log, on stderr.

use std::{io::IsTerminal as _, panic};

use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;

/// Starts the log. `STOCKTAKE_LOG` goes before the number of `--verbose` flags.
pub(crate) fn start(format: LogFormat, verbose: u8) {
    // kube's client logs as an error what it also returns as one; collectors report it in their own words.
    let level = match verbose {
        0 => "warn,kube_client=off",
        1 => "info,kube_client=off",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("STOCKTAKE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
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
