//! `serve`: the server.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{database_of, key_source, open, refused, settings, vault};
use crate::{
    agentless::{self, Agentless},
    app::App,
    cli,
    database::statistics,
    exit::Exit,
    notify, reap, say,
    secrets::KeySource,
    serve,
};

/// How long notifying may take to end.
const TO_STOP: Duration = Duration::from_secs(10);

pub(super) async fn run(arguments: cli::Serve) -> anyhow::Result<Exit> {
    let mut signals = serve::Signals::heed()?;
    let prepared = async {
        let mut settings = settings(&arguments.place)?;
        if let Some(listen) = arguments.listen {
            settings.server.listen = listen;
        }
        let listening = serve::Listening::start(&settings).await.map_err(|error| {
            say::error(&format!("{error:#}"));
            Exit::Config
        })?;
        let url = database_of(&settings)?;
        let database = open(&url).await?;
        let keys = key_source(&settings, &url)?;
        make_missing(&keys)?;
        let vault = vault(keys)?;
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
    listening.serve(app, &settings, &mut signals).await;
    for task in tasks {
        task.abort();
    }
    // It has seen that the server stops, and writes down how far it has come.
    if tokio::time::timeout(TO_STOP, notifying).await.is_err() {
        say::note("what was notified last was not written down, and will be notified again");
    }
    Ok(Exit::Success)
}

/// Sees to it that a server that has its database in a file can keep secrets without being given a key.
fn make_missing(keys: &KeySource) -> Result<(), Exit> {
    match keys.make_missing() {
        Ok(None) => Ok(()),
        Ok(Some(path)) => {
            say::note(&format!(
                "made {}: secrets in the database are encrypted with the key in it, and lost without it; keep a copy, and not with those of \
                 the database",
                path.display()
            ));
            Ok(())
        }
        Err(error) => {
            say::error(&error.to_string());
            Err(Exit::Config)
        }
    }
}

/// The first user's password, if somebody has one in mind.
fn password() -> Option<SecretString> {
    std::env::var("STOCKTAKE_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into)
}
