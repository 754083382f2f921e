//! A runtime that dies, hangs, and comes back.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Daemon,
    look::{End, Fate, Look, look, probe},
    rule,
    rule::Rule,
    suite::{DAEMON_LIMIT, Suite},
    truth::Truth,
};
use crate::{CollectError, RuntimeCollector, Selection, model::Coverage};

const RULES: [Rule; 7] =
    [rule::CONSTRUCTION, rule::LETTING_GO, rule::DOWN_PROBE, rule::DOWN, rule::HUNG, rule::KILLED, rule::COMES_BACK];

/// At which parts of a collection, in percent of its awaits, the daemon is killed; the order matters if time is short.
const MOMENTS: [usize; 6] = [50, 10, 80, 30, 95, 65];
/// Some daemons take long to start: after this time no more than [`MIN_MOMENTS`] are tried.
const ENOUGH: Duration = Duration::from_secs(12);
const MIN_MOMENTS: usize = 3;

pub(super) async fn check(suite: &mut Suite, truth: &Truth) {
    let why = match suite.daemon() {
        None => "the test gave the suite no daemon that it may stop".to_owned(),
        Some(daemon) => match with_daemon(suite, truth, &daemon).await {
            Ok(()) => return,
            Err(error) => error,
        },
    };
    for rule in RULES {
        suite.skip(rule, &why);
    }
}

/// Fails with what went wrong with the daemon, or what makes it useless.
async fn with_daemon(suite: &mut Suite, truth: &Truth, daemon: &Arc<dyn Daemon>) -> Result<(), String> {
    let collector = suite.build().await?;
    let _ = suite.look(&collector, Selection::All).await;
    down(suite, daemon, &collector).await?;
    comes_back(suite, truth, &collector).await?;
    hung(suite, truth, daemon, &collector).await?;
    comes_back(suite, truth, &collector).await?;
    killed(suite, truth, daemon, &collector).await
}

async fn down(suite: &mut Suite, daemon: &Arc<dyn Daemon>, known: &Arc<dyn RuntimeCollector>) -> Result<(), String> {
    act(daemon, "killed", |daemon| daemon.kill()).await?;
    let new = construction(suite, "down").await;
    for collector in new.iter().chain([known]) {
        let end = probe(collector, suite.subject.deadline).await;
        let is_unavailable = matches!(end, End::Erred(CollectError::Unavailable { .. }));
        suite.judge(rule::DOWN_PROBE, (!is_unavailable).then(|| end.to_string()));
        let look = suite.look(collector, Selection::All).await;
        suite.judge(rule::DOWN, dishonesty(&look));
    }
    act(daemon, "started again", |daemon| daemon.start()).await
}

/// What is wrong with a collection from a runtime that is down.
fn dishonesty(look: &Look) -> Option<String> {
    if let Some(scope) = look.scopes.iter().find(|scope| scope.coverage.has_seen()) {
        return Some(format!("{} is {}", scope.id, scope.coverage.status()));
    }
    match &look.end {
        End::Answered(Coverage::Complete) if look.scopes.is_empty() => Some("a complete list of no scopes".to_owned()),
        End::Erred(CollectError::Unavailable { .. }) | End::Answered(_) => None,
        end => Some(end.to_string()),
    }
}

async fn hung(
    suite: &mut Suite,
    truth: &Truth,
    daemon: &Arc<dyn Daemon>,
    collector: &Arc<dyn RuntimeCollector>,
) -> Result<(), String> {
    act(daemon, "made to hang", |daemon| daemon.hang()).await?;
    construction(suite, "hung").await;
    let (probe, look) = tokio::join!(probe(collector, suite.subject.deadline), suite.look(collector, Selection::All));
    let kept_its_thread = |let_go| (let_go == Some(false)).then(|| "one that was dropped goes on".to_owned());
    let let_go = [let_go(&probe), let_go(&look.end)];
    suite.judge(rule::LETTING_GO, kept_its_thread(let_go[0]).or_else(|| kept_its_thread(let_go[1])));
    let complete = look.scopes.iter().find(|scope| scope.coverage.is_complete());
    let seen = complete.map(|scope| format!("{} is called complete", scope.id)).or_else(|| truth.overclaim(&look));
    suite.judge(rule::HUNG, seen);
    act(daemon, "made to go on", |daemon| daemon.resume()).await
}

/// Whether the call was dropped at its deadline, and if so whether it let go.
fn let_go<T>(end: &End<T>) -> Option<bool> {
    match end {
        End::TimedOut { let_go, .. } => Some(*let_go),
        _ => None,
    }
}

async fn construction(suite: &mut Suite, state: &str) -> Option<Arc<dyn RuntimeCollector>> {
    let built = suite.build().await;
    let seen = built.as_ref().err().map(|error| format!("while the runtime was {state}: {error}"));
    suite.judge(rule::CONSTRUCTION, seen);
    built.ok()
}

async fn killed(
    suite: &mut Suite,
    truth: &Truth,
    daemon: &Arc<dyn Daemon>,
    collector: &Arc<dyn RuntimeCollector>,
) -> Result<(), String> {
    let began = Instant::now();
    let mut harmed = 0;
    for (number, percent) in MOMENTS.into_iter().enumerate() {
        if number >= MIN_MOMENTS && began.elapsed() > ENOUGH {
            break;
        }
        let whole = suite.look(collector, Selection::All).await;
        let polls = (whole.polls * percent / 100).max(1);
        let killing = Arc::clone(daemon);
        let kill = Box::pin(async move {
            // Whether it worked is told by the next call, which is the same again.
            let _ = act(&killing, "killed", |daemon| daemon.kill()).await;
        });
        let fate = Fate::Disturbed { polls, by: kill };
        let look = look(collector, Selection::All, fate, suite.subject.deadline).await;
        act(daemon, "killed", |daemon| daemon.kill()).await?;
        act(daemon, "started again", |daemon| daemon.start()).await?;
        harmed += usize::from(Truth::of(&look).is_err());
        let seen = truth.overclaim(&look).or_else(|| match &look.end {
            end @ (End::Panicked(_) | End::TimedOut { .. }) => Some(end.to_string()),
            _ => None,
        });
        let seen = seen.map(|seen| format!("killed after {polls} of {} polls: {seen}", whole.polls));
        if let Some(seen) = seen {
            suite.fail(rule::KILLED, seen);
        }
        comes_back(suite, truth, collector).await?;
    }
    if harmed == 0 {
        suite.skip(
            rule::KILLED,
            "each collection was over before the daemon's end reached it; give the runtime more content",
        );
    } else {
        suite.pass(rule::KILLED);
    }
    Ok(())
}

/// A collector from before has to see what a new one sees, and that has to be what there was.
async fn comes_back(suite: &mut Suite, truth: &Truth, collector: &Arc<dyn RuntimeCollector>) -> Result<(), String> {
    let new = suite.build().await?;
    match Truth::of(&suite.look(&new, Selection::All).await) {
        Err(incomplete) => {
            suite.fail(rule::COMES_BACK, format!("not even a new collector sees all: {incomplete}"));
            return Err("the runtime could not be seen any more after it was stopped".to_owned());
        }
        Ok(seen) => {
            if let Some(difference) = truth.difference_from(&seen) {
                return Err(format!("the runtime came back with other content: {difference}"));
            }
        }
    }
    let look = suite.look(collector, Selection::All).await;
    suite.judge(rule::COMES_BACK, truth.difference(&look));
    Ok(())
}

/// Does something to the daemon, which may block, for at most [`DAEMON_LIMIT`].
pub(super) async fn act(
    daemon: &Arc<dyn Daemon>,
    done: &str,
    action: fn(&dyn Daemon) -> io::Result<()>,
) -> Result<(), String> {
    let daemon = Arc::clone(daemon);
    let acting = tokio::task::spawn_blocking(move || action(&*daemon));
    match tokio::time::timeout(DAEMON_LIMIT, acting).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(format!("the daemon could not be {done}: {error}")),
        Ok(Err(panic)) => Err(format!("the daemon could not be {done}: {panic}")),
        Err(_) => Err(format!("the daemon was not {done} within {DAEMON_LIMIT:?}")),
    }
}
