//! What Docker builds is what the script makes. Toolchains cannot be had without a registry, so that the program is any
//! program, and the first stage a plain Debian.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use stocktake_tests::{bed, cleanup::Cleanup, needs, repository, tools};

use crate::{
    images::{NAMES, build},
    layout::files,
};

const STAND_IN: &str = "stocktake-tests/plain-debian:packages";
const LABEL: &str = "stocktake-tests=packages";
const SOURCE: &str = "https://example.com/stocktake";

#[test]
fn docker_builds_the_image_that_the_script_makes() {
    needs!("root", "docker");
    let _debian = import_debian();
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let ours = build(name, folder.path(), &["--source", SOURCE]);
        let configuration = ours.configuration();
        let built = docker_build(name, &configuration["config"]["Labels"], folder.path());
        let theirs = inspect(&built.0);
        for key in ["User", "Env", "Entrypoint", "Cmd", "WorkingDir", "ExposedPorts", "Labels"] {
            assert_eq!(theirs[0]["Config"][key], configuration["config"][key], "{name}: {key}");
        }
        let mut expected = ours.files();
        // The C library of a program that is not linked statically.
        expected.retain(|path, _| !path.starts_with("lib"));
        let archive = folder.path().join("exported.tar");
        assert_eq!(exported(&built.0, &archive), expected, "{name}");
        for file in ["etc/passwd", "etc/group", "etc/nsswitch.conf"] {
            let mut tar = Command::new("tar");
            let theirs = tools::output(tar.args(["--extract", "--to-stdout", "--file"]).arg(&archive).arg(file));
            assert_eq!(theirs, ours.read(file), "{name}: {file}");
        }
    }
}

/// The plain Debian as an image, until it is let go.
fn import_debian() -> Cleanup<impl FnMut()> {
    let mut tar = Command::new("tar");
    // What the first stage uses.
    tar.arg("--directory").arg(super::debian_root()).args(["--create", "--one-file-system"]);
    tar.args(["--exclude=./usr/share/doc", "--exclude=./usr/share/locale", "--exclude=./var/lib", "."]);
    let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
    let mut import = tools::docker(bed::DOCKER);
    // By the label the first stages are found, which have no name.
    tools::output(
        import.args(["import", "--change", &format!("LABEL {LABEL}"), "-", STAND_IN]).stdin(tar.stdout.take().unwrap()),
    );
    assert!(tar.wait().unwrap().success(), "tar failed");
    Cleanup::new(|| {
        let filter = format!("label={LABEL}");
        tools::output(tools::docker(bed::DOCKER).args(["image", "prune", "--force", "--filter", &filter]));
        remove(STAND_IN);
    })
}

fn remove(image: &str) {
    tools::output(tools::docker(bed::DOCKER).args(["rmi", "--force", image]));
}

/// The Dockerfile with what needs a network, or a quarter of an hour, taken out.
fn without_compiling(name: &str) -> String {
    let path = repository().join(format!("deploy/docker/{name}.Dockerfile"));
    let text = fs::read_to_string(path).unwrap();
    // An instruction ends where a line does not go on.
    let mut instructions: Vec<String> = vec![String::new()];
    for line in text.lines() {
        let last = instructions.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
        if !line.ends_with('\\') {
            instructions.push(String::new());
        }
    }
    let mut taken = 0;
    let mut stand_in = |instruction: String| {
        let begins = |with: &str| instruction.starts_with(with);
        let slow = begins("RUN apt-get update ") || begins("RUN cargo build --locked --release ");
        taken += usize::from(slow || begins("FROM docker.io/library/rust:"));
        if begins("FROM docker.io/library/rust:") {
            format!("FROM {STAND_IN} AS build\n")
        } else if slow {
            String::new()
        } else {
            instruction
        }
    };
    let text: String = instructions.into_iter().map(&mut stand_in).collect();
    assert_eq!(taken, 3, "a base image, its packages and the compiler: {text}");
    text
}

/// An image that goes when it is let go.
struct Built(String);

impl Drop for Built {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn docker_build(name: &str, labels: &Value, folder: &Path) -> Built {
    let context = folder.join("context");
    let release = context.join("target/x86_64-unknown-linux-musl/release");
    fs::create_dir_all(&release).unwrap();
    fs::copy("/usr/bin/true", release.join(format!("stocktake-{name}"))).unwrap();
    let dockerfile: PathBuf = folder.join("Dockerfile");
    fs::write(&dockerfile, without_compiling(name)).unwrap();
    let tag = format!("stocktake-tests/{name}:packages");
    let mut docker = tools::docker(bed::DOCKER);
    // Classic: BuildKit would ask for a directory of the user's own.
    docker.env("DOCKER_BUILDKIT", "0").args([
        "build",
        "--quiet",
        "--force-rm",
        "--network",
        "none",
        "--tag",
        &tag,
        "--file",
    ]);
    docker.arg(&dockerfile);
    for argument in ["version", "revision", "created", "source"] {
        let value = labels[format!("org.opencontainers.image.{argument}")].as_str().unwrap();
        docker.args(["--build-arg", &format!("{}={value}", argument.to_uppercase())]);
    }
    tools::output(docker.arg(&context));
    Built(tag)
}

fn inspect(image: &str) -> Value {
    tools::json(tools::docker(bed::DOCKER).args(["image", "inspect", image]))
}

/// What is in the image, without what Docker puts into each container.
fn exported(image: &str, archive: &Path) -> BTreeMap<String, String> {
    let container = tools::output(tools::docker(bed::DOCKER).args(["create", "--network", "none", image]));
    let container = container.trim().to_owned();
    let _remove = Cleanup::new(|| {
        tools::output(tools::docker(bed::DOCKER).args(["rm", &container]));
    });
    tools::output(tools::docker(bed::DOCKER).args(["export", "--output"]).arg(archive).arg(&container));
    let mut files = files(archive);
    let dockers = ["dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"];
    files.retain(|path, _| !dockers.iter().any(|own| path == own || path.starts_with(&format!("{own}/"))));
    files
}
