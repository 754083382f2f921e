//! Images: what is in them, and that it works where there is nothing else.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    thread,
};

use serde_json::{Value, json};
use stocktake_tests::{bed, cleanup::Cleanup, needs, repository, tools};

use crate::layout::Layout;

pub(crate) const NAMES: [&str; 2] = ["agent", "server"];

pub(crate) fn image(name: &str) -> Layout {
    Layout::new(&super::made("STOCKTAKE_IMAGES", "deploy/images/build --test").join(format!("stocktake-{name}")))
}

#[test]
fn an_image_holds_the_program_and_what_it_needs_and_no_shell() {
    for name in NAMES {
        let mut files = image(name).files();
        let program = files.remove(&format!("usr/bin/stocktake-{name}")).expect("the program");
        assert!(program.starts_with("-rwxr-xr-x 0/0 "), "{program}");
        // The libraries of programs that are not linked statically, which those for tests are not.
        files.retain(|path, _| !path.starts_with("lib"));
        // Sizes are of no interest, but that there are certificates.
        let certificates = files.remove("etc/ssl/certs/ca-certificates.crt").expect("certificates");
        let size: u32 = certificates.strip_prefix("-rw-r--r-- 0/0 ").expect(&certificates).parse().unwrap();
        assert!(size > 100_000, "{certificates}");
        let told: Vec<_> = files
            .iter()
            .map(|(path, told)| {
                let (mode, rest) = told.split_once(' ').unwrap();
                format!("{mode} {} {path}", rest.split_whitespace().next().unwrap())
            })
            .collect();
        assert_eq!(told.join("\n"), expected(name), "{name}");
    }
}

/// What is in it besides the program and certificates.
fn expected(name: &str) -> String {
    let data = match name {
        "agent" => &["run/stocktake", "var/lib/stocktake"][..],
        _ => &["var/lib/stocktake-server"],
    };
    let mut lines: Vec<_> =
        ["etc", "etc/ssl", "etc/ssl/certs", "etc/stocktake", "run", "usr", "usr/bin", "var", "var/lib"]
            .map(|folder| ("drwxr-xr-x 0/0", folder))
            .into_iter()
            .chain(["etc/group", "etc/nsswitch.conf", "etc/passwd"].map(|file| ("-rw-r--r-- 0/0", file)))
            .chain((name == "server").then_some(("-rw-r--r-- 0/0", "etc/stocktake/server.toml")))
            .chain(data.iter().map(|folder| ("drwxrwx--- 65532/0", *folder)))
            .chain([("drwxrwxrwt 0/0", "tmp")])
            .collect();
    lines.sort_by_key(|(_, path)| *path);
    lines.iter().map(|(told, path)| format!("{told} {path}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_image_says_what_it_is() {
    for name in NAMES {
        let image = image(name);
        let configuration = image.configuration();
        let config = &configuration["config"];
        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["Entrypoint"], json!([format!("/usr/bin/stocktake-{name}")]));
        assert_eq!((&configuration["os"], &configuration["architecture"]), (&json!("linux"), &json!("amd64")));
        let passwd = image.read("etc/passwd");
        assert!(passwd.contains("stocktake:x:65532:65532:"), "{passwd}");
        let label =
            |label: &str| config["Labels"][format!("org.opencontainers.image.{label}")].as_str().unwrap_or_default();
        assert_eq!(label("title"), format!("stocktake-{name}"));
        assert_eq!(label("licenses"), "Apache-2.0");
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label("created"), configuration["created"]);
        assert!(label("revision").len() >= 40 && !label("description").is_empty(), "{config}");
        // Registries show those of the manifest.
        assert_eq!(image.manifest()["annotations"], config["Labels"]);
    }
}

/// Builds an image around any program in `folder`, as the script does it for tests.
pub(crate) fn build(name: &str, folder: &Path, options: &[&str]) -> Layout {
    let target = folder.join("target");
    fs::create_dir_all(target.join("debug")).unwrap();
    // Small, and there.
    fs::copy("/usr/bin/true", target.join(format!("debug/stocktake-{name}"))).unwrap();
    let mut build = Command::new(repository().join("deploy/images/build"));
    build.env("CARGO_TARGET_DIR", &target).args(["--test", "--output"]).arg(folder).args(options).arg(name);
    tools::output(&mut build);
    Layout::new(&folder.join(format!("stocktake-{name}")))
}

#[test]
fn the_same_makes_the_same() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in NAMES {
        let first = build(name, one.path(), &[]).digest();
        assert_eq!(first, build(name, other.path(), &[]).digest());
        assert_ne!(first, build(name, other.path(), &["--source", "https://example.com/stocktake"]).digest());
    }
}

/// The image in the bed's Docker, under a name of its own, until it is let go.
struct Loaded {
    name: String,
    _remove: Cleanup<Box<dyn FnMut()>>,
}

fn load(name: &str, of_test: &str) -> Loaded {
    let image = image(name);
    let name = format!("stocktake-{name}:{of_test}");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-daemon-host", &format!("unix://{}", bed::DOCKER)]);
    tools::output(skopeo.args([image.reference(), format!("docker-daemon:{name}")]));
    let loaded = name.clone();
    let remove = move || {
        tools::output(tools::docker(bed::DOCKER).args(["rmi", "--force", &loaded]));
    };
    Loaded { name, _remove: Cleanup::new(Box::new(remove)) }
}

impl Loaded {
    /// `docker run` as one would who trusts it with nothing, with further options: what it prints, or, of one that fails, all
    /// that it says.
    fn run(&self, options: &[&str], arguments: &[&str]) -> Result<String, String> {
        let mut docker = tools::docker(bed::DOCKER);
        docker.args(["run", "--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]);
        let output = docker.args(options).arg(&self.name).args(arguments).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        if output.status.success() { Ok(stdout) } else { Err(stdout + &stderr) }
    }
}

#[test]
fn the_agent_sees_docker_from_within_and_may_do_nothing_else() {
    needs!("docker");
    let agent = load("agent", "sees");
    let group = fs::metadata(bed::DOCKER).unwrap().gid().to_string();
    let socket = format!("{}:/var/run/docker.sock", bed::DOCKER);
    let options = ["--network", "none", "--group-add", &group, "--volume", &socket];
    let told = agent.run(&options, &["collect", "--format", "json"]).unwrap();
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["report"]["sources"][0]["coverage"]["status"], "complete", "{told}");
    assert!(told.contains("\"bed-running\""), "{told}");
    // Without the socket's group it may not: it is nobody.
    let refused = agent.run(&["--network", "none", "--volume", &socket], &["collect"]).unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[test]
fn the_server_keeps_its_database_in_a_volume() {
    needs!("docker");
    let server = load("server", "keeps");
    // An anonymous one, which has the owner of the image's folder.
    server.run(&["--network", "none", "--volume", "/var/lib/stocktake-server"], &["migrate"]).unwrap();
    let refused = server.run(&["--network", "none"], &["migrate"]).unwrap_err();
    assert!(refused.contains("the file system of /var/lib/stocktake-server is read-only"), "{refused}");
}

/// An address of the loopback on which nobody answers DNS, not even this test when it runs twice.
fn name_server() -> Ipv4Addr {
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

#[test]
fn names_are_resolved_by_files_and_by_dns() {
    needs!("root", "docker");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    };
    answer_one_name(UdpSocket::bind((name_server(), 53)).expect("nobody has this address of the loopback"));
    let hosts = file("hosts", "127.0.0.1 in-hosts.example\n");
    let resolver = file("resolv.conf", &format!("nameserver {}\n", name_server()));
    // Port 1: nobody is there, which is said only once it is known where "there" is.
    let collectors = ["in-hosts", "in-dns", "nowhere"]
        .map(|name| format!("[collectors.{name}]\ntype = 'docker'\nhost = 'tcp://{name}.example:1'\n"));
    let config = file("agent.toml", &collectors.concat());
    std::os::unix::fs::chown(folder.path(), Some(65532), None).unwrap();
    let mount = |path: &Path, to: &str| format!("--volume={}:{to}:ro", path.display());
    let options = [
        "--network=host".to_owned(),
        mount(&hosts, "/etc/hosts"),
        mount(&resolver, "/etc/resolv.conf"),
        mount(&config, "/etc/stocktake/agent.toml"),
    ];
    let agent = load("agent", "names");
    let told =
        agent.run(&options.each_ref().map(String::as_str), &["collect", "--config", "/etc/stocktake/agent.toml"]);
    let told = told.unwrap_err();
    let of =
        |name: &str| told.lines().find(|line| line.contains(&format!("tcp://{name}.example:1"))).unwrap_or_default();
    for name in ["in-hosts", "in-dns"] {
        assert!(of(name).contains("nothing listens there"), "{name}: {told}");
    }
    assert!(of("nowhere").contains("failed to lookup address"), "{told}");
}

/// A name server that knows `in-dns.example`, which is this machine, until the process ends.
fn answer_one_name(socket: UdpSocket) {
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let question = &query[12..length];
            let is_known = question.starts_with(b"\x06in-dns\x07example\0");
            // Name, type, class; a further record of EDNS is left out.
            let end = question.iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_a = question[end - 3] == 1;
            // The query's number; an answer, recursive; NXDOMAIN for what is not known (RFC 1035, 4.1.1).
            let mut answer = vec![query[0], query[1], 0x81, if is_known { 0x80 } else { 0x83 }, 0, 1];
            let answers = u8::from(is_known && is_a);
            answer.extend([0, answers, 0, 0, 0, 0]);
            answer.extend(&question[..end]);
            if answers > 0 {
                // The name as in the question, A, IN, one minute, four bytes.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}
