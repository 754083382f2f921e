//! `submit`: delivers a report that was written to a file.

use std::{io::Write as _, path::Path};

use stocktake_core::wire::{Outcome, leading_skippable};

use super::{client, files};
use crate::{cli::Server, failure::Failure, output::Output};

pub(super) async fn run(file: &Path, server: &Server) -> Result<(), Failure> {
    let bytes = files::read(file)?;
    // The server looks at all of it; what is no bundle at all need not travel.
    if !matches!(leading_skippable(&bytes), Ok(Some(_))) {
        let advice = "`stocktake-agent collect --output FILE` makes one";
        return Err(Failure::Usage(format!("{} is no bundle; {advice}", files::named(file))));
    }
    let receipt = client(server)?.submit(bytes.into()).await?;
    let outcome = match receipt.outcome {
        Outcome::Accepted => "accepted",
        Outcome::Known => "known before, which changed nothing",
        Outcome::Other => "kept, with a word of a newer server's on it",
    };
    let mut out = Output::of_process();
    writeln!(out, "{}: {outcome}, received at {:.0}", receipt.report, receipt.received_at)?;
    out.flush()?;
    Ok(())
}
