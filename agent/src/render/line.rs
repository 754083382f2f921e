//! A line of a table: what is shown of a container, whoever saw it.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::{
    Digest, RepoDigest,
    model::{Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Pod, Text, Workload},
};

use super::layout::{Column, Elide, full_width};

/// Blanks that a table of containers stands in.
const INDENT: usize = 2;

/// Below this width who saw a container has to go; `--by-source` tells it too.
const SEEN_BY: usize = 120;

/// Below this width the age has to go.
const NARROW: usize = 100;

/// A container's line. What there is nothing to say of is empty, and a column of nothing is left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    /// Why it is in that state: a reason, or an exit code.
    pub(crate) why: Option<String>,
    pub(crate) image: String,
    pub(crate) digests: Digests,
    pub(crate) workload: String,
    pub(crate) node: String,
    pub(crate) id: String,
    pub(crate) seen_by: String,
    pub(crate) age: String,
}

/// What is known of an image's digests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Digests {
    index: Option<Digest>,
    manifest: Option<Digest>,
    config: Option<Digest>,
    repo: Option<Digest>,
    /// Why none of them is known.
    missing: Option<MissingReason>,
}

impl Digests {
    /// Those of `image`, or why there is none. `repo` is what the repository that was asked for serves it under.
    pub(crate) fn of(image: Option<&Image>, missing: Option<MissingReason>, repo: Option<&RepoDigest>) -> Self {
        let known = |of: fn(&Image) -> &DigestFact| image.and_then(|image| of(image).digest()).cloned();
        let reason = image.map_or(missing, |image| match image.manifest_digest {
            DigestFact::Missing { missing } => Some(missing),
            DigestFact::Known { .. } => None,
        });
        Self {
            index: known(|image| &image.index_digest),
            manifest: known(|image| &image.manifest_digest),
            config: known(|image| &image.config_digest),
            repo: repo.map(|repo| repo.digest.clone()),
            missing: reason,
        }
    }

    fn is_known(&self) -> bool {
        [&self.index, &self.manifest, &self.config, &self.repo].into_iter().any(Option::is_some)
    }

    /// The one that says most: the platform's manifest, else what else there is, with what it is the digest of.
    fn best(&self) -> String {
        [("m", &self.manifest), ("r", &self.repo), ("i", &self.index), ("c", &self.config)]
            .into_iter()
            .find_map(|(letter, digest)| digest.as_ref().map(|digest| format!("{letter}:{}", digest.short())))
            .or_else(|| self.missing.map(|reason| format!("({reason})")))
            .unwrap_or_default()
    }
}

/// A name, or the first digits of an id that stands for one, with what the container is for.
pub(crate) fn container_name(name: &str, id: Option<&str>, kind: ContainerKind) -> String {
    let name = if is_hash(name) && id == Some(name) { &name[..12] } else { name };
    match kind {
        ContainerKind::Regular => name.to_owned(),
        kind => format!("{name} ({kind})"),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A pod, with its namespace where that is not the one that the line stands in.
pub(crate) fn pod_name(pod: Option<&Pod>, namespace: &str) -> String {
    match pod {
        Some(pod) if pod.namespace != namespace => format!("{}/{}", pod.namespace, pod.name),
        Some(pod) => pod.name.to_string(),
        None => String::new(),
    }
}

/// The image as it was asked for. Where that is not known, a name that it has, and how many more it has.
pub(crate) fn image_name(requested: Option<&str>, image: Option<&Image>) -> String {
    // A name with a digest in it is no name that anybody gave.
    let all = image.map(|image| image.names.as_slice()).unwrap_or_default();
    let names: Vec<&str> = all.iter().map(Text::as_str).filter(|name| !name.contains('@')).collect();
    match (requested, names.as_slice()) {
        (Some(requested), _) => short_reference(requested),
        (None, []) => all.first().map_or_else(|| "<unnamed>".to_owned(), |name| short_reference(name)),
        (None, [name]) => short_reference(name),
        (None, [name, more @ ..]) => format!("{} +{}", short_reference(name), more.len()),
    }
}

/// A name in which a digest takes no more room than it takes elsewhere in the table.
fn short_reference(name: &str) -> String {
    match name.split_once('@').map(|(repository, digest)| (repository, digest.parse::<Digest>())) {
        Some((repository, Ok(digest))) => format!("{repository}@{}", digest.short()),
        _ => name.to_owned(),
    }
}

/// A reason, or an exit code that has none.
pub(crate) fn why(reason: Option<&str>, container: &Container) -> Option<String> {
    reason.map(str::to_owned).or_else(|| container.exit_code.map(|code| code.to_string()))
}

pub(crate) fn workload_name(workload: Option<&Workload>) -> String {
    workload.map(|workload| format!("{}/{}", workload.kind, workload.name)).unwrap_or_default()
}

/// The first digits of an id that was drawn at random. One that somebody chose is not to be cut: others begin alike.
pub(crate) fn short_id(id: Option<&str>) -> String {
    id.map(|id| if is_hash(id) { &id[..12] } else { id }.to_owned()).unwrap_or_default()
}

/// The columns that `width` has room for: every digest and all else where nothing of it has to be cut, and otherwise the
/// digest that says most, with a letter for what it is the digest of.
pub(crate) fn columns(lines: &[Line], width: Option<usize>) -> Vec<Column> {
    let all = wide(lines);
    if width.is_none_or(|width| full_width(&all) + INDENT <= width) { all } else { narrow(lines, width) }
}

fn column(lines: &[Line], title: &str, min: usize, elide: Elide, cell: impl Fn(&Line) -> String) -> Column {
    Column { title: title.to_owned(), min, elide, cells: lines.iter().map(cell).collect() }
}

fn what(lines: &[Line], state: impl Fn(&Line) -> String) -> Vec<Column> {
    vec![
        column(lines, "NAMESPACE", 9, Elide::End, |line| line.namespace.clone()),
        column(lines, "POD", 14, Elide::Middle, |line| line.pod.clone()),
        column(lines, "CONTAINER", 10, Elide::End, |line| line.name.clone()),
        column(lines, "STATE", 7, Elide::End, state),
        column(lines, "IMAGE", 14, Elide::Start, |line| line.image.clone()),
    ]
}

fn wide(lines: &[Line]) -> Vec<Column> {
    let short = |digest: &Option<Digest>| digest.as_ref().map(|digest| digest.short().to_owned()).unwrap_or_default();
    let mut columns = what(lines, |line| match &line.why {
        Some(why) => format!("{} ({why})", line.state),
        None => line.state.to_owned(),
    });
    columns.extend([
        column(lines, "INDEX", 12, Elide::End, |line| short(&line.digests.index)),
        column(lines, "MANIFEST", 12, Elide::End, |line| {
            let reason = || if line.digests.is_known() { String::new() } else { line.digests.best() };
            line.digests.manifest.as_ref().map_or_else(reason, |digest| digest.short().to_owned())
        }),
        column(lines, "CONFIG", 12, Elide::End, |line| short(&line.digests.config)),
        column(lines, "REPO DIGEST", 12, Elide::End, |line| short(&line.digests.repo)),
        column(lines, "WORKLOAD", 10, Elide::Middle, |line| line.workload.clone()),
        column(lines, "NODE", 6, Elide::Middle, |line| line.node.clone()),
        column(lines, "ID", 12, Elide::End, |line| line.id.clone()),
        column(lines, "SEEN BY", 8, Elide::End, |line| line.seen_by.clone()),
        column(lines, "AGE", 4, Elide::End, |line| line.age.clone()),
    ]);
    columns
}

fn narrow(lines: &[Line], width: Option<usize>) -> Vec<Column> {
    let mut columns = what(lines, |line| line.state.to_owned());
    columns.push(column(lines, "DIGEST", 14, Elide::End, |line| line.digests.best()));
    if width.is_none_or(|width| width >= SEEN_BY) {
        columns.push(column(lines, "SEEN BY", 8, Elide::End, |line| line.seen_by.clone()));
    }
    if width.is_none_or(|width| width >= NARROW) {
        columns.push(column(lines, "AGE", 4, Elide::End, |line| line.age.clone()));
    }
    columns
}

/// How many containers in which state, from how many images, and what is not shown.
#[derive(Default)]
pub(crate) struct Summary<'a> {
    states: BTreeMap<&'static str, usize>,
    sandboxes: usize,
    images: BTreeSet<&'a str>,
}

impl<'a> Summary<'a> {
    pub(crate) fn add(&mut self, kind: ContainerKind, state: ContainerState, image: Option<&'a str>) {
        // Nobody asked for a sandbox to run.
        if kind == ContainerKind::Sandbox {
            self.sandboxes += 1;
        } else {
            *self.states.entry(state.as_str()).or_default() += 1;
        }
        self.images.extend(image);
    }
}

impl std::fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&count(self.states.values().sum(), "container"))?;
        let each: Vec<String> = self.states.iter().map(|(state, number)| format!("{number} {state}")).collect();
        if !each.is_empty() {
            write!(f, " ({})", each.join(", "))?;
        }
        write!(f, ", {}", count(self.images.len(), "image"))?;
        if self.sandboxes > 0 {
            write!(f, ", {} not shown", count(self.sandboxes, "pod sandbox"))?;
        }
        Ok(())
    }
}

pub(crate) fn count(number: usize, thing: &str) -> String {
    let ending = match (number, thing.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {thing}{ending}")
}

/// The two largest units would be more exact, and wider; kubectl's one is what people know.
pub(crate) fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
