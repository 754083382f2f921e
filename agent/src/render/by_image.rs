//! For people: each image once, what every source calls it, and what that comes to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
};

use stocktake_core::{
    model::{ContainerKind, DigestFact, Image, UnifiedImage},
    unify::{ContainerView, UnifiedView},
};

use super::{
    layout::{Column, Elide, full_width, paragraph, write},
    line::{count, image_name},
};

/// Writes a row an image: a column a source, then the digests that are concluded and how many containers have it. Where
/// that would be cut, a block an image: half a digest is of no use.
pub(crate) fn by_image(view: &UnifiedView<'_>, width: Option<usize>, out: &mut impl io::Write) -> io::Result<()> {
    let rows = rows(view);
    let sources: Vec<&str> = view.inventory.report.sources.iter().map(|source| source.collector.as_str()).collect();
    let column = |title: &str, min, elide, cell: &dyn Fn(&Row<'_>) -> String| Column {
        title: title.to_owned(),
        min,
        elide,
        cells: rows.iter().map(cell).collect(),
    };
    let mut columns = vec![column("IMAGE", 14, Elide::Start, &|row| row.name.clone())];
    for source in &sources {
        let cell = |row: &Row<'_>| row.told.get(source).cloned().unwrap_or_default();
        columns.push(column(&source.to_uppercase(), source.len().max(14), Elide::End, &cell));
    }
    columns.extend([
        column("INDEX", 12, Elide::End, &|row| concluded(&row.image.index_digest)),
        column("MANIFEST", 12, Elide::End, &|row| concluded(&row.image.manifest_digest)),
        column("CONFIG", 12, Elide::End, &|row| concluded(&row.image.config_digest)),
        column("CONTAINERS", 10, Elide::End, &|row| row.containers.to_string()),
    ]);
    if width.is_none_or(|width| full_width(&columns) <= width) {
        return write(columns, 0, width, out);
    }
    let label = sources.iter().map(|source| source.len()).chain(["concluded".len()]).max().unwrap_or_default();
    for row in &rows {
        paragraph(&format!("{}, {}", row.name, count(row.containers, "container")), 0, width, out)?;
        let mut line = |what: &str, text: &str| paragraph(&format!("{what:label$}  {text}"), 2, width, out);
        for (source, told) in &row.told {
            line(source, told)?;
        }
        let Image { index_digest, manifest_digest, config_digest, .. } = row.image;
        let [index, manifest, config] = [index_digest, manifest_digest, config_digest].map(concluded);
        line("concluded", &format!("i:{index} m:{manifest} c:{config}"))?;
    }
    Ok(())
}

fn rows<'a>(view: &UnifiedView<'a>) -> Vec<Row<'a>> {
    let mut containers: HashMap<&str, Vec<&ContainerView<'a>>> = HashMap::new();
    for container in view.containers.iter().filter(|view| view.container.kind != ContainerKind::Sandbox) {
        if let Some(image) = container.image {
            containers.entry(&image.image.id).or_default().push(container);
        }
    }
    let row = |image: &'a UnifiedImage| {
        let containers = containers.get(image.image.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        // An image that is gone from the store has no name there any more; who was made from it still has.
        let requested = containers.iter().find_map(|view| view.container.image.as_deref());
        let requested = requested.filter(|_| image.image.names.is_empty());
        Row {
            name: image_name(requested, Some(&image.image)),
            image: &image.image,
            told: told(view, image),
            containers: containers.len(),
        }
    };
    view.unified.images.iter().map(row).collect()
}

struct Row<'a> {
    name: String,
    image: &'a Image,
    told: BTreeMap<&'a str, String>,
    containers: usize,
}

/// By source: each digest that it tells, with what it tells it to be.
fn told<'a>(view: &UnifiedView<'a>, image: &'a UnifiedImage) -> BTreeMap<&'a str, String> {
    let mut told: BTreeMap<&str, BTreeSet<(usize, String)>> = BTreeMap::new();
    for sighting in &image.seen {
        let Some(image) = view.image(sighting) else { continue };
        let repo = image.repo_digests.iter().map(|repo| (1, 'r', &repo.digest));
        let facts = [(0, 'm', &image.manifest_digest), (2, 'i', &image.index_digest), (3, 'c', &image.config_digest)];
        let known = facts.into_iter().filter_map(|(order, letter, fact)| Some((order, letter, fact.digest()?)));
        let all = known.chain(repo).map(|(order, letter, digest)| (order, format!("{letter}:{}", digest.short())));
        told.entry(&sighting.collector).or_default().extend(all);
    }
    let joined = |digests: BTreeSet<(usize, String)>| {
        let digests: Vec<String> = digests.into_iter().map(|(_, digest)| digest).collect();
        if digests.is_empty() { "(none)".to_owned() } else { digests.join(" ") }
    };
    told.into_iter().map(|(collector, digests)| (collector, joined(digests))).collect()
}

fn concluded(fact: &DigestFact) -> String {
    match fact {
        DigestFact::Known { digest, .. } => digest.short().to_owned(),
        DigestFact::Missing { missing } => format!("({missing})"),
    }
}
