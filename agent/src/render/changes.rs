//! For people who watch: a line for each container that appeared, changed or is gone.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    io::{self, Write},
    sync::Arc,
};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use stocktake_core::model::{Container, ContainerKind, ContainerState, Image, Pod, Scope, ScopeId, ScopeKind, Source};

use super::{
    by_source::describe,
    line::{container_name, count, image_name, why},
    plain::plain,
};
use crate::follow::Update;

/// Tells what changes from one update to the next. Of each container it holds what a line about it needs, and no more.
#[derive(Default)]
pub(crate) struct Changes {
    /// Whether a line has to say whose it is.
    are_several: bool,
    sources: HashMap<String, Known>,
    keys: RandomState,
    /// What is shown of images and reasons; most containers share theirs with others.
    texts: HashSet<Arc<str>>,
}

/// What is known of a source.
#[derive(Default)]
struct Known {
    /// Whether anything was ever seen of it.
    is_seen: bool,
    /// Whether it was told why not.
    is_told: bool,
    /// None where a scope is listed and nothing was ever seen of it.
    scopes: HashMap<ScopeId, Option<Containers>>,
}

type Containers = HashMap<u64, Shown>;

/// What is shown of a container.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    place: Box<str>,
    image: Arc<str>,
    state: ContainerState,
    /// Why it is in that state. It alone is a change only of what waits: nothing else tells that it will go on waiting.
    why: Option<Arc<str>>,
    /// Whether it is from an earlier look than the latest one that saw something of its scope.
    is_old: bool,
}

impl Changes {
    /// `are_several`: whether there are several sources, so that each line has to name its own.
    pub(crate) fn new(are_several: bool) -> Self {
        Self { are_several, ..Self::default() }
    }

    /// Writes what an update changes. What is seen of a source or scope for the first time has not appeared: it gets one
    /// line. What a scope that was not completely seen lacks may still be there.
    pub(crate) fn write(&mut self, update: &Update, out: &mut impl Write) -> io::Result<()> {
        let source = &update.source;
        let mut known = self.sources.remove(source.collector.as_str()).unwrap_or_default();
        let mut lines = Vec::new();
        for change in &update.changed {
            let (id, is_complete) = (&change.entry.id, change.entry.coverage.is_complete());
            let Some(body) = update.body(change) else {
                let held = known.scopes.entry(id.clone()).or_default();
                // What was all that could be seen is now all that there is.
                if let Some(containers) = held.as_mut().filter(|_| is_complete) {
                    lines.extend(containers.extract_if(|_, shown| shown.is_old).map(|(_, shown)| gone(&shown)));
                }
                continue;
            };
            let mut now = self.containers(source, id, body);
            let held = known.scopes.remove(id);
            let is_unseen = matches!(held, Some(None));
            let before = held.flatten().unwrap_or_default();
            if known.is_seen && is_unseen {
                lines.push(seen_now(source, &id.to_string(), now.len()));
            } else if known.is_seen {
                compare(&before, &now, is_complete, &mut lines);
            }
            if !is_complete {
                let old = before.into_iter().filter(|(key, _)| !now.contains_key(key));
                let old: Vec<_> = old.map(|(key, shown)| (key, Shown { is_old: true, ..shown })).collect();
                now.extend(old);
            }
            known.scopes.insert(id.clone(), Some(now));
        }
        for id in &update.gone {
            let before = known.scopes.remove(id).flatten().unwrap_or_default();
            compare(&before, &Containers::new(), true, &mut lines);
        }
        if !known.is_seen {
            known.is_seen = source.coverage.has_seen();
            let was_told = std::mem::replace(&mut known.is_told, true);
            if known.is_seen || !was_told {
                lines.push(first_line(source, &known));
            }
        }
        self.sources.insert(source.collector.to_string(), known);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        lines.sort();
        let of = if self.are_several { format!("  ({})", source.collector) } else { String::new() };
        lines.into_iter().try_for_each(|line| line.write(source.observed_at, &of, out))
    }

    /// The containers of a scope but for pods' sandboxes.
    fn containers(&mut self, source: &Source, scope: &ScopeId, body: &Scope) -> Containers {
        let pods: HashMap<&str, &Pod> = body.pods.iter().map(|pod| (&*pod.uid, pod)).collect();
        let images: HashMap<&str, &Image> = body.images.iter().map(|image| (&*image.id, image)).collect();
        let mut containers: Vec<&Container> =
            body.containers.iter().filter(|container| container.kind != ContainerKind::Sandbox).collect();
        // A runtime may still list earlier attempts at a container of a pod: the one that counts comes last.
        containers.sort_by_key(|container| (container.state == ContainerState::Running, container.created_at));
        let mut shown = Containers::with_capacity(containers.len());
        for container in containers {
            let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(uid).copied());
            let image = container.image_ref.as_deref().and_then(|id| images.get(id).copied());
            let line = Shown {
                place: place(source, scope, pod, container).into(),
                image: self.shared(&image_name(container.image.as_deref(), image)),
                state: container.state,
                why: why(container.state_reason.as_deref(), container).map(|why| self.shared(&why)),
                is_old: false,
            };
            shown.insert(self.key(container), line);
        }
        shown
    }

    /// What stays the same while a container is the same to people: within a pod its name, also when it is made anew.
    fn key(&self, container: &Container) -> u64 {
        match &container.pod_uid {
            Some(uid) => self.keys.hash_one((&**uid, container.kind as u8, &*container.name)),
            None => self.keys.hash_one((container.id.as_deref(), &*container.name)),
        }
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        let text = plain(text);
        if let Some(known) = self.texts.get(&*text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

/// Namespace, pod and container, or host and container.
fn place(source: &Source, scope: &ScopeId, pod: Option<&Pod>, container: &Container) -> String {
    let name = container_name(&container.name, container.id.as_deref(), container.kind);
    let place = if let Some(pod) = pod {
        format!("{}/{}/{name}", pod.namespace, pod.name)
    } else {
        let host = source.host.as_ref().and_then(|host| host.hostname.as_deref());
        let host = host.unwrap_or(&source.collector);
        match scope.kind {
            ScopeKind::Namespace => format!("{host}/{}/{name}", scope.name),
            _ => format!("{host}/{name}"),
        }
    };
    plain(&place)
}

/// A line, by where it is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    place: String,
    sign: char,
    what: String,
}

impl Line {
    fn write(&self, at: Timestamp, of: &str, out: &mut impl Write) -> io::Result<()> {
        let Self { place, sign, what } = self;
        let colour = match sign {
            '+' => AnsiColor::Green,
            '-' => AnsiColor::Red,
            '~' => AnsiColor::Yellow,
            _ => AnsiColor::Blue,
        };
        let style = Style::new().fg_color(Some(colour.into()));
        writeln!(out, "{}  {style}{sign}{style:#} {place}  {what}{of}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// What was there, what is there now, and whether what is not there now is gone.
fn compare(before: &Containers, now: &Containers, is_complete: bool, lines: &mut Vec<Line>) {
    for (key, shown) in now {
        let state = || with_why(shown);
        match before.get(key) {
            None => lines.push(line('+', shown, format!("{}  {}", shown.image, state()))),
            Some(known) if known.image != shown.image => {
                lines.push(line('~', shown, format!("{} -> {}  {}", known.image, shown.image, state())));
            }
            Some(known) if known.state != shown.state => {
                lines.push(line('~', shown, format!("{}  {} -> {}", shown.image, known.state.as_str(), state())));
            }
            Some(known) if shown.state == ContainerState::Waiting && known.why != shown.why => {
                lines.push(line('~', shown, format!("{}  {} -> {}", shown.image, with_why(known), state())));
            }
            Some(_) => {}
        }
    }
    if is_complete {
        lines.extend(before.iter().filter(|(key, _)| !now.contains_key(key)).map(|(_, shown)| gone(shown)));
    }
}

fn gone(shown: &Shown) -> Line {
    line('-', shown, format!("{}  {}", shown.image, shown.state.as_str()))
}

fn line(sign: char, shown: &Shown, what: String) -> Line {
    Line { place: shown.place.to_string(), sign, what }
}

fn with_why(shown: &Shown) -> String {
    match &shown.why {
        Some(why) => format!("{} ({why})", shown.state.as_str()),
        None => shown.state.as_str().to_owned(),
    }
}

fn first_line(source: &Source, known: &Known) -> Line {
    if let (false, Some(reason)) = (source.coverage.has_seen(), source.coverage.reason()) {
        let what = format!("{}: {reason}", source.coverage.status());
        return Line { place: source.collector.to_string(), sign: '!', what: plain(&what) };
    }
    let containers = known.scopes.values().flatten().map(Containers::len).sum();
    let what = describe(source).unwrap_or_else(|| source.kind.to_string());
    seen_now(source, &format!("{what}, {}", count(source.scopes.len(), "scope")), containers)
}

fn seen_now(source: &Source, of: &str, containers: usize) -> Line {
    let what = format!("{of}: {}", count(containers, "container"));
    Line { place: source.collector.to_string(), sign: '=', what: plain(&what) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stocktake_core::{
        Digest,
        model::{Counts, Coverage, Host, RuntimeVersion, ScopeEntry, Shown as HowMuch},
        scope_digest,
    };

    use super::*;
    use crate::follow::{Change, Look};

    /// A container of a host: name, image and state.
    fn container(name: &str, image: &str, state: ContainerState) -> Container {
        let (id, image) = (Some(name.into()), Some(image.into()));
        Container { id, name: name.into(), image, state, ..Container::default() }
    }

    /// One of pod `p`, of which there may be an earlier attempt.
    fn in_pod(id: &str, state: ContainerState) -> Container {
        Container { id: Some(id.into()), pod_uid: Some("p".into()), ..container("web", "app:1", state) }
    }

    struct Terminal {
        changes: Changes,
        is_first: bool,
    }

    impl Terminal {
        fn new() -> Self {
            Self { changes: Changes::default(), is_first: true }
        }

        /// What is written about a scope `s` that was seen so, without the time; `None` is a scope that was not.
        fn sees(&mut self, coverage: Coverage, containers: Option<Vec<Container>>) -> Vec<String> {
            let pods = vec![Pod { uid: "p".into(), name: "pod".into(), namespace: "shop".into(), ..Pod::default() }];
            let body = containers.map(|containers| Scope { containers, pods, ..Scope::default() });
            let bodies: BTreeMap<Digest, Scope> = body.into_iter().map(|body| (scope_digest(&body), body)).collect();
            let digest = bodies.keys().next().cloned();
            let (id, counts) = (ScopeId::namespace("s"), Counts::default());
            let entry = ScopeEntry { id, coverage, digest, counts };
            let change = Change { has_new_content: !bodies.is_empty(), entry };
            self.update(vec![change], bodies, Vec::new())
        }

        fn update(&mut self, changed: Vec<Change>, bodies: BTreeMap<Digest, Scope>, gone: Vec<ScopeId>) -> Vec<String> {
            self.update_of(COMPLETE, changed, bodies, gone)
        }

        fn update_of(
            &mut self,
            coverage: Coverage,
            changed: Vec<Change>,
            bodies: BTreeMap<Digest, Scope>,
            gone: Vec<ScopeId>,
        ) -> Vec<String> {
            let source = Source {
                collector: "edge".into(),
                kind: "docker".into(),
                runtime: Some(RuntimeVersion { name: "docker".into(), version: "1".into() }),
                cluster: None,
                host: Some(Host { hostname: Some("h".into()), machine_id: None }),
                observed_at: "2026-01-31T08:00:00.5Z".parse().unwrap(),
                coverage,
                shown: HowMuch::All,
                warnings: Vec::new(),
                cost: None,
                scopes: changed.iter().map(|change| change.entry.clone()).collect(),
            };
            let is_first = std::mem::take(&mut self.is_first);
            let mut out = anstream::StripStream::new(Vec::new());
            self.changes
                .write(&Update { source, changed, gone, bodies, is_first, look: Look::default() }, &mut out)
                .unwrap();
            let text = String::from_utf8(out.into_inner()).unwrap();
            let without_time = |line: &str| line.strip_prefix("2026-01-31T08:00:00Z  ").unwrap().to_owned();
            text.lines().map(without_time).collect()
        }
    }

    use ContainerState::{Exited, Running};
    const COMPLETE: Coverage = Coverage::Complete;

    fn failed() -> Coverage {
        Coverage::Failed { reason: "no".into() }
    }

    fn partial() -> Coverage {
        Coverage::Partial { reason: "some".into() }
    }

    #[test]
    fn a_container_that_comes_changes_and_goes_has_a_line_each_time() {
        let mut terminal = Terminal::new();
        let first = terminal.sees(COMPLETE, Some(vec![container("a", "app:1", Running)]));
        assert_eq!(first, ["= edge  docker 1, host h, 1 scope: 1 container"]);
        let both =
            terminal.sees(COMPLETE, Some(vec![container("a", "app:1", Running), container("b", "db:2", Running)]));
        assert_eq!(both, ["+ h/s/b  db:2  running"]);
        let ended = Container { exit_code: Some(137), ..container("a", "app:1", Exited) };
        let changed = terminal.sees(COMPLETE, Some(vec![ended, container("b", "db:3", Running)]));
        assert_eq!(changed, ["~ h/s/a  app:1  running -> exited (137)", "~ h/s/b  db:2 -> db:3  running"]);
        let gone = terminal.sees(COMPLETE, Some(vec![container("b", "db:3", Running)]));
        assert_eq!(gone, ["- h/s/a  app:1  exited"]);
        assert_eq!(terminal.update(Vec::new(), BTreeMap::new(), Vec::new()), [""; 0]);
        assert_eq!(
            terminal.update(Vec::new(), BTreeMap::new(), vec![ScopeId::namespace("s")]),
            ["- h/s/b  db:3  running"]
        );
    }

    #[test]
    fn what_was_not_seen_is_not_gone() {
        let mut terminal = Terminal::new();
        terminal.sees(COMPLETE, Some(vec![container("a", "x", Running), container("b", "x", Running)]));
        assert_eq!(terminal.sees(failed(), None), [""; 0]);
        let only_a = || Some(vec![container("a", "x", Running)]);
        assert_eq!(terminal.sees(partial(), only_a()), [""; 0]);
        assert_eq!(terminal.sees(COMPLETE, only_a()), ["- h/s/b  x  running"]);
    }

    /// Then it has no new content.
    #[test]
    fn what_was_not_seen_is_gone_once_the_same_content_is_complete() {
        let mut terminal = Terminal::new();
        terminal.sees(COMPLETE, Some(vec![container("a", "x", Running), container("b", "x", Running)]));
        terminal.sees(partial(), Some(vec![container("a", "x", Running)]));
        assert_eq!(terminal.sees(COMPLETE, None), ["- h/s/b  x  running"]);
        assert_eq!(terminal.sees(COMPLETE, None), [""; 0]);
    }

    #[test]
    fn a_scope_that_could_not_be_seen_before_has_not_appeared() {
        let mut terminal = Terminal::new();
        terminal.sees(failed(), None);
        let seen = terminal.sees(COMPLETE, Some(vec![container("a", "x", Running)]));
        assert_eq!(seen, ["= edge  namespace s: 1 container"]);
    }

    #[test]
    fn a_source_that_is_not_seen_says_so_once() {
        let mut terminal = Terminal::new();
        let mut look = |coverage| terminal.update_of(coverage, Vec::new(), BTreeMap::new(), Vec::new());
        assert_eq!(look(failed()), ["! edge  failed: no"]);
        assert_eq!(look(failed()), [""; 0]);
        assert_eq!(look(COMPLETE), ["= edge  docker 1, host h, 0 scopes: 0 containers"]);
        assert_eq!(look(failed()), [""; 0], "what it was is known");
    }

    #[test]
    fn a_container_of_a_pod_is_the_same_when_it_is_made_anew() {
        let mut terminal = Terminal::new();
        terminal.sees(COMPLETE, Some(vec![in_pod("1", Running)]));
        let crashed = terminal.sees(COMPLETE, Some(vec![in_pod("1", Exited)]));
        assert_eq!(crashed, ["~ shop/pod/web  app:1  running -> exited"]);
        let again = terminal.sees(COMPLETE, Some(vec![in_pod("2", Running), in_pod("1", Exited)]));
        assert_eq!(again, ["~ shop/pod/web  app:1  exited -> running"]);
    }

    #[test]
    fn sandboxes_and_control_characters_are_not_shown_and_images_are_not_kept_for_ever() {
        let mut terminal = Terminal::new();
        terminal.sees(COMPLETE, Some(Vec::new()));
        let sandbox = Container { kind: ContainerKind::Sandbox, ..container("pause", "pause", Running) };
        let lines = terminal.sees(COMPLETE, Some(vec![sandbox, container("a\n", "x\u{1b}[2J", Running)]));
        assert_eq!(lines, ["+ h/s/a\u{fffd}  x\u{fffd}[2J  running"]);
        terminal.sees(COMPLETE, Some(Vec::new()));
        assert!(terminal.changes.texts.is_empty());
    }
}
