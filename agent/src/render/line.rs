//! A line of a table: what is shown of a container, whoever saw it.

use std::collections::{BTreeMap, BTreeSet};

use stocktake_core::{
    Digest, RepoDigest,
    model::{Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Pod, Workload},
};

use super::layout::{Column, Elide};

/// From this width on there is room for every digest and for what is otherwise left to `--format json`.
const WIDE: usize = 160;

/// There is room for who saw a container from this width on, and beside every digest from that one; `--by-source` tells
/// it too.
const SEEN_BY: [usize; 2] = [120, 175];

/// Below this width the age has to go.
const NARROW: usize = 100;

/// Whether a table of this width has to tell digests apart by a letter.
pub(crate) fn is_lettered(width: Option<usize>) -> bool {
    width.is_some_and(|width| width < WIDE)
}

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
    let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = if is_hash && id == Some(name) { &name[..12] } else { name };
    match kind {
        ContainerKind::Regular => name.to_owned(),
        kind => format!("{name} ({kind})"),
    }
}

/// A pod, with its namespace where that is not the one that the line stands in.
pub(crate) fn pod_name(pod: Option<&Pod>, namespace: &str) -> String {
    match pod {
        Some(pod) if pod.namespace != namespace => format!("{}/{}", pod.namespace, pod.name),
        Some(pod) => pod.name.clone(),
        None => String::new(),
    }
}

/// The image as it was asked for. Where that is not known, a name that it has, and how many more it has.
pub(crate) fn image_name(requested: Option<&str>, image: Option<&Image>) -> String {
    // A name with a digest in it is no name that anybody gave.
    let all = image.map(|image| image.names.as_slice()).unwrap_or_default();
    let names: Vec<&String> = all.iter().filter(|name| !name.contains('@')).collect();
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

pub(crate) fn short_id(id: Option<&str>) -> String {
    id.map(|id| id.get(..12).unwrap_or(id).to_owned()).unwrap_or_default()
}

/// The columns that `width` has room for.
pub(crate) fn columns(lines: &[Line], width: Option<usize>) -> Vec<Column> {
    let wide = !is_lettered(width);
    let narrow = width.is_some_and(|width| width < NARROW);
    let column = |title: &str, min, elide, cell: &dyn Fn(&Line) -> String| Column {
        title: title.to_owned(),
        min,
        elide,
        cells: lines.iter().map(cell).collect(),
    };
    let state = |line: &Line| match &line.why {
        Some(why) if wide => format!("{} ({why})", line.state),
        _ => line.state.to_owned(),
    };
    let short = |digest: &Option<Digest>| digest.as_ref().map(|digest| digest.short().to_owned()).unwrap_or_default();
    let mut columns = vec![
        column("NAMESPACE", 9, Elide::End, &|line| line.namespace.clone()),
        column("POD", 14, Elide::Middle, &|line| line.pod.clone()),
        column("CONTAINER", 10, Elide::End, &|line| line.name.clone()),
        column("STATE", 7, Elide::End, &state),
        column("IMAGE", 14, Elide::Start, &|line| line.image.clone()),
    ];
    if wide {
        columns.extend([
            column("INDEX", 12, Elide::End, &|line| short(&line.digests.index)),
            column("MANIFEST", 12, Elide::End, &|line| short(&line.digests.manifest)),
            column("CONFIG", 12, Elide::End, &|line| short(&line.digests.config)),
            column("REPO DIGEST", 12, Elide::End, &|line| short(&line.digests.repo)),
            column("WORKLOAD", 10, Elide::Middle, &|line| line.workload.clone()),
            column("NODE", 6, Elide::Middle, &|line| line.node.clone()),
            column("ID", 12, Elide::End, &|line| line.id.clone()),
        ]);
    } else {
        columns.push(column("DIGEST", 14, Elide::End, &|line| line.digests.best()));
    }
    if width.is_none_or(|width| width >= SEEN_BY[usize::from(wide)]) {
        columns.push(column("SEEN BY", 8, Elide::End, &|line| line.seen_by.clone()));
    }
    if !narrow {
        columns.push(column("AGE", 3, Elide::End, &|line| line.age.clone()));
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
