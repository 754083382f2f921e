//! A disk that is full.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use stocktake_tests::{load::Fleet, needs, server::Server, tools, wait_until};

use super::UNLIMITED;

const SEED: u64 = 4;
const ROUNDS: usize = 4;

/// A file system of so many MiB, in memory.
struct Disk {
    mount: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn new(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("disk");
        fs::create_dir(&mount).unwrap();
        let size = format!("size={mebibytes}m");
        tools::output(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&mount));
        Self { mount, _folder: folder }
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.mount).status());
    }
}

#[test]
fn a_full_disk_loses_nothing_and_keeps_nobody_from_reading() {
    needs!("root");
    let disk = Disk::new(200);
    let database = disk.mount.join("inventory.db");
    let mut server = Server::over(database.to_str().unwrap(), UNLIMITED);
    let mut fleet = Fleet::new(&server, 12, 60, SEED);
    let mut refused = 0;
    for round in 0..ROUNDS {
        fleet.start();
        sleep(Duration::from_millis(300));
        disk.fill();
        let full = |fleet: &Fleet| fleet.tally().failures().get(&507).copied().unwrap_or_default();
        wait_until("reports to be refused for want of room", || {
            // Room that the database had still: a page here, a page there.
            disk.fill();
            full(&fleet) > refused + 50
        });
        refused = full(&fleet);
        // Who reads is served all the same, and a server that is killed now comes back.
        reads(&fleet, &server);
        if round % 2 == 1 {
            server.kill9();
            server.restart();
            reads(&fleet, &server);
        }
        fleet.stop();
        fleet.check();
        disk.make_room();
        fleet.settle();
        fleet.check();
    }
    assert!(is_whole(&database));
    fleet.conclude("full disk (SQLite)", ROUNDS, &format!("{refused} refused with 507"));
}

fn reads(fleet: &Fleet, server: &Server) {
    for path in ["/v1/containers", "/v1/images", "/v1/changes", "/v1/agents"] {
        let answer = fleet.wait_for(fleet.reader().get(&format!("{}{path}", server.url()))).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

fn is_whole(database: &Path) -> bool {
    fs::metadata(database).is_ok_and(|file| file.len() > 0)
}
