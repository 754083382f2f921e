//! Sources as people make and change them, in whatever words.

use std::time::Duration;

use axum::http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use stocktake_agent::embed::{Limits, Look};
use tokio::sync::AcquireError;

use super::{
    Agentless,
    networks::Checked,
    store::{self, Extent, SHELF, Said, Source},
    target::{Docker, LONGEST_PEM, Target},
};
use crate::{
    access::{Actor, Caller, Change as Audited, lock},
    app::App,
    database::DatabaseError,
    http::Problem,
    secrets::{Bound, Sealed, Vault},
};

/// Seconds between two looks, if nobody says otherwise: Anchore's.
pub(crate) const INTERVAL: i64 = 300;

/// The shortest and the longest.
pub(crate) const INTERVALS: std::ops::RangeInclusive<i64> = 30..=86_400;

/// Bytes of a name, at the most.
const LONGEST_NAME: usize = 200;

/// How many sources an account may have.
const MOST_SOURCES: i64 = 1000;

/// How long a look at what is not kept may take: somebody waits for it.
const TEST: Duration = Duration::from_secs(30);

/// How long it waits for others.
const TURN: Duration = Duration::from_secs(10);

/// What is looked at, with what it takes.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) target: Target,
    pub(crate) credential: Option<SecretString>,
}

/// What is to be different of a source.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Without a credential it is the one that is there, as long as it is sent to where it was sent.
    pub(crate) given: Option<Given>,
    pub(crate) interval: Option<i64>,
    pub(crate) is_enabled: Option<bool>,
}

/// Keeps a new source, and has it looked at.
pub(crate) async fn create(
    app: &App,
    (caller, actor): (&Caller, &Actor),
    name: &str,
    Change { given, interval, is_enabled }: Change,
) -> Result<Source, Problem> {
    check_name(name)?;
    let interval = checked_interval(interval.unwrap_or(INTERVAL))?;
    let given = given.ok_or_else(|| Problem::bad_request("nothing says what to look at"))?;
    app.agentless.check(name, &given)?;
    let mut audited = Audited::begin(&app.database, actor, "agentless.create", name).await?;
    lock(audited.connection(), app.database.dialect(), &caller.account).await?;
    if store::count(audited.connection(), caller.account_id).await? >= MOST_SOURCES {
        let title = format!("the account has {MOST_SOURCES} sources, which is the most; remove one");
        return Err(Problem::new(StatusCode::CONFLICT, title));
    }
    let (account, id, destination) = (caller.account_id, audited.spare, given.target.destination());
    let bound = Bound { shelf: &SHELF, account, id, destination: &destination };
    let sealed = sealed(&app.vault, bound, given.credential.as_ref())?;
    let is_enabled = Some(is_enabled.unwrap_or(true));
    let said = Said { name, target: &given.target, sealed, interval: Some(interval), is_enabled };
    let source = store::insert(&app.database, audited.connection(), (account, id), said).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            format!("there is a source `{name}` already; choose another name, or change it"),
        )
    })?;
    audited.commit(account, given.target.kind()).await?;
    app.agentless.wake.notify_one();
    Ok(source)
}

/// Changes a source, and has it looked at.
pub(crate) async fn change(
    app: &App,
    (caller, actor): (&Caller, &Actor),
    name: &str,
    Change { given, interval, is_enabled }: Change,
) -> Result<Source, Problem> {
    let source = named(app, caller.account_id, name).await?;
    let (extent, target, sealed) = match given {
        None => (Extent::Schedule, source.target.clone(), None),
        Some(Given { target, credential: Some(credential) }) => {
            let given = Given { target, credential: Some(credential) };
            app.agentless.check(name, &given)?;
            let destination = given.target.destination();
            let bound = Bound { destination: &destination, ..source.bound() };
            let sealed = sealed(&app.vault, bound, given.credential.as_ref())?;
            (Extent::All, given.target, sealed)
        }
        Some(Given { target, credential: None }) => {
            let is_same = target.destination() == source.destination;
            // Else whoever may change a source could have its credential sent to themselves.
            if !is_same && source.sealed.is_some() {
                return Err(Problem::bad_request(
                    "a credential is only sent to where it was meant for: say it again together with where the source is now",
                ));
            }
            let given = Given { target, credential: opened(&app.vault, &source)? };
            app.agentless.check(name, &given)?;
            (if is_same { Extent::Selection } else { Extent::All }, given.target, None)
        }
    };
    let interval = interval.map(checked_interval).transpose()?;
    let mut audited = Audited::begin(&app.database, actor, "agentless.change", name).await?;
    let said = Said { name, target: &target, sealed, interval, is_enabled };
    let place = (source.account, source.id);
    let changed = store::update(&app.database, audited.connection(), place, (extent, said)).await?;
    let changed = changed.ok_or_else(|| match extent {
        Extent::Selection => {
            let title = format!(
                "somebody else has changed or removed `{name}` at the same time: see how it is, and say it again"
            );
            Problem::new(StatusCode::CONFLICT, title)
        }
        Extent::Schedule | Extent::All => missing(name),
    })?;
    audited.commit(source.account, if changed.is_enabled { "enabled" } else { "disabled" }).await?;
    app.agentless.wake.notify_one();
    Ok(changed)
}

/// Removes a source. Nobody looks at it any more, and what was seen of it ages.
pub(crate) async fn remove(app: &App, account: i64, name: &str) -> Result<(), Problem> {
    if store::delete(&app.database, account, name).await? { Ok(()) } else { Err(missing(name)) }
}

/// The account's source of this name.
pub(crate) async fn named(app: &App, account: i64, name: &str) -> Result<Source, Problem> {
    match store::find(&app.database, account, name).await {
        Ok(found) => found.ok_or_else(|| missing(name)),
        Err(DatabaseError::Sql(sqlx::Error::Decode(error))) => {
            tracing::error!(account, name, %error, "a source cannot be read");
            let title = format!(
                "this version of the server cannot read what is stored of `{name}`: remove it, and store it again"
            );
            Err(Problem::new(StatusCode::CONFLICT, title))
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks at what is not kept, and keeps nothing of it but that it was looked at, even if nobody waits for what comes of it.
pub(crate) async fn test(
    app: &App,
    (caller, actor): (&Caller, &Actor),
    name: &str,
    given: Given,
) -> Result<Look, Problem> {
    check_name(name)?;
    if app.agentless.settings().looks_at_once == 0 {
        let title = "this server does not look at anything (`looks_at_once = 0` of `[agentless]` in its configuration): ask one that does";
        return Err(Problem::new(StatusCode::CONFLICT, title));
    }
    app.agentless.check(name, &given)?;
    let own = app.agentless.tests_of(caller.account_id);
    let turns = async { Ok::<_, AcquireError>((own.acquire().await?, app.agentless.tests.acquire().await?)) };
    let Ok(Ok(_turns)) = tokio::time::timeout(TURN, turns).await else {
        let title = "others are trying their sources at the moment; try again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, title).later(10));
    };
    app.access.record(caller.account_id, actor, "agentless.test", name, given.target.kind()).await?;
    Ok(app.agentless.look_at(name, &given.target, given.credential, TEST).await)
}

/// Looks at a source as it is kept, and keeps nothing of what is seen.
pub(crate) async fn test_kept(app: &App, who: (&Caller, &Actor), name: &str) -> Result<Look, Problem> {
    let source = named(app, who.0.account_id, name).await?;
    let credential = opened(&app.vault, &source)?;
    test(app, who, name, Given { target: source.target, credential }).await
}

impl Agentless {
    /// Refuses what no collector would take. Nothing is asked over the network.
    fn check(&self, name: &str, given: &Given) -> Result<(), Problem> {
        given.target.check()?;
        if given.credential.as_ref().is_some_and(|credential| credential.expose_secret().len() > LONGEST_PEM) {
            return Err(Problem::bad_request(format!("the credential has more than {LONGEST_PEM} bytes")));
        }
        let needs = match &given.target {
            Target::Kubernetes(_) => true,
            Target::Docker(Docker { daemon, .. }) => daemon.client_certificate.is_some(),
        };
        if needs != given.credential.is_some() {
            return Err(Problem::bad_request(match &given.target {
                Target::Kubernetes(_) => {
                    "there is no credential: neither a token nor a client's certificate with its key"
                }
                Target::Docker(_) => "a client's certificate and its key belong together; one of them is missing",
            }));
        }
        let settings = given.target.settings(name, given.credential.as_ref(), Checked::default());
        let collectors = self.collectors().map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        let built = collectors.build(given.target.kind(), settings, Limits { timeout: TEST, bytes: 0 });
        built.map(drop).map_err(|error| Problem::bad_request(format!("it cannot be looked at: {error}")))
    }
}

fn sealed(vault: &Vault, bound: Bound<'_>, credential: Option<&SecretString>) -> Result<Option<Sealed>, Problem> {
    Ok(credential.map(|credential| vault.seal(bound, credential)).transpose()?)
}

fn opened(vault: &Vault, source: &Source) -> Result<Option<SecretString>, Problem> {
    Ok(source.sealed.as_ref().map(|sealed| vault.open(source.bound(), sealed)).transpose()?)
}

fn missing(name: &str) -> Problem {
    let name: String = name.chars().take(LONGEST_NAME).collect();
    Problem::not_found(format!("there is no source `{name}`"))
}

fn check_name(name: &str) -> Result<(), Problem> {
    if !name.trim().is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("a name has 1 to {LONGEST_NAME} bytes, and no control characters")))
}

fn checked_interval(seconds: i64) -> Result<i64, Problem> {
    if INTERVALS.contains(&seconds) {
        return Ok(seconds);
    }
    let (shortest, longest) = (INTERVALS.start(), INTERVALS.end());
    Err(Problem::bad_request(format!("`interval_seconds` is {seconds}: expected {shortest} to {longest}")))
}
