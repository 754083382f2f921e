//! Kubeconfig files: where they are looked for, and what their context means.

use std::{
    env, io,
    path::{Path, PathBuf},
};

use http::Uri;
use kube::{
    Config,
    config::{AuthInfo, Cluster, Context, ExecInteractiveMode, Kubeconfig, KubeconfigError, LoadDataError},
};
use secrecy::{ExposeSecret as _, SecretString};
use stocktake_core::{ConfigError, Environment, nearest};

use crate::{
    address::{Target, display, parse_url},
    error::{Peer, PeerKind, one_line},
    file::{self, unreadable},
    proxy,
    settings::Settings,
};

/// The files that kubectl would read: `$KUBECONFIG`, else `~/.kube/config`.
fn default_paths(environment: &Environment) -> Option<Vec<PathBuf>> {
    match environment.variable("KUBECONFIG") {
        Some(list) => Some(split(Path::new(list))).filter(|paths| !paths.is_empty()),
        None => environment.home.as_ref().map(|home| vec![home.join(".kube/config")]),
    }
}

/// The files of a list like `$KUBECONFIG`.
pub(crate) fn split(list: &Path) -> Vec<PathBuf> {
    env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The cluster that the settings' kubeconfig and context mean.
pub(crate) fn resolve(settings: &Settings, environment: &Environment) -> Result<Target, ConfigError> {
    let (key, paths) = match &settings.kubeconfig {
        Some(list) => ("kubeconfig", split(list)),
        None => ("", default_paths(environment).unwrap_or_default()),
    };
    let kubeconfig = match (settings.kubeconfig.is_some(), environment.variable("KUBECONFIG")) {
        (false, None) if !paths.iter().any(|path| path.exists()) => return Err(nothing_configured(&paths)),
        _ => merge(key, &paths)?,
    };
    let file = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    of_context(&kubeconfig, &file, settings.context.as_deref(), environment)
}

fn nothing_configured(paths: &[PathBuf]) -> ConfigError {
    let looked = paths.first().map_or_else(
        || "there is no home directory to look for `.kube/config` in".into(),
        |path| format!("there is no file `{}`", path.display()),
    );
    ConfigError::new(
        "",
        format!("no cluster is configured: the agent runs in no pod with a service account, `KUBECONFIG` is not set, and {looked}"),
    )
    .hint("set `kubeconfig`, or `server` with `token_file`")
}

/// Reads and merges files. Of several, those that do not exist are passed over, as kubectl does.
fn merge(key: &str, paths: &[PathBuf]) -> Result<Kubeconfig, ConfigError> {
    let existing: Vec<&PathBuf> = paths.iter().filter(|path| paths.len() == 1 || path.exists()).collect();
    let Some(first) = paths.first() else {
        return Err(ConfigError::new(key, "names no file").hint("write the path of a kubeconfig file"));
    };
    if existing.is_empty() {
        return Err(ConfigError::new(key, format!("none of the files exists; the first is `{}`", first.display())));
    }
    let mut merged = Kubeconfig::default();
    for path in existing {
        file::check(path).map_err(|error| unreadable(key, path, &error))?;
        let read = Kubeconfig::read_from(path).map_err(|error| match error {
            KubeconfigError::ReadConfig(error, path) => unreadable(key, &path, &error),
            error => ConfigError::new(key, format!("`{}` is not a kubeconfig: {}", path.display(), complaint(&error))),
        })?;
        merged = merged.merge(read).map_err(|error| {
            let problem = complaint(&error);
            ConfigError::new(key, format!("`{}` does not go with the files before it: {problem}", path.display()))
        })?;
    }
    Ok(merged)
}

/// The cluster that a kubeconfig means which is given as a text. Whoever has written it need not be who runs this program: nothing in it
/// reads a file of this machine, or runs a program on it.
pub(crate) fn given(
    text: &SecretString,
    context: Option<&str>,
    environment: &Environment,
) -> Result<Target, ConfigError> {
    let kubeconfig = Kubeconfig::from_yaml(text.expose_secret())
        .map_err(|error| ConfigError::new(GIVEN, format!("it is not a kubeconfig: {}", complaint(&error))))?;
    let (_, chosen) = find_context(&kubeconfig, GIVEN, context)?;
    let user = kubeconfig.auth_infos.iter().find(|known| Some(&known.name) == chosen.user.as_ref());
    let user = user.and_then(|user| user.auth_info.as_ref());
    let cluster = find_cluster(&kubeconfig, &chosen.cluster);
    let outside = [
        ("certificate-authority", cluster.is_some_and(|cluster| cluster.certificate_authority.is_some()), FILE),
        ("client-certificate", user.is_some_and(|user| user.client_certificate.is_some()), FILE),
        ("client-key", user.is_some_and(|user| user.client_key.is_some()), FILE),
        ("tokenFile", user.is_some_and(|user| user.token_file.is_some()), FILE),
        ("exec", user.is_some_and(|user| user.exec.is_some()), PROGRAM),
        ("auth-provider", user.is_some_and(|user| user.auth_provider.is_some()), PROGRAM),
    ];
    match outside.into_iter().find(|(_, is_there, _)| *is_there) {
        Some((key, _, (what, instead))) => Err(ConfigError::new(GIVEN, format!("its `{key}` {what}")).hint(instead)),
        None => of_context(&kubeconfig, GIVEN, context, environment),
    }
}

/// The setting.
const GIVEN: &str = "kubeconfig_data";

/// What is wrong with keys of a kubeconfig that is given, and what to do instead.
const FILE: (&str, &str) = (
    "names a file, and none is read for a kubeconfig that is given as a text",
    "put what is in it there: `kubectl config view --raw --flatten`",
);
const PROGRAM: (&str, &str) = (
    "asks for a program to be run, and none is for a kubeconfig that is given as a text",
    "use the token of a service account",
);

/// What kube says of a kubeconfig, without a word of what stands in it: tokens and keys do, and the YAML parser prints
/// the lines around a mistake.
fn complaint(error: &KubeconfigError) -> String {
    use KubeconfigError as E;
    let (what, error) = match error {
        E::Parse(error) => {
            let place = match error.location() {
                Some(location) => format!("what stands at line {}, column {}", location.line(), location.column()),
                None => "what stands in it".into(),
            };
            return format!("{place} is no YAML, or not what belongs there; check quotes, brackets and indentation");
        }
        E::ParseCertificates(_) => return "`certificate-authority` holds something else than PEM".into(),
        E::LoadCertificateAuthority(error) => ("certificate-authority", error),
        E::LoadClientCertificate(error) => ("client-certificate", error),
        E::LoadClientKey(error) => ("client-key", error),
        error => return one_line(&error.to_string()),
    };
    match error {
        LoadDataError::DecodeBase64(_) => format!("`{what}-data` is not base64"),
        LoadDataError::ReadFile(error, path) => format!("cannot read `{what}` {}: {error}", path.display()),
        LoadDataError::NoBase64DataOrFile => format!("`{what}` is missing"),
    }
}

/// Refuses, among the files that the context names and kube reads, those that cannot be read to their end. What is wrong
/// with others kube says, or the request that needs them.
fn check_files(cluster: &Cluster, user: Option<&AuthInfo>) -> Result<(), ConfigError> {
    let none = AuthInfo::default();
    let user = user.unwrap_or(&none);
    let files = [
        ("certificate-authority", &cluster.certificate_authority),
        ("client-certificate", &user.client_certificate),
        ("client-key", &user.client_key),
        ("tokenFile", &user.token_file),
    ];
    for (key, path) in files {
        let Some(path) = path.as_deref().map(Path::new) else { continue };
        match file::check(path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                let ConfigError { message, hint, .. } = unreadable("", path, &error);
                return Err(ConfigError {
                    path: String::new(),
                    message: format!("`{key}` of the kubeconfig: {message}"),
                    hint,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn of_context(
    kubeconfig: &Kubeconfig,
    file: &str,
    context: Option<&str>,
    environment: &Environment,
) -> Result<Target, ConfigError> {
    let (name, chosen) = find_context(kubeconfig, file, context)?;
    let in_file = |what: &str| ConfigError::new("", format!("context `{name}` of `{file}` {what}"));
    let cluster = find_cluster(kubeconfig, &chosen.cluster)
        .ok_or_else(|| in_file(&format!("names the cluster `{}`, which it does not have", chosen.cluster)))?;
    let server = cluster.server.as_deref().unwrap_or_default();
    let url = parse_url("", server).map_err(|error| in_file(&format!("has a bad `server`: {}", error.message)))?;
    // kube goes on without credentials here, and the server's refusal would not say why.
    let user = chosen.user.as_deref().unwrap_or_default();
    let known = kubeconfig.auth_infos.iter().find(|known| known.name == user);
    if !user.is_empty() && known.is_none() {
        return Err(in_file(&format!("names the user `{user}`, which it does not have")));
    }
    check_files(cluster, known.and_then(|known| known.auth_info.as_ref()))?;

    let chosen_alone = Kubeconfig { current_context: Some(name.to_owned()), ..kubeconfig.clone() };
    let mut config =
        Config::try_from(chosen_alone).map_err(|error| in_file(&format!("cannot be used: {}", complaint(&error))))?;
    if let Some(exec) = &mut config.auth_info.exec
        && exec.interactive_mode != Some(ExecInteractiveMode::Always)
    {
        // Nobody sits at an agent's terminal; and what the plug-in has to complain about belongs into our message.
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
    }
    config.proxy_url = proxy::for_server(&url, cluster.proxy_url.as_deref(), environment)?;
    Ok(Target {
        peer: Peer {
            server: display(&url),
            credentials: format!("user `{user}` in `{file}`"),
            kind: PeerKind::ApiServer,
        },
        own_namespace: config.default_namespace.clone(),
        config,
        cluster_name: Some(chosen.cluster.clone()).filter(|name| !name.is_empty()),
        token_file: None,
        warnings: Vec::new(),
    })
}

/// The server of the current context of some files.
pub(crate) fn current_server(key: &str, paths: &[PathBuf]) -> Result<Uri, ConfigError> {
    let kubeconfig = merge(key, paths)?;
    let (_, chosen) = find_context(&kubeconfig, "the kubeconfig", None)?;
    let server = find_cluster(&kubeconfig, &chosen.cluster).and_then(|cluster| cluster.server.as_deref());
    parse_url(key, server.unwrap_or_default())
}

fn find_cluster<'a>(kubeconfig: &'a Kubeconfig, name: &str) -> Option<&'a Cluster> {
    kubeconfig.clusters.iter().find(|cluster| cluster.name == name).and_then(|cluster| cluster.cluster.as_ref())
}

fn find_context<'a>(
    kubeconfig: &'a Kubeconfig,
    file: &str,
    context: Option<&'a str>,
) -> Result<(&'a str, &'a Context), ConfigError> {
    let name = context.or(kubeconfig.current_context.as_deref()).filter(|name| !name.is_empty()).ok_or_else(|| {
        ConfigError::new("context", format!("`{file}` has no current context, and `context` is not set"))
            .hint(format!("choose {}", contexts(kubeconfig)))
    })?;
    let chosen = kubeconfig.contexts.iter().find(|known| known.name == name).and_then(|known| known.context.as_ref());
    let chosen = chosen.ok_or_else(|| {
        let message = format!("`{file}` has no context `{name}`, it has {}", contexts(kubeconfig));
        let error = ConfigError::new("context", message);
        match nearest(name, kubeconfig.contexts.iter().map(|context| context.name.as_str())) {
            Some(word) => error.hint(format!("did you mean `{word}`?")),
            None => error,
        }
    })?;
    Ok((name, chosen))
}

fn contexts(kubeconfig: &Kubeconfig) -> String {
    match kubeconfig.contexts.as_slice() {
        [] => "no context at all".into(),
        contexts => contexts.iter().map(|context| format!("`{}`", context.name)).collect::<Vec<_>>().join(", "),
    }
}
