//! Sockets with something else than containerd, or than CRI, behind them.

use std::{io::Write as _, os::unix::net::UnixListener, path::PathBuf, thread};

use stocktake_tests::needs;
use tempfile::TempDir;

use crate::{HANGS, assert_only_the_faulty_one_failed, collect_beside_a_sound_one};

/// Collectors that speak gRPC, each with what it calls the other side.
const KINDS: [(&str, &str); 2] = [("containerd", "containerd at /"), ("cri", "CRI at /")];

/// A socket that greets with `greeting` and then listens, or hangs up.
fn socket(greeting: &'static [u8], hangs_up: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("containerd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(greeting));
            if !hangs_up {
                kept.push(stream);
            }
        }
    });
    (folder, path)
}

/// Each of [`KINDS`] fails with these settings, and says `told`, or who it takes the other side for.
fn assert_fails(greeting: &'static [u8], hangs_up: bool, settings: &str, told: Option<&str>) {
    for (kind, other_side) in KINDS {
        let (_folder, path) = socket(greeting, hangs_up);
        let run = collect_beside_a_sound_one(kind, &format!("address = '{}'\n{settings}", path.display()));
        assert_only_the_faulty_one_failed(&run, told.unwrap_or(other_side));
    }
}

#[test]
fn a_daemon_that_accepts_and_says_nothing_is_given_up_in_time() {
    needs!("docker");
    assert_fails(b"", false, HANGS, Some("within 2s"));
}

#[test]
fn a_daemon_that_hangs_up_has_failed() {
    needs!("docker");
    assert_fails(b"", true, "", None);
}

#[test]
fn what_does_not_speak_http_2_has_failed() {
    needs!("docker");
    // Read as the head of a frame, it announces three megabytes, for which the client may wait.
    assert_fails(b"220 smtp.example.com ESMTP\r\n", false, HANGS, Some(""));
    assert_fails(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true, "", None);
    // A settings frame with an odd length, which is a protocol error.
    assert_fails(b"\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00", false, "", None);
}

/// Docker's socket is the one that is most easily taken for it.
#[test]
fn dockers_socket_is_not_containerds() {
    needs!("docker");
    for (kind, other_side) in KINDS {
        let run = collect_beside_a_sound_one(kind, &format!("address = '{}'", stocktake_tests::bed::DOCKER));
        assert_only_the_faulty_one_failed(&run, other_side);
    }
}

#[test]
fn containerds_socket_is_not_dockers() {
    needs!("docker", "containerd");
    let run = collect_beside_a_sound_one("docker", &format!("host = 'unix://{}'", stocktake_tests::bed::CONTAINERD));
    assert_only_the_faulty_one_failed(&run, "docker at unix://");
}
