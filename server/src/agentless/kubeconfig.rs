//! A kubeconfig that somebody uploads: from it only what stands in it is taken, into the fields that are kept. Whatever would lead the
//! server to its own files, or make it run a program, is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::IgnoredAny};
use stocktake_core::nearest;

use super::target::{Cluster, CredentialType};
use crate::http::Problem;

/// Bytes of a kubeconfig, at the most.
const LONGEST: usize = 1 << 20;

#[derive(Deserialize)]
struct Kubeconfig {
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
    contexts: Option<Vec<NamedContext>>,
    #[serde(rename = "current-context")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<ClusterEntry>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    server: Option<String>,
    certificate_authority: Option<IgnoredAny>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<SecretString>,
    #[serde(rename = "tokenFile")]
    token_file: Option<IgnoredAny>,
    client_certificate: Option<IgnoredAny>,
    client_certificate_data: Option<String>,
    client_key: Option<IgnoredAny>,
    client_key_data: Option<SecretString>,
    exec: Option<IgnoredAny>,
    auth_provider: Option<IgnoredAny>,
    username: Option<IgnoredAny>,
    password: Option<IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: Option<IgnoredAny>,
    as_groups: Option<IgnoredAny>,
    as_uid: Option<IgnoredAny>,
    as_user_extra: Option<IgnoredAny>,
}

/// The cluster that a context means, or the current one, and the credential for it.
pub(crate) fn read(text: &SecretString, context: Option<&str>) -> Result<(Cluster, SecretString), Problem> {
    let text = text.expose_secret();
    if text.len() > LONGEST {
        return Err(refused(&format!("has more than {LONGEST} bytes; upload the one context that is meant")));
    }
    // What the parser says of a mistake repeats the lines around it, and tokens stand there.
    let kubeconfig: Kubeconfig = serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(place) => refused(&format!(
            "is none: what stands at line {}, column {} is no YAML, or not what belongs there",
            place.line(),
            place.column()
        )),
        None => refused("is none: it is no YAML, or something that belongs in it is not there"),
    })?;
    let Kubeconfig { clusters, users, contexts, current_context } = kubeconfig;
    let contexts = contexts.unwrap_or_default();
    let name = context.map(str::to_owned).or(current_context).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| refused("has no current context; say which one is meant with `context`"))?;
    let chosen = contexts.iter().find(|known| known.name == name).and_then(|known| known.context.as_ref());
    let chosen = chosen.ok_or_else(|| {
        let hint = nearest(&name, contexts.iter().map(|known| known.name.as_str()));
        let hint = hint.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
        refused(&format!("has no context `{}`{hint}", shown(&name)))
    })?;
    let entry = clusters.unwrap_or_default().into_iter().find(|known| known.name == chosen.cluster);
    let entry = entry.and_then(|known| known.cluster).ok_or_else(|| refused("lacks the cluster of its context"))?;
    let user = users.unwrap_or_default().into_iter().find(|known| Some(&known.name) == chosen.user.as_ref());
    let user = user.and_then(|known| known.user).unwrap_or_default();
    check(&entry, &user)?;
    cluster(entry, user)
}

/// Refuses what is not in the kubeconfig itself, and what would silently be left out.
fn check(cluster: &ClusterEntry, user: &User) -> Result<(), Problem> {
    const FILE: &str = "names a file, and the server reads none of its own for it: put what is in it there \
                        (`kubectl config view --raw --flatten --minify`)";
    const PROGRAM: &str =
        "asks for a program to be run, which the server does not do: use the token of a service account";
    const OTHER: &str = "is not supported: use the token of a service account";
    let found = [
        ("certificate-authority", &cluster.certificate_authority, FILE),
        ("tokenFile", &user.token_file, FILE),
        ("client-certificate", &user.client_certificate, FILE),
        ("client-key", &user.client_key, FILE),
        ("exec", &user.exec, PROGRAM),
        ("auth-provider", &user.auth_provider, PROGRAM),
        ("username", &user.username, OTHER),
        ("password", &user.password, OTHER),
        ("as", &user.impersonate, OTHER),
        ("as-groups", &user.as_groups, OTHER),
        ("as-uid", &user.as_uid, OTHER),
        ("as-user-extra", &user.as_user_extra, OTHER),
    ];
    match found.into_iter().find(|(_, value, _)| value.is_some()) {
        Some((key, _, why)) => Err(Problem::bad_request(format!("`{key}` of the kubeconfig {why}"))),
        None => Ok(()),
    }
}

fn cluster(entry: ClusterEntry, user: User) -> Result<(Cluster, SecretString), Problem> {
    let decoded = |key: &str, data: &str| {
        let bytes = STANDARD.decode(data.split_ascii_whitespace().collect::<String>()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| Problem::bad_request(format!("`{key}` of the kubeconfig is not base64 of PEM")))
    };
    let (credential_type, secret) = match (user.token, user.client_key_data) {
        (Some(token), None) => (CredentialType::Token, token),
        (None, Some(key)) => (CredentialType::PrivateKey, decoded("client-key-data", key.expose_secret())?.into()),
        (Some(_), Some(_)) => return Err(refused("has both a token and a private key; leave one of them out")),
        (None, None) => return Err(refused("has no credential: neither `token` nor `client-key-data`")),
    };
    let data = |key, data: Option<String>| data.map(|data| decoded(key, &data)).transpose();
    let cluster = Cluster {
        server: entry.server.unwrap_or_default(),
        certificate_authority: data("certificate-authority-data", entry.certificate_authority_data)?,
        tls_server_name: entry.tls_server_name,
        proxy_url: entry.proxy_url.filter(|url| !url.is_empty()),
        insecure_skip_tls_verify: entry.insecure_skip_tls_verify.unwrap_or_default(),
        credential_type,
        client_certificate: data("client-certificate-data", user.client_certificate_data)?,
    };
    Ok((cluster, secret))
}

fn refused(what: &str) -> Problem {
    Problem::bad_request(format!("the kubeconfig {what}"))
}

fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cluster: &str, user: &str) -> SecretString {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {{server: 'https://10.0.0.1:6443'{cluster}}}\n\
             users:\n- name: jo\n  user: {{{user}}}\n\
             contexts:\n- name: one\n  context: {{cluster: prod, user: jo, namespace: shop}}\n- name: lost\n  context: {{cluster: gone}}\n\
             current-context: one\npreferences: {{}}\n"
        )
        .into()
    }

    fn complaint(text: &SecretString, context: Option<&str>) -> String {
        read(text, context).unwrap_err().title
    }

    #[test]
    fn a_token_and_a_private_key_are_taken_with_all_that_leads_to_the_cluster() {
        let ca = STANDARD.encode("the CA");
        let text = written(
            &format!(", certificate-authority-data: {ca}, tls-server-name: k8s, proxy-url: 'http://proxy:3128'"),
            "token: hunter2",
        );
        let (cluster, secret) = read(&text, None).unwrap();
        assert_eq!(secret.expose_secret(), "hunter2");
        assert_eq!(
            cluster,
            Cluster {
                server: "https://10.0.0.1:6443".into(),
                certificate_authority: Some("the CA".into()),
                tls_server_name: Some("k8s".into()),
                proxy_url: Some("http://proxy:3128".into()),
                insecure_skip_tls_verify: false,
                credential_type: CredentialType::Token,
                client_certificate: None,
            }
        );
        let [certificate, key] = ["the certificate", "the key"].map(|text| STANDARD.encode(text));
        let user = format!("client-certificate-data: {certificate}, client-key-data: {key}");
        let (cluster, secret) = read(&written("", &user), Some("one")).unwrap();
        assert_eq!((secret.expose_secret(), cluster.credential_type), ("the key", CredentialType::PrivateKey));
        assert_eq!(cluster.client_certificate.as_deref(), Some("the certificate"));
    }

    #[test]
    fn nothing_leads_to_a_file_or_a_program_of_the_server() {
        let program = "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, id]}";
        for (cluster, user, key, part) in [
            (", certificate-authority: /etc/shadow", "token: hunter2", "certificate-authority", "names a file"),
            ("", "tokenFile: /etc/shadow", "tokenFile", "names a file"),
            ("", "token: hunter2, client-key: /etc/shadow", "client-key", "names a file"),
            ("", "token: hunter2, client-certificate: /etc/shadow", "client-certificate", "names a file"),
            ("", program, "exec", "asks for a program"),
            ("", "auth-provider: {name: gcp, config: {cmd-path: /bin/sh}}", "auth-provider", "asks for a program"),
            ("", "username: jo, password: hunter2", "username", "not supported"),
            ("", "token: hunter2, as: root", "as", "not supported"),
        ] {
            let text = complaint(&written(cluster, user), None);
            assert!(text.starts_with(&format!("`{key}` of the kubeconfig")) && text.contains(part), "{text}");
            assert!(!text.contains("/etc") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_what_stands_there() {
        for (text, context, part) in [
            (written("", ""), None, "no credential"),
            (written("", "token: hunter2, client-key-data: aHVudGVyMg=="), None, "both a token and a private key"),
            (written("", "client-key-data: '!hunter2'"), None, "not base64"),
            (written("", "token: hunter2"), Some("on"), "did you mean `one`?"),
            (written("", "token: hunter2"), Some("lost"), "lacks the cluster"),
            ("clusters: []".into(), None, "no current context"),
            ("token: [hunter2".into(), None, "is no YAML"),
            ("users: hunter2".into(), None, "is no YAML"),
            ("hunter2".into(), None, "is none"),
            ("a".repeat(LONGEST + 1).into(), None, "more than"),
        ] {
            let found = complaint(&text, context);
            assert!(found.contains(part), "{found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn a_document_that_grows_as_it_is_read_is_none() {
        let level = |level: u32| match level {
            0 => format!("a0: &a0 [{}]\n", ["x"; 10].join(", ")),
            level => format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")),
        };
        let text: Vec<String> = (0..12).map(level).collect();
        assert!(complaint(&text.concat().into(), None).starts_with("the kubeconfig"));
    }
}
