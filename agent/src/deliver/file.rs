//! The target `file`: each report as lines of JSON in a file, of which the former ones are kept compressed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use stocktake_core::ConfigError;
use tokio::task::spawn_blocking;

use super::{
    Failure, Parcel, Sent, Target, TargetContext, TargetKind,
    stdout::{Counting, lines},
};

pub(crate) const KIND: TargetKind = TargetKind {
    kind: "file",
    summary: "a file: one line a report, source, scope and thing in it; former files are kept, compressed by zstd",
    schema: || schemars::schema_for!(Settings),
    build,
};

/// What `[targets.NAME]` of this type can hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// The file that is written. Former ones stand beside it: `reports.ndjson.1.zst` is the latest of them.
    #[schemars(example = "/var/log/stocktake/reports.ndjson")]
    path: PathBuf,

    /// How large it may become before another one is begun. A report is never divided.
    #[serde(default = "default_max_size")]
    #[schemars(with = "String", example = "64MiB")]
    max_size: ByteSize,

    /// How many former files are kept.
    #[serde(default = "default_keep")]
    #[schemars(example = 5)]
    keep: u32,
}

fn default_max_size() -> ByteSize {
    ByteSize::mib(64)
}

fn default_keep() -> u32 {
    5
}

fn build(settings: Value, _: &TargetContext) -> Result<Box<dyn Target>, ConfigError> {
    let settings: Settings = ConfigError::deserialize(settings)?;
    if settings.path.file_name().is_none() {
        return Err(ConfigError::new("path", "it names no file"));
    }
    Ok(Box::new(ToFile(settings)))
}

struct ToFile(Settings);

#[async_trait]
impl Target for ToFile {
    async fn deliver(&mut self, parcel: &Arc<Parcel>) -> Result<Sent, Failure> {
        let (settings, parcel) = (self.0.clone(), Arc::clone(parcel));
        let path = settings.path.display().to_string();
        let written = spawn_blocking(move || settings.append(&parcel));
        written.await.map_err(io::Error::other).flatten().map_err(|error| Failure::Later {
            after: None,
            status: "write".to_owned(),
            message: format!("cannot write {path}: {error}"),
        })
    }
}

impl Settings {
    fn append(&self, parcel: &Parcel) -> io::Result<Sent> {
        let before = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if before >= self.max_size.as_u64() {
            self.rotate()?;
        }
        let file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(&self.path)?;
        // An attempt that was given up, of an agent that has another configuration now, may still be writing.
        file.lock()?;
        let before = end_of_last_line(&file)?;
        file.set_len(before)?;
        let mut out = Counting { inner: BufWriter::with_capacity(1 << 16, &file), bytes: 0 };
        let written = lines(parcel, &mut out).and_then(|()| out.flush());
        let bytes = out.bytes;
        drop(out);
        match written.and_then(|()| file.sync_all()).and_then(|()| self.sync_folder()) {
            Ok(()) => Ok(Sent { bytes, requests: 1 }),
            Err(error) => {
                // Half a report is none. Whoever reads meanwhile may have seen it; the next attempt writes it whole.
                file.set_len(before)?;
                Err(error)
            }
        }
    }

    /// Every former file becomes one older, and the file itself the latest of them. Nothing is moved before the rest is sure.
    fn rotate(&self) -> io::Result<()> {
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        let mut unfinished = self.path.clone().into_os_string();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        if let Err(error) = compress(&self.path, &unfinished) {
            // It would only take room, and is written over next time if it cannot be removed.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        for number in (1..self.keep).rev() {
            match fs::rename(self.former(number), self.former(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&unfinished, self.former(1))?;
        fs::remove_file(&self.path)?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    fn former(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}.zst"));
        name.into()
    }
}

/// Behind the last line that is whole: an agent that was killed may have left half of one.
fn end_of_last_line(mut file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut part = [0; 4096];
    while end > 0 {
        let begin = end.saturating_sub(4096);
        let part = &mut part[..usize::try_from(end - begin).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(part)?;
        if let Some(place) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + u64::try_from(place).map_err(io::Error::other)? + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let to = OpenOptions::new().create(true).write(true).truncate(true).mode(0o640).open(to)?;
    let mut encoder = zstd::stream::write::Encoder::new(&to, 0)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?;
    to.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundle, render::sample};

    fn parcel() -> Parcel {
        let inventory = sample::inventory(vec![sample::docker(vec![sample::container("1", "app:1")], Vec::new())]);
        bundle::read(&bundle::write(&inventory.report, &inventory.scopes, None).unwrap(), None).unwrap()
    }

    fn settings(folder: &Path, max_size: u64) -> Settings {
        Settings { path: folder.join("reports.ndjson"), max_size: ByteSize(max_size), keep: 2 }
    }

    #[test]
    fn half_a_report_of_an_agent_that_was_killed_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let to = settings(folder.path(), 1 << 20);
        to.append(&parcel()).unwrap();
        let whole = fs::read_to_string(&to.path).unwrap();
        fs::write(&to.path, format!("{whole}{}", &whole[..whole.len() / 3].trim_end())).unwrap();
        to.append(&parcel()).unwrap();
        let text = fs::read_to_string(&to.path).unwrap();
        assert!(text.starts_with(&whole) && text.ends_with(&whole));
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    }

    #[test]
    fn former_files_are_kept_and_none_is_lost_where_one_cannot_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let to = settings(folder.path(), 1);
        let read = |number: u32| zstd::decode_all(File::open(to.former(number)).unwrap()).unwrap();
        to.append(&parcel()).unwrap();
        let whole = fs::read(&to.path).unwrap();
        to.append(&parcel()).unwrap();
        to.append(&parcel()).unwrap();
        assert_eq!((read(1), read(2), fs::read(&to.path).unwrap()), (whole.clone(), whole.clone(), whole.clone()));
        // No room for another one.
        let blocked = folder.path().join("reports.ndjson.unfinished");
        fs::create_dir(&blocked).unwrap();
        for _ in 0..3 {
            to.append(&parcel()).unwrap_err();
        }
        assert_eq!((read(1), read(2), fs::read(&to.path).unwrap()), (whole.clone(), whole.clone(), whole.clone()));
        fs::remove_dir(&blocked).unwrap();
        to.append(&parcel()).unwrap();
        assert!(!to.former(3).exists());
    }
}
