//! The target `stdout`: each report as lines of JSON, as `watch --format ndjson` has them.

use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use stocktake_core::{
    ConfigError,
    unify::{Conclusions, Document},
};
use tokio::task::spawn_blocking;

use super::{Failure, Parcel, Sent, Target, TargetContext, TargetKind};
use crate::render;

pub(crate) const KIND: TargetKind = TargetKind {
    kind: "stdout",
    summary: "standard output, for who starts the agent: one line a report, source, scope and thing in it",
    schema: || schemars::schema_for!(Settings),
    build,
};

/// What `[targets.NAME]` of this type can hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {}

fn build(settings: Value, _: &TargetContext) -> Result<Box<dyn Target>, ConfigError> {
    let Settings {} = ConfigError::deserialize(settings)?;
    Ok(Box::new(Stdout))
}

struct Stdout;

#[async_trait]
impl Target for Stdout {
    async fn deliver(&mut self, parcel: &Arc<Parcel>) -> Result<Sent, Failure> {
        let parcel = Arc::clone(parcel);
        let written = spawn_blocking(move || {
            let mut out = Counting { inner: BufWriter::with_capacity(1 << 16, io::stdout()), bytes: 0 };
            lines(&parcel, &mut out)?;
            out.flush()?;
            Ok(Sent { bytes: out.bytes, requests: 1 })
        });
        written.await.map_err(io::Error::other).flatten().map_err(|error: io::Error| Failure::Later {
            after: None,
            status: "write".to_owned(),
            message: format!("cannot write to standard output: {error}"),
        })
    }
}

/// A report with all that it names.
pub(super) fn lines(parcel: &Parcel, out: &mut impl io::Write) -> io::Result<()> {
    let (report, scopes) = parcel.contents()?;
    let conclusions = Conclusions::of(&report.sources, &scopes);
    render::ndjson(&Document { report: &report, scopes: &scopes, unified: &conclusions }, out)
}

/// Counts what is written.
pub(super) struct Counting<W> {
    pub(super) inner: W,
    pub(super) bytes: u64,
}

impl<W: io::Write> io::Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
