//! The composition for one Docker host, by Docker and Compose as people have them: what `docs/install.md` says, as it says it.

use std::{
    cell::RefCell,
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};
use stocktake_tests::{bed, cleanup::Cleanup, needs, repository, server, tools, wait_until};
use tempfile::TempDir;

use crate::{images::NAMES, made};

/// All that is other than what people have: containers have no way out of this machine. Docker publishes no port of such a network, so
/// that the server is asked from beside it.
const OVERRIDE: &str = "networks: { default: { internal: true } }\n";

/// What Compose calls the volume with the inventory.
const VOLUME: &str = "stocktake_inventory";

/// A section of `docs/install.md`: all of it, and its blocks of commands.
fn section(title: &str) -> (String, Vec<String>) {
    let install = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let (_, section) = install.split_once(&format!("\n## {title}\n")).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    (section.to_owned(), section.split("```\n").skip(1).step_by(2).map(str::to_owned).collect())
}

/// The line of a block that begins so, without the words about it.
fn line<'a>(block: &'a str, start: &str) -> &'a str {
    let line = block.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {block}"));
    line.split('#').next().unwrap().trim_end()
}

/// A checkout on the host of Docker 28.5.
struct Host {
    checkout: TempDir,
    /// What was in its Docker.
    before: [String; 3],
}

impl Host {
    fn new() -> Self {
        let version = tools::try_output(tools::beside_docker_next("docker").args(["compose", "version"]));
        version.expect("the bed has Compose; of an older one, `bed down` and `bed up`");
        let checkout = tempfile::tempdir_in(Path::new(bed::DOCKER_NEXT).parent().unwrap()).unwrap();
        let deploy = checkout.path().join("deploy");
        fs::create_dir_all(deploy.join("compose")).unwrap();
        for file in ["compose.yaml", "compose/agent.toml"] {
            fs::copy(repository().join("deploy").join(file), deploy.join(file)).unwrap();
        }
        fs::write(deploy.join("override.yaml"), OVERRIDE).unwrap();
        // The agent is somebody else, and the folder of a checkout is everybody's to look into.
        fs::set_permissions(checkout.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut host = Self { checkout, before: [const { String::new() }; 3] };
        // What a killed run has left.
        host.remove();
        host.before = Self::inside();
        host.load();
        host
    }

    /// The images into its Docker, of which the machine's client is told where it is.
    fn load(&self) {
        let target = self.checkout.path().join("target");
        fs::create_dir(&target).unwrap();
        symlink(made("STOCKTAKE_IMAGES", "deploy/images/build --test"), target.join("images")).unwrap();
        let (_, blocks) = section("Images");
        let load = blocks[0].lines().find(|line| line.contains("docker load")).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-euc", load]).current_dir(self.checkout.path()).env_clear().env("PATH", "/usr/bin:/bin");
        let docker = tools::docker(bed::DOCKER_NEXT);
        shell.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?))));
        tools::output(shell.env("DOCKER_HOST", format!("unix://{}", bed::DOCKER_NEXT)));
    }

    fn remove(&self) -> Output {
        // Containers of `run` are none of the composition's.
        let down = "docker compose down --volumes --remove-orphans --timeout 0";
        self.try_type("deploy", &format!("DOCKER_GID=0 STOCKTAKE_TOKEN= {down}"))
    }

    /// All containers, volumes and networks.
    fn inside() -> [String; 3] {
        let list = |arguments: &[&str]| tools::output(tools::docker(bed::DOCKER_NEXT).args(arguments));
        [list(&["ps", "--all", "--quiet"]), list(&["volume", "ls", "--quiet"]), list(&["network", "ls", "--quiet"])]
    }

    fn env(&self) -> PathBuf {
        self.checkout.path().join("deploy/.env")
    }

    /// Types commands, in a shell that is in the folder.
    fn try_type(&self, folder: &str, commands: &str) -> Output {
        let mut shell = tools::beside_docker_next("sh");
        shell.arg("-eu").env("COMPOSE_FILE", "compose.yaml:override.yaml").env("HOME", self.checkout.path());
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let folder = self.checkout.path().join(folder);
        // By its stdin, as people do: what reads from there takes the commands that follow.
        write!(shell.stdin.take().unwrap(), "cd {}\n{commands}\n", folder.display()).unwrap();
        shell.wait_with_output().unwrap()
    }

    /// What commands in `deploy` print.
    fn deploy(&self, commands: &str) -> String {
        let output = self.try_type("deploy", commands);
        assert!(output.status.success(), "{commands}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What Docker knows of a service's container.
    fn inspect(service: &str) -> Value {
        let container = format!("stocktake-{service}-1");
        tools::json(tools::docker(bed::DOCKER_NEXT).args(["inspect", &container]))[0].take()
    }

    /// A command line of `stocktake`, asked in the server's network, where it is at the port that would be published.
    fn try_ask(password: &str, line: &str) -> Result<Vec<Value>, String> {
        let process = Self::inspect("server")["State"]["Pid"].to_string();
        let mut ask = Command::new("/usr/bin/nsenter");
        ask.env_clear().env("STOCKTAKE_PASSWORD", password).args(["--net", "--target", &process]).arg(server::cli());
        ask.args(line.strip_prefix("stocktake ").unwrap().split(' ')).args(["--output", "json"]);
        tools::try_output(&mut ask).map(|told| serde_json::from_str(&told).unwrap())
    }

    /// What it comes to, once `is_there` finds in it what is waited for.
    fn ask(&self, password: &str, line: &str, is_there: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let answer = RefCell::new(Err(String::new()));
        let waiting = Cleanup::new(|| {
            if thread::panicking() {
                let how = self.try_type("deploy", "docker compose ps --all; docker compose logs");
                bed::say(&format!("{:?}\n{}", answer.borrow(), String::from_utf8_lossy(&how.stdout)));
            }
        });
        wait_until(line, || {
            let told = Self::try_ask(password, line);
            let is_there = told.as_ref().is_ok_and(|told| is_there(told));
            *answer.borrow_mut() = told;
            is_there
        });
        drop(waiting);
        answer.into_inner().unwrap()
    }

    /// What is in the inventory once the agent that runs now has reported.
    fn reported(&self, password: &str, containers: &str) -> Vec<Value> {
        let agent = Self::inspect("agent");
        let is_agent = |container: &Value| container["runtime_id"] == agent["Id"];
        self.ask(password, containers, |containers| containers.iter().any(is_agent))
    }

    fn only_agent(&self, password: &str, agents: &str) -> Value {
        let mut told = self.ask(password, agents, |_| true);
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Whatever the test has come to.
        let _ = self.remove();
        let images = NAMES.map(|name| format!("stocktake-{name}:{}", env!("CARGO_PKG_VERSION")));
        let _ = tools::docker(bed::DOCKER_NEXT).arg("rmi").args(images).output();
    }
}

/// The container of this name among those that are told of.
fn named<'a>(containers: &'a [Value], name: &str) -> Option<&'a Value> {
    containers.iter().find(|container| container["name"] == name)
}

#[test]
fn a_docker_host_is_set_up_looked_at_and_taken_away_as_the_document_says() {
    needs!("docker-next");
    let (words, blocks) = section("A Docker host");
    let [set_up, look, copy, put_back, take_away] = &*blocks else { panic!("{words}") };
    let [containers, agents] = ["stocktake containers", "stocktake agents"].map(|start| line(look, start));
    let host = Host::new();
    nothing_starts_without_what_it_asks_for(&host);

    // One that is there is others' to read until it holds a secret.
    fs::write(host.env(), "").unwrap();
    let done = host.try_type("", set_up);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(fs::metadata(host.env()).unwrap().permissions().mode() & 0o777, 0o600);
    it_is_confined();
    let log = host.deploy(line(look, "docker compose logs"));
    let (_, password) = log.split_once("`admin` with the password ").expect(&log);
    let password = password.split(',').next().unwrap();
    let first = host.reported(password, containers);
    let running = named(&first, "bed-running").expect("what else runs on the host");
    let agent = host.only_agent(password, agents);
    it_knows_on_which_host_it_is(&host);
    // It can be asked how it is, and has everything.
    let status = host.deploy("docker compose exec -T agent /usr/bin/stocktake-agent status < /dev/null");
    assert!(status.starts_with("ready\n"), "{status}");
    done_again_it_spoils_nothing(&host, set_up);
    it_can_be_copied(&host, copy);

    host.deploy(line(take_away, "docker compose down"));
    assert_eq!(Host::inside()[0], host.before[0]);
    // Before the agent says all of it once more.
    host.deploy("docker compose up --detach server");
    it_is_the_same_inventory(&host.ask(password, containers, |_| true), running);
    host.deploy(line(take_away, "docker compose up"));
    host.reported(password, containers);
    assert_eq!(host.only_agent(password, agents)["uuid"], agent["uuid"]);

    it_can_be_put_back(&host, put_back);
    it_is_the_same_inventory(&host.reported(password, containers), running);
    let password = the_password_can_be_another(&host, &words, password, agents);
    a_lost_token_can_be_another(&host, &words, set_up);
    host.reported(password, containers);
    assert_eq!(host.only_agent(password, agents)["uuid"], agent["uuid"]);

    host.deploy(line(take_away, "docker compose down --volumes"));
    assert_eq!(Host::inside(), host.before);
    assert!(host.env().is_file());
}

fn nothing_starts_without_what_it_asks_for(host: &Host) {
    for (kept, missing) in [("STOCKTAKE_TOKEN=\n", "DOCKER_GID"), ("DOCKER_GID=0\n", "STOCKTAKE_TOKEN")] {
        fs::write(host.env(), kept).unwrap();
        let refused = host.try_type("deploy", "docker compose up --detach");
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && told.contains(missing) && told.contains("write it to .env"), "{told}");
    }
    fs::remove_file(host.env()).unwrap();
    assert_eq!(Host::inside(), host.before);
}

/// What Docker makes of what the file says.
fn it_is_confined() {
    for name in NAMES {
        let container = Host::inspect(name);
        let [config, settings] = ["Config", "HostConfig"].map(|part| &container[part]);
        assert_eq!(config["User"], "65532:65532", "{container}");
        assert_eq!((&settings["ReadonlyRootfs"], &settings["Privileged"]), (&json!(true), &json!(false)), "{settings}");
        assert_eq!((&settings["CapDrop"], &settings["CapAdd"]), (&json!(["ALL"]), &Value::Null), "{settings}");
        assert_eq!(settings["SecurityOpt"], json!(["no-new-privileges:true"]), "{settings}");
        let ports = match name {
            "server" => json!({"8228/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8228"}]}),
            _ => json!({}),
        };
        assert_eq!(settings["PortBindings"], ports, "{settings}");
    }
}

fn it_knows_on_which_host_it_is(host: &Host) {
    let told = host.deploy("docker compose exec -T agent /usr/bin/stocktake-agent collect --format json < /dev/null");
    let told: Value = serde_json::from_str(&told).unwrap();
    let hostname = tools::output(&mut tools::beside_docker_next("hostname"));
    let machine_id = tools::output(tools::beside_docker_next("cat").arg("/etc/machine-id"));
    let expected = json!({"machine_id": machine_id.trim(), "hostname": hostname.trim()});
    assert_eq!(told["report"]["sources"][0]["host"], expected);
}

fn done_again_it_spoils_nothing(host: &Host, set_up: &str) {
    let kept = fs::read_to_string(host.env()).unwrap();
    let again = host.try_type("", set_up);
    let told = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && told.contains("choose another name"), "{told}");
    assert_eq!(fs::read_to_string(host.env()).unwrap(), kept);
}

/// What another one could not know of a container that stays.
fn it_is_the_same_inventory(containers: &[Value], running: &Value) {
    let known = named(containers, "bed-running").expect("the inventory is kept");
    assert_eq!((&known["id"], &known["first_seen_at"]), (&running["id"], &running["first_seen_at"]));
}

fn it_can_be_copied(host: &Host, copy: &str) {
    host.deploy(copy);
    for (file, begins) in [("inventory.db", "SQLite format 3"), ("inventory.db.key", "")] {
        let file = host.checkout.path().join(file);
        let copied = fs::read(&file).unwrap();
        assert!(!copied.is_empty() && copied.starts_with(begins.as_bytes()), "{}", file.display());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

/// Where there is a database no more.
fn it_can_be_put_back(host: &Host, put_back: &str) {
    let put_back = put_back.replace(" busybox ", &format!(" {} ", bed::SIDE_IMAGE));
    let place = ["volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME];
    let place = tools::output(tools::docker(bed::DOCKER_NEXT).args(place));
    let damage = format!("cd {} && rm -f inventory.db-wal inventory.db-shm && echo none > inventory.db", place.trim());
    host.deploy("docker compose stop server");
    tools::output(tools::beside_docker_next("sh").args(["-ec", &damage]));
    host.deploy(&put_back);
    let former = tools::output(
        tools::beside_docker_next("sh").args(["-ec", &format!("cat {}/former-*/inventory.db", place.trim())]),
    );
    assert_eq!(former, "none\n", "what was there is lost");
}

/// The log that had it went with the container.
fn the_password_can_be_another(host: &Host, words: &str, password: &str, agents: &str) -> &'static str {
    const ANOTHER: &str = "another password";
    assert!(!host.deploy("docker compose logs server").contains("password"));
    // It is asked for at a terminal, and read from stdin where there is none.
    let command = named_in(words, "docker compose exec server ").replace("exec", "exec -T");
    host.deploy(&format!("echo '{ANOTHER}' | {command}"));
    // The server believes the former one for five seconds, as long as nobody tells it that there is another.
    wait_until("the former password to be of no use", || Host::try_ask(password, agents).is_err());
    assert!(Host::try_ask(ANOTHER, agents).is_ok());
    ANOTHER
}

fn a_lost_token_can_be_another(host: &Host, words: &str, set_up: &str) {
    fs::remove_file(host.env()).unwrap();
    host.deploy(named_in(words, "DOCKER_GID=0 "));
    let done = host.try_type("", set_up);
    assert!(done.status.success(), "{done:?}");
}

/// A command within the words.
fn named_in<'a>(words: &'a str, start: &str) -> &'a str {
    words.split('`').find(|code| code.starts_with(start)).unwrap()
}
