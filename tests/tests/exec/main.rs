//! Collectors that are programs of their own, through the agent: in shell, in Rust, and with every fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod document;
mod faults;
mod rust;
mod shell;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use stocktake_tests::tools;
use tempfile::TempDir;

/// A program in a folder of its own.
struct Program {
    folder: TempDir,
}

impl Program {
    fn new(text: &str) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        let source = program.file("source");
        fs::write(&source, text).unwrap();
        tools::copy_program(&source, program.path());
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn path(&self) -> PathBuf {
        self.file("program")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The part of a configuration that runs it, which further settings may follow. `$DIR` is its folder.
    fn config(&self, name: &str) -> String {
        let folder = self.folder.path().display();
        format!("[collectors.{name}]\ntype = 'exec'\n{}\nenvironment = {{ DIR = '{folder}' }}\n", command(&self.path()))
    }
}

fn command(path: &Path) -> String {
    format!("command = ['{}']", path.display())
}
