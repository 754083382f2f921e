//! `serve`: the server.

use std::{path::Path, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{SHELVES, cannot_use, configuration, database_of, key_source, open, refused, settings, vault};
use crate::{
    access::Bounds,
    agentless::{self, Agentless},
    app::App,
    cli,
    config::Settings,
    database::statistics,
    exit::Exit,
    notify, reap, say,
    secrets::{KeySource, Used, Vault, used},
    serve,
};

/// How long notifying may take to end.
const TO_STOP: Duration = Duration::from_secs(10);

pub(super) async fn run(mut arguments: cli::Serve) -> anyhow::Result<Exit> {
    // What was there at the start and is not when it is read again is missed: nobody meant the defaults.
    arguments.place.config = configuration(&arguments.place).map(Path::to_owned);
    let mut signals = serve::Signals::heed()?;
    let prepared = async {
        let settings = said(&arguments)?;
        let listening = serve::Listening::start(&settings).await.map_err(|error| {
            say::error(&format!("{error:#}"));
            Exit::Config
        })?;
        let database = open(&database_of(&settings)?).await?;
        let keys = key_source(&settings, &database).await?;
        let used = used(&database, &SHELVES).await.map_err(|error| cannot_use(&error))?;
        make_missing(&keys, !used.is_empty());
        let vault = vault(keys)?;
        tell_what_is_locked(&vault, &used);
        Ok((settings, listening, database, vault))
    };
    let (settings, listening, database, vault) = tokio::select! {
        prepared = prepared => match prepared {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(exit),
        },
        () = signals.stop() => return Ok(Exit::Success),
    };
    let retention = settings.inventory.retention()?;
    let agentless = Arc::new(Agentless::new(settings.agentless.clone()));
    let app = App { agentless, ..App::new(database, vault, retention, settings.notify.clone()) };
    app.access.bound(Bounds::of(&settings.limits));
    match app.access.bootstrap(password()).await {
        Ok(None) => {}
        Ok(Some(password)) => say::note(&format!(
            "the first user is `admin` with the password {}, which is shown this once",
            password.expose_secret()
        )),
        Err(error) => return Ok(refused(&error)),
    }
    let tasks = [
        tokio::spawn(reap::always(app.clone())),
        tokio::spawn(statistics::always(app.database.clone())),
        tokio::spawn(agentless::always(app.clone())),
    ];
    let notifying = tokio::spawn(notify::always(app.clone()));
    say::note(&format!("serving at {}", listening.url()));
    let (access, agentless) = (Arc::clone(&app.access), Arc::clone(&app.agentless));
    let again = || {
        let settings = read_again(&arguments, &settings)?;
        access.bound(Bounds::of(&settings.limits));
        agentless.set(settings.agentless.clone());
        Some(settings)
    };
    listening.serve(app, &settings, &mut signals, again).await;
    for task in tasks {
        task.abort();
    }
    // It has seen that the server stops, and writes down how far it has come.
    if tokio::time::timeout(TO_STOP, notifying).await.is_err() {
        say::note("what was notified last was not written down, and will be notified again");
    }
    Ok(Exit::Success)
}

/// What the configuration says, and the command line before it.
fn said(arguments: &cli::Serve) -> Result<Settings, Exit> {
    let mut settings = settings(&arguments.place)?;
    if let Some(listen) = arguments.listen {
        settings.server.listen = listen;
    }
    Ok(settings)
}

/// The settings that count from now on, if the configuration is valid: what may change while the server runs, and the rest as it was at the
/// start. If that was changed, somebody is waiting for it.
fn read_again(arguments: &cli::Serve, start: &Settings) -> Option<Settings> {
    let Ok(said) = said(arguments) else {
        say::warning("the configuration was read again and is not valid; the former one stays in force");
        return None;
    };
    let others = [
        ("server", said.server != start.server),
        ("inventory", said.inventory != start.inventory),
        ("secrets", said.secrets != start.secrets),
        ("notify", said.notify != start.notify),
    ];
    say::note("the configuration was read again: `[limits]`, `[metrics]` and `[agentless]` count from now on");
    for (table, _) in others.into_iter().filter(|(_, is_changed)| *is_changed) {
        say::warning(&format!("what was changed in `[{table}]` counts from the next start; restart the server"));
    }
    Some(Settings { limits: said.limits, metrics: said.metrics, agentless: said.agentless, ..start.clone() })
}

/// Sees to it that a server that has its database in a file can keep secrets without being given a key. Whoever keeps none needs none.
fn make_missing(keys: &KeySource, has_secrets: bool) {
    match keys.make_missing(has_secrets) {
        Ok(None) => {}
        Ok(Some(path)) => say::note(&format!(
            "made {}: secrets in the database are encrypted with the key in it, and lost without it; keep a copy, and not with those of the \
             database",
            path.display()
        )),
        Err(error) => say::warning(&error.to_string()),
    }
}

/// Says which secrets this server cannot read, since it has no key for them.
fn tell_what_is_locked(vault: &Vault, used: &[Used]) {
    match vault.ids() {
        Ok(ids) => {
            for Used { key_id, of, count } in used.iter().filter(|used| !ids.contains(&used.key_id)) {
                say::warning(&format!(
                    "this server lacks the key {key_id}, and cannot read what is encrypted with it ({of}s: {count}): give it that key \
                     (`key_file` of `[secrets]`, or STOCKTAKE_SECRET_KEY), or store those secrets again"
                ));
            }
        }
        Err(error) => say::warning(&error.to_string()),
    }
}

/// The first user's password, if somebody has one in mind.
fn password() -> Option<SecretString> {
    std::env::var("STOCKTAKE_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into)
}
