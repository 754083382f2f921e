//! `serve`: the server.

use secrecy::{ExposeSecret as _, SecretString};

use super::{database_of, open, refused, settings};
use crate::{app::App, cli, database::statistics, exit::Exit, reap, say, serve};

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
        let database = open(&database_of(&settings)?).await?;
        Ok((settings, listening, database))
    };
    let (settings, listening, database) = tokio::select! {
        prepared = prepared => match prepared {
            Ok(prepared) => prepared,
            Err(exit) => return Ok(exit),
        },
        () = signals.stop() => return Ok(Exit::Success),
    };
    let retention = settings.inventory.retention()?;
    let app = App::new(database, retention);
    match app.access.bootstrap(password()).await {
        Ok(None) => {}
        Ok(Some(password)) => say::note(&format!(
            "the first user is `admin` with the password {}, which is shown this once",
            password.expose_secret()
        )),
        Err(error) => return Ok(refused(&error)),
    }
    let tasks = [tokio::spawn(reap::always(app.clone())), tokio::spawn(statistics::always(app.database.clone()))];
    say::note(&format!("serving at {}", listening.url()));
    listening.serve(app, &settings, &mut signals).await;
    for task in tasks {
        task.abort();
    }
    Ok(Exit::Success)
}

/// The first user's password, if somebody has one in mind.
fn password() -> Option<SecretString> {
    std::env::var("STOCKTAKE_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into)
}
