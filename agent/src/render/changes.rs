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
    /// Images by what is shown of them; most containers share theirs with others.
    images: HashSet<Arc<str>>,
}

/// What is known of a source.
#[derive(Default)]
struct Known {
    /// Whether anything was ever seen of it.
    is_seen: bool,
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
    /// Why it is in that state. Not held: it alone is no change.
    why: Option<Box<str>>,
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
        let mut known = self.sources.remove(&source.collector).unwrap_or_default();
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
            for shown in now.values_mut() {
                shown.why = None;
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
            lines.push(first_line(source, &known));
            known.is_seen = source.coverage.has_seen();
        }
        self.sources.insert(source.collector.clone(), known);
        self.images.retain(|image| Arc::strong_count(image) > 1);
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
                image: self.image(&image_name(container.image.as_deref(), image)),
                state: container.state,
                why: why(container.state_reason.as_deref(), container).map(|why| plain(&why).into()),
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

    fn image(&mut self, name: &str) -> Arc<str> {
        let name = plain(name);
        if let Some(known) = self.images.get(&*name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.images.insert(Arc::clone(&new));
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
        return Line { place: source.collector.clone(), sign: '!', what: plain(&what) };
    }
    let containers = known.scopes.values().flatten().map(Containers::len).sum();
    let what = describe(source).unwrap_or_else(|| source.kind.clone());
    seen_now(source, &format!("{what}, {}", count(source.scopes.len(), "scope")), containers)
}

fn seen_now(source: &Source, of: &str, containers: usize) -> Line {
    let what = format!("{of}: {}", count(containers, "container"));
    Line { place: source.collector.clone(), sign: '=', what: plain(&what) }
}
