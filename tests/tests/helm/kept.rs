//! What a server over `SQLite` has in a cluster: it is copied and put back as docs/operations.md says, and outlives its release
//! where the chart says so.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use stocktake_tests::{bed, repository, server, tools, wait_until};

use crate::{merged, release::Release};

/// A person's shell, whose kubectl is the bed's and whose namespace the release's.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
}

impl Shell {
    pub(crate) fn new(release: &Release) -> Self {
        let shell = Self { folder: tempfile::tempdir().unwrap() };
        fs::copy(bed::kubeconfig("admin"), shell.folder.path().join("kubeconfig")).unwrap();
        shell.run(&format!("kubectl config set-context --current --namespace {}", release.namespace));
        shell
    }

    pub(crate) fn run(&self, commands: &str) -> String {
        self.try_run(commands).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_run(&self, commands: &str) -> Result<String, String> {
        let mut shell = Command::new("sh");
        shell.args(["-euc", commands]).current_dir(self.folder.path()).env_clear().env("HOME", self.folder.path());
        let kubeconfig = self.folder.path().join("kubeconfig");
        tools::try_output(shell.env("PATH", format!("{}/bin:/usr/bin:/bin", bed::RUN)).env("KUBECONFIG", kubeconfig))
    }
}

/// The commands of docs/operations.md that make a copy, and those that put it back, for the release and with the bed's image.
fn documented() -> [String; 2] {
    let operations = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let (_, section) = operations.split_once("\n### In Kubernetes\n").unwrap();
    let mut blocks = section.split("```\n").skip(1).step_by(2);
    [(); 2].map(|()| {
        let commands = blocks.next().unwrap().replace("NAME", "st-stocktake-server").replace("RELEASE", "st");
        let commands = commands.replace("image: busybox\n", &format!("image: {}\n", bed::SIDE_IMAGE));
        // The bed's kubectl, of before 1.21, takes it for an error if none is left when it looks.
        commands.replace(" --timeout 2m\n", " --timeout 2m 2> gone || grep 'no matching resources found' gone\n")
    })
}

/// What a server tells to `admin`.
pub(crate) fn told(server: &str, path: &str) -> Vec<Value> {
    let user = format!("admin:{}", server::PASSWORD);
    let told = tools::json(Command::new("curl").args(["-sf", "-u", &user, &format!("http://{server}{path}")]));
    told["items"].as_array().unwrap().clone()
}

/// What of an inventory no agent could tell again as it was: of containers which stay as they are, by which number and since when
/// they are known.
pub(crate) fn remembered(server: &str) -> BTreeSet<String> {
    let containers = told(server, "/v1/containers?namespace=shop&limit=1000");
    assert!(!containers.is_empty(), "there is nothing to remember");
    containers.iter().map(|it| format!("{} {} since {}", it["id"], it["name"], it["first_seen_at"])).collect()
}

/// `data` is the volume's folder.
pub(crate) fn a_damaged_database_is_restored(shell: &Shell, server: &str, data: &Path) {
    let [copy, restore] = documented();
    assert!(restore.contains(bed::SIDE_IMAGE), "another image than the bed has: {restore}");
    let tokens = || shell.run("kubectl exec deployment/st-stocktake-server -- stocktake-server token list");
    let (before, tokens_before) = (remembered(server), tokens());
    shell.run(&copy);
    shell.run("kubectl exec deployment/st-stocktake-server -- stocktake-server token add later");
    assert!(tokens().contains("later"), "{}", tokens());

    let database = data.join("inventory.db");
    fs::write(&database, "no database").unwrap();
    // What is there is read from there, and it may be all.
    File::options().write(true).open(data.join("inventory.db-wal")).unwrap().set_len(0).unwrap();
    let refused = shell.try_run(&copy.replace("copy.db", "broken.db")).expect_err("a damaged database is not copied");
    assert!(refused.contains("cannot copy") || refused.contains("not sound"), "{refused}");

    shell.run(&restore);
    assert_eq!(remembered(server), before);
    assert_eq!(names(&tokens()), names(&tokens_before), "what came after the copy is there");
    let names_of = |folder: &Path| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let former = names_of(data).into_iter().find(|path| path.to_string_lossy().contains("/former-")).unwrap();
    assert_eq!(fs::read_to_string(former.join("inventory.db")).unwrap(), "no database", "what was there is lost");
    assert!(!data.join("copy.db").exists());
    // Whose tokens are there, and what they saw.
    let agents = || told(server, "/v1/agents").into_iter().map(|agent| agent["reported_at"].to_string()).max();
    let reported = agents();
    wait_until("an agent to report again", || agents() > reported);
}

fn names(table: &str) -> Vec<String> {
    tools::rows(table).into_iter().map(|mut row| row.swap_remove(0)).collect()
}

/// Uninstalls a release that keeps its claim and installs another server of the same name, which has the inventory of the former
/// one, and removes it.
pub(crate) fn an_inventory_outlives_its_release(release: &Release, values: &Value, server: &str, before: &[String]) {
    let known = remembered(server);
    let mut kept = [before, &["persistentvolumeclaim/st-stocktake-server".to_owned()]].concat();
    kept.sort_unstable();
    release.leaves(&kept);
    // A password of the first start alone, which this is not.
    let alone = json!({
        "agent": {"enabled": false}, "node": {"enabled": false},
        "server": {"persistence": {"keep": false}, "credentials": {"adminPassword": "another password"}}
    });
    release.apply("install", &merged(values, &alone));
    assert_eq!(remembered(server), known);
    release.leaves(before);
}
