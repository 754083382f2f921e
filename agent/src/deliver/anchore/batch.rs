//! Bodies that are not too large. A namespace is in one of them unless it is too large by itself: who reads them may replace all
//! that it has of a namespace by what a body says of it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use super::document::{Frame, Item, Unit};

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) namespaces: Option<NonZeroUsize>,
}

/// What one request sends: namespaces of one cluster for one account.
pub(super) struct Batch {
    pub(super) frame: Arc<Frame>,
    pub(super) account: Arc<str>,
    pub(super) units: Vec<Unit>,
    /// Positions of nodes that no pod is on.
    idle: Vec<usize>,
}

/// Divides the namespaces among as few bodies as their order allows, each within the limits. Only a single pod or image can exceed them.
///
/// `own` is the account that also gets the nodes without pods.
pub(super) fn batches(units: Vec<Unit>, limits: Limits, own: &str) -> VecDeque<Batch> {
    let mut batches: VecDeque<Batch> = VecDeque::new();
    let mut idle_of = BTreeSet::new();
    let mut filling: Option<Filling> = None;
    for unit in units {
        let is_same =
            |filling: &Filling| Arc::ptr_eq(&filling.batch.frame, &unit.frame) && filling.batch.account == unit.account;
        if !filling.as_ref().is_some_and(is_same) {
            batches.extend(filling.take().map(|filling| filling.batch));
            let is_first = &*unit.account == own && idle_of.insert(unit.frame.position);
            filling = Some(Filling::new(&unit, is_first));
        }
        let Some(current) = &mut filling else { continue };
        if !current.takes(&unit, limits) && !current.batch.units.is_empty() {
            let next = Filling::new(&unit, false);
            batches.push_back(std::mem::replace(current, next).batch);
        }
        if current.takes(&unit, limits) {
            current.add(unit);
        } else {
            for part in parts(unit, current.room(limits)) {
                if !current.batch.units.is_empty() {
                    let next = Filling::new(&part, false);
                    batches.push_back(std::mem::replace(current, next).batch);
                }
                current.add(part);
            }
        }
    }
    batches.extend(filling.map(|filling| filling.batch));
    batches
}

/// A batch to which namespaces are added.
struct Filling {
    batch: Batch,
    bytes: usize,
    nodes: BTreeSet<usize>,
}

impl Filling {
    fn new(of: &Unit, with_idle: bool) -> Self {
        let idle = if with_idle { of.frame.idle.clone() } else { Vec::new() };
        let bytes = of.frame.bytes() + idle.iter().map(|position| node_bytes(&of.frame, *position)).sum::<usize>();
        let batch = Batch { frame: Arc::clone(&of.frame), account: Arc::clone(&of.account), units: Vec::new(), idle };
        Self { batch, bytes, nodes: BTreeSet::new() }
    }

    /// What the nodes of items take that are not in the batch yet.
    fn more_nodes(&self, items: &[Item]) -> BTreeSet<usize> {
        items.iter().filter_map(|item| item.node).filter(|node| !self.nodes.contains(node)).collect()
    }

    fn bytes_with(&self, unit: &Unit) -> usize {
        let nodes = self.more_nodes(&unit.items);
        let nodes: usize = nodes.into_iter().map(|node| node_bytes(&unit.frame, node)).sum();
        self.bytes + unit.head_bytes() + unit.items.iter().map(Item::bytes).sum::<usize>() + nodes
    }

    fn takes(&self, unit: &Unit, limits: Limits) -> bool {
        let has_place = limits.namespaces.is_none_or(|most| self.batch.units.len() < most.get());
        has_place && self.bytes_with(unit) <= limits.bytes
    }

    /// What is left for a namespace alone.
    fn room(&self, limits: Limits) -> usize {
        limits.bytes.saturating_sub(self.bytes)
    }

    fn add(&mut self, unit: Unit) {
        self.bytes = self.bytes_with(&unit);
        self.nodes.extend(unit.items.iter().filter_map(|item| item.node));
        self.batch.units.push(unit);
    }
}

fn node_bytes(frame: &Frame, position: usize) -> usize {
    frame.nodes.get(position).map_or(0, |node| node.get().len() + 1)
}

/// Parts of a namespace that have room with their nodes, each with one item at the least.
fn parts(mut unit: Unit, room: usize) -> Vec<Unit> {
    let items = std::mem::take(&mut unit.items);
    let (mut parts, mut part) = (Vec::new(), unit.empty());
    let (mut bytes, mut nodes) = (unit.head_bytes(), BTreeSet::new());
    for item in items {
        let of_node = |nodes: &BTreeSet<usize>| match item.node {
            Some(node) if !nodes.contains(&node) => node_bytes(&unit.frame, node),
            _ => 0,
        };
        if bytes + item.bytes() + of_node(&nodes) > room && !part.items.is_empty() {
            parts.push(std::mem::replace(&mut part, unit.empty()));
            (bytes, nodes) = (unit.head_bytes(), BTreeSet::new());
        }
        bytes += item.bytes() + of_node(&nodes);
        nodes.extend(item.node);
        part.items.push(item);
    }
    parts.push(part);
    parts
}

impl Batch {
    /// What is sent.
    pub(super) fn body(&self) -> serde_json::Result<Vec<u8>> {
        let of_pods = self.units.iter().flat_map(|unit| &unit.items).filter_map(|item| item.node);
        let nodes: BTreeSet<usize> = of_pods.chain(self.idle.iter().copied()).collect();
        self.frame.body(&self.units, nodes)
    }

    /// Two of half the size, divided between namespaces where there are several. The whole, if it cannot be divided.
    pub(super) fn halves(mut self) -> Result<(Self, Self), Box<Self>> {
        let units = if self.units.len() > 1 {
            self.units.split_off(self.units.len() / 2)
        } else {
            match self.units.first_mut() {
                Some(unit) if unit.items.len() > 1 => {
                    let items = unit.items.split_off(unit.items.len() / 2);
                    vec![Unit { items, ..unit.empty() }]
                }
                _ => return Err(Box::new(self)),
            }
        };
        let second =
            Self { frame: Arc::clone(&self.frame), account: Arc::clone(&self.account), units, idle: Vec::new() };
        Ok((self, second))
    }
}

/// What the server has acknowledged.
#[derive(Default)]
pub(super) struct Acknowledged {
    /// Of the report that is being sent, positions of items by the cluster's position and namespace.
    items: BTreeMap<(usize, String), BTreeSet<usize>>,
    /// Of all reports, namespaces by account, cluster and name: what they had, and when.
    whole: BTreeMap<(Arc<str>, String, String), (u64, Instant)>,
}

impl Acknowledged {
    /// Another report is being sent.
    pub(super) fn turn(&mut self, remember: Duration) {
        self.items.clear();
        self.whole.retain(|_, (_, since)| since.elapsed() < remember);
    }

    pub(super) fn add(&mut self, batch: &Batch) {
        for unit in &batch.units {
            let items = self.items.entry((unit.frame.position, unit.name.clone())).or_default();
            items.extend(unit.items.iter().map(|item| item.position));
            let is_whole = items.len() == unit.whole.items;
            let key = (Arc::clone(&unit.account), unit.frame.cluster.clone(), unit.name.clone());
            if is_whole {
                self.whole.insert(key, (unit.whole.content, Instant::now()));
            } else {
                // The server has a part of this, and something of what was there before.
                self.whole.remove(&key);
            }
        }
    }

    /// What is left to send: of this report, and of namespaces that are not as they were when they were sent last, or were sent
    /// longer ago than `refresh`.
    pub(super) fn rest(&self, units: Vec<Unit>, refresh: Option<Duration>) -> Vec<Unit> {
        let is_there = |unit: &Unit| {
            let key = (Arc::clone(&unit.account), unit.frame.cluster.clone(), unit.name.clone());
            match (refresh, self.whole.get(&key)) {
                (Some(refresh), Some((content, since))) => *content == unit.whole.content && since.elapsed() < refresh,
                _ => false,
            }
        };
        let left = |mut unit: Unit| {
            if let Some(items) = self.items.get(&(unit.frame.position, unit.name.clone())) {
                unit.items.retain(|item| !items.contains(&item.position));
                if unit.items.is_empty() {
                    return None;
                }
            } else if is_there(&unit) {
                return None;
            }
            Some(unit)
        };
        units.into_iter().filter_map(left).collect()
    }
}
