//! An OCI layout, read without what wrote it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use stocktake_tests::tools;

/// A layout with one image.
pub(crate) struct Layout(PathBuf);

impl Layout {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The layout's path and tag, as skopeo wants them.
    pub(crate) fn reference(&self) -> String {
        let tag = &self.index()["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
        format!("oci:{}:{}", self.0.display(), tag.as_str().expect("the image has a tag"))
    }

    /// The digest of its only manifest.
    pub(crate) fn digest(&self) -> String {
        let index = self.index();
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{index}");
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn manifest(&self) -> Value {
        self.json(&self.digest())
    }

    /// The image's configuration: platform, `config`, history.
    pub(crate) fn configuration(&self) -> Value {
        self.json(self.manifest()["config"]["digest"].as_str().unwrap())
    }

    /// Mode and owner of each file and folder, and the sizes of files.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap());
        layers.flat_map(|digest| files(&self.blob(digest))).collect()
    }

    /// A file of whichever layer has it, in `folder`.
    pub(crate) fn extract(&self, path: &str, folder: &Path) -> PathBuf {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap());
        let layer = layers.map(|digest| self.blob(digest)).find(|layer| files(layer).contains_key(path));
        let layer = layer.unwrap_or_else(|| panic!("no layer has {path}"));
        tools::output(
            Command::new("tar").arg("--extract").arg("--file").arg(layer).arg("--directory").arg(folder).arg(path),
        );
        folder.join(path)
    }

    /// The contents of a file.
    pub(crate) fn read(&self, path: &str) -> String {
        let first = self.manifest()["layers"][0]["digest"].as_str().unwrap().to_owned();
        tools::output(Command::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(self.blob(&first)).arg(path))
    }

    fn index(&self) -> Value {
        let text = fs::read_to_string(self.0.join("index.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&fs::read(self.blob(digest)).unwrap()).unwrap()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    }
}

/// What tar tells of an archive: `drwxr-xr-x 0/0` or, of a file, `-rw-r--r-- 0/0 SIZE`, by path.
pub(crate) fn files(archive: &Path) -> BTreeMap<String, String> {
    let mut tar = Command::new("tar");
    let list = tools::output(tar.args(["--list", "--verbose", "--numeric-owner", "--file"]).arg(archive));
    let entry = |line: &str| {
        // Mode, owner, size, date, time, path.
        let words: Vec<_> = line.split_whitespace().collect();
        let size = if words[0].starts_with('d') { String::new() } else { format!(" {}", words[2]) };
        let path = words[5].trim_start_matches("./").trim_end_matches('/');
        (path.to_owned(), format!("{} {}{size}", words[0], words[1]))
    };
    list.lines().map(entry).collect()
}
