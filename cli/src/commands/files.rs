//! Files that a person names, one of which may be standard input.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::{failure::Failure, say};

/// All that is in a file, or comes from standard input if it is `-`.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)).map(drop)
    };
    read.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", named(file))))?;
    Ok(bytes)
}

/// How a person is told of it.
pub(super) fn named(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { say::plain(&file.display().to_string()) }
}
