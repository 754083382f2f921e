//! `submit`: delivers a report that was written to a file.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use stocktake_core::wire::{Outcome, leading_skippable};

use super::client;
use crate::{cli::Server, failure::Failure, output::Output, say};

pub(super) async fn run(file: &Path, server: &Server) -> Result<(), Failure> {
    let bytes = read(file)?;
    // The server looks at all of it; what is no bundle at all need not travel.
    if !matches!(leading_skippable(&bytes), Ok(Some(_))) {
        let advice = "`stocktake-agent collect --output FILE` makes one";
        return Err(Failure::Usage(format!("{} is no bundle; {advice}", named(file))));
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

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)).map(drop)
    };
    read.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", named(file))))?;
    Ok(bytes)
}

fn named(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { say::plain(&file.display().to_string()) }
}
