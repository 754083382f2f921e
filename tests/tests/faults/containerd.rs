//! Sockets with something else than containerd behind them.

use std::{io::Write as _, os::unix::net::UnixListener, path::PathBuf, thread};

use stocktake_tests::needs;
use tempfile::TempDir;

use crate::{assert_only_the_faulty_one_failed, collect_beside_a_sound_one};

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

fn assert_fails(greeting: &'static [u8], hangs_up: bool, told: &str) {
    let (_folder, path) = socket(greeting, hangs_up);
    let run = collect_beside_a_sound_one("containerd", &format!("address = '{}'", path.display()));
    assert_only_the_faulty_one_failed(&run, told);
}

#[test]
fn a_daemon_that_accepts_and_says_nothing_is_given_up_in_time() {
    needs!("docker");
    assert_fails(b"", false, "within 2s");
}

#[test]
fn a_daemon_that_hangs_up_has_failed() {
    needs!("docker");
    assert_fails(b"", true, "containerd at /");
}

#[test]
fn what_does_not_speak_http_2_has_failed() {
    needs!("docker");
    // Read as the head of a frame, it announces three megabytes, for which the client may wait.
    assert_fails(b"220 smtp.example.com ESMTP\r\n", false, "");
    assert_fails(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true, "containerd at /");
    // A settings frame with an odd length, which is a protocol error.
    assert_fails(b"\x00\x00\x01\x04\x00\x00\x00\x00\x00\x00", false, "containerd at /");
}

/// Docker's socket is the one that is most easily taken for it.
#[test]
fn dockers_socket_is_not_containerds() {
    needs!("docker");
    let run = collect_beside_a_sound_one("containerd", &format!("address = '{}'", stocktake_tests::bed::DOCKER));
    assert_only_the_faulty_one_failed(&run, "containerd at /");
}

#[test]
fn containerds_socket_is_not_dockers() {
    needs!("docker", "containerd");
    let run = collect_beside_a_sound_one("docker", &format!("host = 'unix://{}'", stocktake_tests::bed::CONTAINERD));
    assert_only_the_faulty_one_failed(&run, "docker at unix://");
}
