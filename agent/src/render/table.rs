//! For people: a section a source, a line a container.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
};

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{
        Container, ContainerKind, Coverage, DigestFact, Image, Inventory, Pod, Scope, ScopeEntry, ScopeKind, Source,
        Workload,
    },
};

use super::{
    layout::{Column, Elide, write},
    plain::plain,
};

/// From this width on there is room for every digest and for what is otherwise left to `--format json`.
const WIDE: usize = 160;

/// Below this width the age has to go.
const NARROW: usize = 100;

/// Writes all sources, one after the other.
pub(crate) fn table(inventory: &Inventory, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    for (index, source) in inventory.report.sources.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        section(inventory, source, width, out)?;
    }
    if width.is_some_and(|width| width < WIDE) {
        writeln!(out, "\ndigests: m manifest, i index, c config, r repository (index or manifest)")?;
    }
    Ok(())
}

fn section(inventory: &Inventory, source: &Source, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let body = |entry: &ScopeEntry| entry.digest.as_ref().and_then(|digest| inventory.scopes.get(digest));
    let scopes: Vec<(&ScopeEntry, &Scope)> =
        source.scopes.iter().filter_map(|entry| Some((entry, body(entry)?))).collect();

    writeln!(out, "{}", plain(&heading(source)))?;
    let rows: Vec<Row<'_>> = scopes.iter().flat_map(|(entry, scope)| rows(entry, scope, source.observed_at)).collect();
    if !rows.is_empty() {
        write(columns(&rows, width), 2, width, out)?;
    }
    if !scopes.is_empty() {
        writeln!(out, "  {}", summary(&scopes))?;
    }
    incomplete(source, out)
}

fn heading(source: &Source) -> String {
    match describe(source) {
        Some(what) => format!("{}: {what}", source.collector),
        None => source.collector.clone(),
    }
}

/// Which runtime it is and where, as far as that is known.
pub(crate) fn describe(source: &Source) -> Option<String> {
    let runtime = source.runtime.as_ref().map(|runtime| format!("{} {}", runtime.name, runtime.version));
    let cluster = source.cluster.as_ref().and_then(|cluster| cluster.name.as_ref().or(cluster.uid.as_ref()));
    let host = source.host.as_ref().and_then(|host| host.hostname.as_ref().or(host.machine_id.as_ref()));
    let place = cluster.map(|name| format!("cluster {name}")).or_else(|| host.map(|name| format!("host {name}")));
    let what: Vec<String> = runtime.into_iter().chain(place).collect();
    (!what.is_empty()).then(|| what.join(", "))
}

struct Row<'a> {
    namespace: &'a str,
    pod: Option<&'a Pod>,
    container: &'a Container,
    image: Option<&'a Image>,
    workload: Option<&'a Workload>,
    observed_at: Timestamp,
}

/// Sandboxes are left out: nobody asked for them to run.
fn rows<'a>(entry: &'a ScopeEntry, scope: &'a Scope, observed_at: Timestamp) -> Vec<Row<'a>> {
    let pods: HashMap<&str, &Pod> = scope.pods.iter().map(|pod| (pod.uid.as_str(), pod)).collect();
    let images: HashMap<&str, &Image> = scope.images.iter().map(|image| (image.id.as_str(), image)).collect();
    let workloads: HashMap<&str, &Workload> =
        scope.workloads.iter().map(|workload| (workload.id.as_str(), workload)).collect();
    let mut rows: Vec<Row<'a>> = scope
        .containers
        .iter()
        .filter(|container| container.kind != ContainerKind::Sandbox)
        .map(|container| {
            let pod = container.pod_uid.as_deref().and_then(|uid| pods.get(uid).copied());
            let workload = container.workload.as_deref().or_else(|| pod.and_then(|pod| pod.workload.as_deref()));
            Row {
                namespace: if entry.id.kind == ScopeKind::Namespace { &entry.id.name } else { "" },
                pod,
                container,
                image: container.image_ref.as_deref().and_then(|id| images.get(id).copied()),
                workload: workload.and_then(|id| workloads.get(id).copied()),
                observed_at,
            }
        })
        .collect();
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    rows
}

impl Row<'_> {
    fn order(&self) -> impl Ord + use<'_> {
        (self.pod.map(|pod| (&pod.namespace, &pod.name)), self.container.kind, &self.container.name)
    }

    fn name(&self) -> String {
        let Container { id, name, kind, .. } = self.container;
        // A container without a name is called by its id, of which the first digits are what people go by.
        let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = if is_hash && id.as_ref() == Some(name) { &name[..12] } else { name };
        match kind {
            ContainerKind::Regular => name.to_owned(),
            kind => format!("{name} ({kind})"),
        }
    }

    fn pod_name(&self) -> String {
        match self.pod {
            // In a containerd namespace pods of all Kubernetes namespaces meet.
            Some(pod) if pod.namespace != self.namespace => format!("{}/{}", pod.namespace, pod.name),
            Some(pod) => pod.name.clone(),
            None => String::new(),
        }
    }

    fn state(&self, wide: bool) -> String {
        let state = self.container.state.as_str();
        match (&self.container.state_reason, self.container.exit_code) {
            (Some(reason), _) if wide => format!("{state} ({reason})"),
            (None, Some(code)) if wide => format!("{state} ({code})"),
            _ => state.to_owned(),
        }
    }

    /// As it was asked for. Where that is not known, a name that the image has, and how many more it has.
    fn image_name(&self) -> String {
        let names = self.image.map(|image| image.names.as_slice()).unwrap_or_default();
        match (&self.container.image, names) {
            (Some(requested), _) => short_reference(requested),
            (None, []) => "<unnamed>".to_owned(),
            (None, [name]) => short_reference(name),
            (None, [name, more @ ..]) => format!("{} +{}", short_reference(name), more.len()),
        }
    }

    /// The digest that says most: the platform's manifest, else what else there is, with what it is the digest of.
    fn best_digest(&self) -> String {
        let Some(image) = self.image else {
            return self.container.image_missing.map(|reason| format!("({reason})")).unwrap_or_default();
        };
        let repo = image.repo_digests.first().map(|repo| &repo.digest);
        [
            ("m", image.manifest_digest.digest()),
            ("r", repo),
            ("i", image.index_digest.digest()),
            ("c", image.config_digest.digest()),
        ]
        .into_iter()
        .find_map(|(letter, digest)| digest.map(|digest| format!("{letter}:{}", digest.short())))
        .unwrap_or_else(|| match &image.manifest_digest {
            DigestFact::Missing { missing } => format!("({missing})"),
            DigestFact::Known { .. } => String::new(),
        })
    }

    fn digest(&self, of: impl Fn(&Image) -> Option<&Digest>) -> String {
        self.image.and_then(of).map(|digest| digest.short().to_owned()).unwrap_or_default()
    }

    fn age(&self) -> String {
        let since = self.container.started_at.or(self.container.created_at);
        since.map(|since| age(self.observed_at.as_second() - since.as_second())).unwrap_or_default()
    }
}

/// A name in which a digest takes no more room than it takes elsewhere in the table.
fn short_reference(name: &str) -> String {
    match name.split_once('@').map(|(repository, digest)| (repository, digest.parse::<Digest>())) {
        Some((repository, Ok(digest))) => format!("{repository}@{}", digest.short()),
        _ => name.to_owned(),
    }
}

fn columns<'a>(rows: &[Row<'a>], width: Option<usize>) -> Vec<Column> {
    let wide = width.is_none_or(|width| width >= WIDE);
    let narrow = width.is_some_and(|width| width < NARROW);
    let column = |title, min, elide, cell: &dyn Fn(&Row<'a>) -> String| Column {
        title,
        min,
        elide,
        cells: rows.iter().map(cell).collect(),
    };
    let mut columns = vec![
        column("NAMESPACE", 9, Elide::End, &|row| row.namespace.to_owned()),
        column("POD", 14, Elide::Middle, &Row::pod_name),
        column("CONTAINER", 10, Elide::End, &Row::name),
        column("STATE", 7, Elide::End, &|row| row.state(wide)),
        column("IMAGE", 14, Elide::Start, &Row::image_name),
    ];
    if wide {
        let repo = |image: &'_ Image| image.repo_digests.first().map(|repo| repo.digest.short().to_owned());
        columns.extend([
            column("INDEX", 12, Elide::End, &|row| row.digest(|image| image.index_digest.digest())),
            column("MANIFEST", 12, Elide::End, &|row| row.digest(|image| image.manifest_digest.digest())),
            column("CONFIG", 12, Elide::End, &|row| row.digest(|image| image.config_digest.digest())),
            column("REPO DIGEST", 12, Elide::End, &|row| row.image.and_then(repo).unwrap_or_default()),
            column("WORKLOAD", 12, Elide::Middle, &|row| {
                row.workload.map(|workload| format!("{}/{}", workload.kind, workload.name)).unwrap_or_default()
            }),
            column("NODE", 6, Elide::Middle, &|row| row.container.node_name.clone().unwrap_or_default()),
            column("ID", 12, Elide::End, &|row| {
                row.container.id.as_deref().map(|id| id.get(..12).unwrap_or(id).to_owned()).unwrap_or_default()
            }),
        ]);
    } else {
        columns.push(column("DIGEST", 14, Elide::End, &Row::best_digest));
    }
    if !narrow {
        columns.push(column("AGE", 3, Elide::End, &Row::age));
    }
    columns
}

/// How many containers in which state, from how many images.
fn summary(scopes: &[(&ScopeEntry, &Scope)]) -> String {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sandboxes = 0;
    for container in scopes.iter().flat_map(|(_, scope)| &scope.containers) {
        if container.kind == ContainerKind::Sandbox {
            sandboxes += 1;
        } else {
            *states.entry(container.state.as_str()).or_default() += 1;
        }
    }
    let total = count(states.values().sum(), "container");
    let each: Vec<String> = states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    let each = if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
    let images: BTreeSet<&str> =
        scopes.iter().flat_map(|(_, scope)| &scope.images).map(|image| image.id.as_str()).collect();
    let images = count(images.len(), "image");
    let hidden =
        if sandboxes > 0 { format!("\n  {} not shown", count(sandboxes, "pod sandbox")) } else { String::new() };
    format!("{total}{each}, {images}{hidden}")
}

fn count(number: usize, thing: &str) -> String {
    let ending = match (number, thing.ends_with('x')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {thing}{ending}")
}

/// What was not seen, and why. It belongs to the data: a table without it would pass for the whole.
fn incomplete(source: &Source, out: &mut impl io::Write) -> io::Result<()> {
    let mut line = |what: &str, coverage: &Coverage| match coverage.reason() {
        Some(reason) => writeln!(out, "  {} {what}: {}", coverage.status().to_uppercase(), plain(reason)),
        None => Ok(()),
    };
    line("source", &source.coverage)?;
    source.scopes.iter().try_for_each(|entry| line(&entry.id.to_string(), &entry.coverage))
}

/// The two largest units would be more exact, and wider; kubectl's one is what people know.
fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
