use std::collections::BTreeSet;

use super::*;

const KAI: &str = include_str!("testdata/kai.yaml");
const K8S_INVENTORY: &str = include_str!("testdata/k8s-inventory.yaml");

fn imported(text: &str) -> Imported {
    // As the program does at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    import(text, &Registry::linked().unwrap())
}

fn told(Told { level, line, key, message }: &Told) -> String {
    let line = line.map(|line| line.to_string()).unwrap_or_default();
    format!("{level:?} {line} {key}: {message}\n")
}

fn all_told(text: &str) -> String {
    imported(text).told.iter().map(told).collect()
}

/// The settings alone, without the header.
fn settings(text: &str) -> toml::Table {
    let imported = imported(text);
    imported.text.unwrap_or_else(|| panic!("{:?}", imported.told)).parse().unwrap()
}

fn errors(text: &str) -> Vec<String> {
    let imported = imported(text);
    assert_eq!(imported.text, None);
    imported.told.iter().filter(|told| told.level == Level::Error).map(told).collect()
}

/// `STOCKTAKE_UPDATE_DATA=1` writes what is expected anew.
#[test]
fn what_becomes_of_every_key() {
    let files = [
        (KAI, "kai", include_str!("testdata/kai.toml"), include_str!("testdata/kai.txt")),
        (
            K8S_INVENTORY,
            "k8s-inventory",
            include_str!("testdata/k8s-inventory.toml"),
            include_str!("testdata/k8s-inventory.txt"),
        ),
    ];
    for (yaml, name, toml, messages) in files {
        let imported = imported(yaml);
        let found = imported.told.iter().map(told).collect::<String>();
        let text = imported.text.unwrap_or_else(|| panic!("{name}: {found}"));
        if std::env::var_os("STOCKTAKE_UPDATE_DATA").is_some() {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/testdata");
            std::fs::write(folder.join(format!("{name}.toml")), &text).unwrap();
            std::fs::write(folder.join(format!("{name}.txt")), &found).unwrap();
        } else {
            assert_eq!(text, toml, "{name}");
            assert_eq!(found, messages, "{name}");
        }
    }
}

/// Neither what the samples hold nor what the documentation explains leaves out a key.
#[test]
fn no_key_is_dropped() {
    let mut seen = BTreeSet::new();
    for text in [KAI, K8S_INVENTORY] {
        let document = yaml::parse(text).unwrap();
        let is_leaf = |_: &str| false;
        let given: BTreeSet<String> =
            Entry::all(document.clone(), is_leaf).into_iter().map(|entry| entry.key).collect();
        let draft = convert(document);
        let told = draft.told.iter().map(|told| told.key.as_str());
        let answered: BTreeSet<&str> = draft.converted().chain(told).collect();
        let dropped: Vec<&String> = given.iter().filter(|key| !answered.contains(key.as_str())).collect();
        assert_eq!(dropped, Vec::<&String>::new());
        assert!(!draft.told.iter().any(|told| told.level == Level::Unknown), "{:?}", draft.told);
        seen.extend(given);
    }
    let explained = include_str!("../../../docs/migrating.md");
    for key in keys::all() {
        assert!(seen.iter().any(|seen| seen == key || seen.starts_with(&format!("{key}."))), "{key} is in no sample");
        assert!(explained.contains(&format!("`{key}`")), "{key} is not in docs/migrating.md");
    }
}

#[test]
fn keys_are_known_in_any_case_and_others_are_told() {
    let text = "Anchore:\n  URL: https://a\n  user: b\n  password: $P\n  pasword: x\nregion: eu\n";
    let imported = imported(text);
    let unknown: Vec<String> = imported.told.iter().filter(|told| told.level == Level::Unknown).map(told).collect();
    assert_eq!(
        unknown,
        [
            "Unknown 5 Anchore.pasword: neither kai nor k8s-inventory has this key; did you mean `anchore.password`?\n",
            "Unknown 6 region: neither kai nor k8s-inventory has this key\n"
        ]
    );
    assert!(imported.text.unwrap().contains("password_env = \"P\""));
}

#[test]
fn what_is_no_configuration_is_told_with_its_line() {
    assert_eq!(
        errors("a: b\n  c: d\n"),
        ["Error 2 : not valid YAML: mapping values are not allowed in this context\n"]
    );
    assert_eq!(
        errors("mode: a\nmode: b\n"),
        ["Error 2 : not valid YAML: duplicate mapping key `mode` is not allowed here\n"]
    );
    let two = errors("mode: a\n---\nmode: b\n");
    assert!(two[0].starts_with("Error 3 : not valid YAML: ") && !two[0].contains("from_str"), "{two:?}");
    assert_eq!(errors("- a\n"), ["Error  : it is a list, expected a table\n"]);
    assert_eq!(
        errors("polling-interval-seconds: soon\nanchore: x\nnamespaces: {a: b}\n"),
        [
            "Error 1 polling-interval-seconds: it is a text, expected a whole number that is not negative\n",
            "Error 2 anchore: it is a text, expected a table\n",
            "Error 3 namespaces: it is a table, expected a list of texts\n",
        ]
    );
}

/// What a mistake in YAML is told with does not repeat the line that it is in.
#[test]
fn a_password_is_in_no_message() {
    for text in [
        "anchore:\n  password: 'hunter2\n",
        "anchore:\n  password: {hunter2: [hunter2]}\n",
        "anchore:\n  password: hunter2\n mode: x\n",
    ] {
        let told = errors(text).concat();
        assert!(!told.contains("hunter2"), "{told}");
    }
    let told = all_told("anchore: {url: 'https://a', user: b, password: hunter2}");
    assert!(
        !told.contains("hunter2") && told.contains("Warning 1 anchore.password: it stands in the result"),
        "{told}"
    );
}

#[test]
fn what_our_parser_refuses_is_told_with_both_places() {
    let text = "
namespace-selectors:
  exclude:
    - kube-system
    - '[a-'
anchore: {url: 'https://a', user: b, password: $P}
health-report-interval-seconds: 5
";
    let found = errors(text);
    assert!(
        found[0].starts_with(
            "Error 5 namespace-selectors.exclude: it would become what is refused: \
             collectors.kubernetes.namespaces.exclude[1]: `/.*[a-.*/` is not a valid pattern: "
        ),
        "{found:?}"
    );
    assert_eq!(
        found[1],
        "Error 7 health-report-interval-seconds: it would become what is refused: targets.anchore.registration.health_interval: \
         it is not between 30 seconds and 10 minutes, which is what the server takes\n"
    );
}

#[test]
fn without_a_password_it_is_asked_for_in_the_environment() {
    let text = "anchore:\n  url: https://a\n  user: b\n  password:\n";
    assert_eq!(settings(text)["targets"]["anchore"]["password_env"].as_str(), Some("ANCHORE_PASSWORD"));
    assert!(all_told(text).contains("Warning 3 anchore.user: no password stands in the file"), "{}", all_told(text));
}

/// An empty URL is how their programs are told to report to nobody.
#[test]
fn without_a_server_there_is_no_target_and_nothing_is_dropped() {
    let text = "anchore:\n  url: ''\n  user: b\n  password: c\n  account: d\naccount-routes:\n  e: {namespaces: [f]}\n";
    assert_eq!(settings(text).get("targets"), None);
    let told = all_told(text);
    for key in ["3 anchore.user", "4 anchore.password", "5 anchore.account", "7 account-routes.e.namespaces"] {
        assert!(told.contains(&format!("Warning {key}: it is not converted: without `anchore.url`")), "{told}");
    }
    assert!(told.contains("no target is left"), "{told}");
}

#[test]
fn namespaces() {
    let chosen = |text: &str| settings(text)["collectors"]["kubernetes"].get("namespaces").map(ToString::to_string);
    assert_eq!(chosen("namespaces: [all]"), None);
    assert_eq!(chosen("namespaces: [a, b]").unwrap(), "{ include = [\"a\", \"b\"] }");
    assert_eq!(chosen("namespaces: [a]\nnamespace-selectors: {include: [c]}").unwrap(), "{ include = [\"c\"] }");
    assert_eq!(chosen("namespaces: [all]\nnamespace-selectors: {exclude: [c]}").unwrap(), "{ exclude = [\"c\"] }");
}

#[test]
fn timeouts() {
    let timeout = |text: &str| settings(text).get("agent").map(|agent| agent["timeout"].to_string());
    assert_eq!(
        timeout("kubernetes-request-timeout-seconds: 20\nkubernetes: {request-timeout-seconds: 60}").unwrap(),
        "\"20s\""
    );
    assert_eq!(
        timeout("kubernetes-request-timeout-seconds: 0\nkubernetes: {request-timeout-seconds: 60}").unwrap(),
        "\"60s\""
    );
    assert_eq!(timeout("kubernetes-request-timeout-seconds: 0\n"), None);
}

#[test]
fn a_cluster_in_parts() {
    let data = |text: &str| settings(text)["collectors"]["kubernetes"].get("kubeconfig_data").is_some();
    let parts = "kubeconfig:\n  cluster: a\n  server: https://10.0.0.1\n";
    assert!(!data(parts));
    assert!(all_told(parts).contains("Warning 3 kubeconfig.server: it is not converted"), "{}", all_told(parts));
    let refused = format!("{parts}  cluster-cert: '!'\n  user: {{type: token, token: hunter2}}\n");
    let found = errors(&refused);
    assert!(
        found[0].starts_with("Error 3 kubeconfig.server: it would become what is refused: collectors.kubernetes: "),
        "{found:?}"
    );
    assert!(!found.concat().contains("hunter2"), "{found:?}");
    let variable = format!("{parts}  cluster-cert: '!'\n  user: {{type: token, token: $TOKEN}}\n");
    assert!(!data(&variable));
}

/// What `kubectl get configmap` has of it, as their chart lets Go print lists.
#[test]
fn lists_that_their_chart_has_printed_are_lists() {
    let text = "
metadata-collection:
  nodes: {annotations: [], labels: [team app.kubernetes.io/name], disable: false}
  namespaces: {annotations: [], labels: [], disable: false}
  pods: {annotations: [^example.com/ owner], labels: [], disable: false}
";
    let filters = &settings(text)["filters"];
    assert_eq!(filters["labels"].to_string(), "{ include = [\"*team*\", \"/.*app.kubernetes.io/name.*/\"] }");
    assert_eq!(filters["annotations"].to_string(), "{ include = [\"/example.com/.*/\", \"*owner*\"] }");
}

#[test]
fn all_labels_off_leaves_the_one_that_routes() {
    let text = "
metadata-collection:
  nodes: {disable: true}
  namespaces: {disable: true}
  pods: {disable: true}
";
    let filters = |text: &str| settings(text)["filters"].to_string();
    assert_eq!(settings(text)["filters"]["labels"].to_string(), "{ exclude = [\"*\"] }", "{}", filters(text));
    let routed = format!(
        "{text}account-route-by-namespace-label: {{key: acc}}\nanchore: {{url: 'https://a', user: b, password: $P}}\n"
    );
    assert_eq!(settings(&routed)["filters"]["labels"].to_string(), "{ include = [\"acc\"] }");
    assert_eq!(settings(&routed)["filters"]["annotations"].to_string(), "{ exclude = [\"*\"] }");
}
