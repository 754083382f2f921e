//! What is sent of a report: its manifest, and of the scopes that the server may lack the bodies, as little of each as will do.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use stocktake_core::{
    Digest,
    model::{Report, ScopeEntry, ScopeId, Text},
    wire::append_frame,
};

use crate::{
    deliver::{Base, Parcel},
    spool::without_body,
};

/// What is known of what the server lacks.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Whether what differs from the last acknowledged report is sent, instead of the whole.
    uses_base: bool,
    /// Bodies to send.
    bodies: BTreeSet<Digest>,
    /// Bodies that are not here any more, and that the server lacks.
    lost: BTreeSet<Digest>,
}

/// Requests, in the order in which they are sent.
pub(super) struct Letter {
    /// Bodies that go ahead, as there are too many for one request.
    pub(super) ahead: Vec<Vec<u8>>,
    /// The manifest, and behind it the rest of the bodies.
    pub(super) report: Vec<u8>,
}

impl Letter {
    /// Bytes of the largest request.
    pub(super) fn largest(&self) -> usize {
        self.ahead.iter().map(Vec::len).fold(self.report.len(), usize::max)
    }
}

impl Plan {
    /// The server has what it acknowledged, and lacks the rest.
    pub(super) fn of(parcel: &Parcel) -> Self {
        let acknowledged: BTreeSet<&Digest> =
            parcel.base.iter().flat_map(|base| entries(&base.report)).filter_map(|(.., digest)| digest).collect();
        let named = entries(&parcel.report).filter_map(|(.., digest)| digest);
        Self {
            uses_base: parcel.base.is_some(),
            bodies: named.filter(|digest| !acknowledged.contains(digest)).cloned().collect(),
            lost: BTreeSet::new(),
        }
    }

    /// The server lacks these, too. Whether there is anything that can be done about it.
    pub(super) fn is_missing(&mut self, parcel: &Parcel, digests: Vec<Digest>) -> bool {
        let named: BTreeSet<&Digest> = entries(&parcel.report).filter_map(|(.., digest)| digest).collect();
        let mut can_be_mended = false;
        for digest in digests.into_iter().filter(|digest| named.contains(digest)) {
            can_be_mended |=
                if self.bodies.contains(&digest) { self.lost.insert(digest) } else { self.bodies.insert(digest) };
        }
        can_be_mended
    }

    /// The server does not have what it acknowledged. Whether that is new.
    pub(super) fn forget_base(&mut self) -> bool {
        std::mem::take(&mut self.uses_base)
    }

    /// Writes it, no request larger than `limit` bytes where that can be.
    pub(super) fn letter(&self, parcel: &Parcel, limit: usize) -> io::Result<Letter> {
        let base = parcel.base.as_ref().filter(|_| self.uses_base);
        let mut report = Vec::new();
        let dictionary = base.map(|base| base.manifest.as_slice());
        if self.lost.is_empty() {
            append_frame(&mut report, &parcel.manifest, dictionary)?;
        } else {
            append_frame(&mut report, &serde_json::to_vec(&self.without_lost(&parcel.report))?, dictionary)?;
        }
        let mut writing = Writing { parcel, earlier: base.map(earlier_bodies).unwrap_or_default(), former: None };
        let mut letter = Letter { ahead: Vec::new(), report };
        // First into the request that has to be made anyway.
        let mut is_ahead = false;
        let mut written = BTreeSet::new();
        for (collector, id, digest) in entries(&parcel.report) {
            let Some(digest) = digest.filter(|digest| self.bodies.contains(digest)) else { continue };
            if !written.insert(digest) {
                continue;
            }
            let Some(mut frame) = writing.frame((collector, id), digest)? else { continue };
            let room = if is_ahead { letter.ahead.last_mut() } else { Some(&mut letter.report) };
            if let Some(room) = room.filter(|room| room.len() + frame.len() <= limit) {
                room.append(&mut frame);
            } else {
                // In a request of its own it has no former body to go by.
                writing.former = None;
                is_ahead = true;
                letter.ahead.extend(writing.frame((collector, id), digest)?);
            }
        }
        Ok(letter)
    }

    /// The report as it can be told without them.
    fn without_lost(&self, report: &Report) -> Report {
        let mut report = report.clone();
        for entry in report.sources.iter_mut().flat_map(|source| &mut source.scopes) {
            if entry.digest.as_ref().is_some_and(|digest| self.lost.contains(digest)) {
                without_body(entry);
            }
        }
        report
    }
}

/// Bodies on their way into a request.
struct Writing<'a> {
    parcel: &'a Parcel,
    /// By scope, the body that the server has of it.
    earlier: BTreeMap<(&'a Text, &'a ScopeId), &'a Digest>,
    /// The one before in the same request: scopes of one source have much in common.
    former: Option<Vec<u8>>,
}

impl Writing<'_> {
    /// A body as what differs from what the server has of the scope, else from the former one. None if it is not here.
    fn frame(&mut self, scope: (&Text, &ScopeId), digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        let Some(body) = self.parcel.bodies.body(digest)? else { return Ok(None) };
        let earlier = match self.earlier.get(&scope) {
            Some(earlier) => self.parcel.bodies.body(earlier)?,
            None => None,
        };
        let mut frame = Vec::new();
        append_frame(&mut frame, &body, earlier.as_deref().or(self.former.as_deref()))?;
        self.former = Some(body);
        Ok(Some(frame))
    }
}

fn earlier_bodies(base: &Base) -> BTreeMap<(&Text, &ScopeId), &Digest> {
    entries(&base.report).filter_map(|(collector, id, digest)| Some(((collector, id), digest?))).collect()
}

fn entries(report: &Report) -> impl Iterator<Item = (&Text, &ScopeId, Option<&Digest>)> {
    report.sources.iter().flat_map(|source| {
        source.scopes.iter().map(|ScopeEntry { id, digest, .. }| (&source.collector, id, digest.as_ref()))
    })
}
