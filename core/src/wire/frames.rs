//! Sequences of documents, each compressed by itself or as what differs from an earlier one.
//!
//! A frame is a zstd frame (RFC 8878), or the same behind the header of `dcz` (RFC 9842, section 5), which names the document that
//! is its dictionary by SHA-256. Both begin with zstd's own magic numbers and know their end, so that frames need nothing between
//! them. Other skippable frames are skipped, as zstd's own tools do.

use std::io::{self, Read as _, Write as _};

use sha2::Digest as _;
use zstd::{
    stream::{raw::CParameter, read::Decoder, write::Encoder},
    zstd_safe::{DParameter, find_frame_compressed_size, get_frame_content_size},
};

use crate::Digest;

/// The skippable frame that RFC 9842 begins a `dcz` stream with: its magic number, and the length of a SHA-256.
const DICTIONARY_HEADER: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0];

/// Of all but the last four bits, which count.
const SKIPPABLE: u32 = 0x184d_2a50;

/// What the zstd command uses where nothing else is said. Higher ones cost more than they save (docs/benchmarks.md).
const LEVEL: i32 = 3;

/// How far back a frame may refer, as a power of two: 128 MiB, which is what zstd's own decoder takes at the most unless told
/// otherwise.
const WINDOW_LOG: std::ops::RangeInclusive<u32> = 10..=27;

/// From how many bytes on, document and dictionary together, repetitions are looked for far back: zstd's short tables forget
/// them.
const LONG: usize = 1 << 20;

/// Why frames cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame was made with a dictionary that is not there.
    #[error("made with dictionary {0}, which is not there")]
    UnknownDictionary(Digest),
    /// All documents together are larger than may be.
    #[error("larger than {0} bytes when decompressed")]
    TooLarge(usize),
    /// It is no sequence of frames, or was cut or damaged.
    #[error("not a zstd frame, or damaged: {0}")]
    Damaged(#[source] io::Error),
}

/// Appends a document to `out`; with a dictionary, as what differs from that.
pub fn append_frame(out: &mut Vec<u8>, document: &[u8], dictionary: Option<&[u8]>) -> io::Result<()> {
    let mut encoder = match dictionary {
        Some(dictionary) => {
            out.extend_from_slice(&DICTIONARY_HEADER);
            out.extend_from_slice(&sha2::Sha256::digest(dictionary));
            let mut encoder = Encoder::with_ref_prefix(&mut *out, LEVEL, dictionary)?;
            let reach = document.len() + dictionary.len();
            let bits = usize::BITS - reach.leading_zeros();
            encoder.set_parameter(CParameter::WindowLog(bits.clamp(*WINDOW_LOG.start(), *WINDOW_LOG.end())))?;
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(reach > LONG))?;
            encoder
        }
        None => Encoder::new(&mut *out, LEVEL)?,
    };
    encoder.set_pledged_src_size(u64::try_from(document.len()).ok())?;
    encoder.include_contentsize(true)?;
    // Who keeps a frame in a file learns of damage from it, and from `zstd --test`.
    encoder.include_checksum(true)?;
    encoder.write_all(document)?;
    encoder.finish()?;
    Ok(())
}

/// Appends what is no document and is skipped by who reads documents: the `kind`-th of zstd's sixteen skippable frames.
pub fn append_skippable(out: &mut Vec<u8>, kind: u8, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(|_| io::Error::other("too long for a skippable frame"))?;
    out.extend_from_slice(&(SKIPPABLE | u32::from(kind & 0xf)).to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(content);
    Ok(())
}

/// Reads documents one after the other. A clone reads on from the same place: where a dictionary has to be fetched first, one
/// tries again with it.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    limit: usize,
    /// How many bytes documents may still have.
    left: usize,
}

impl<'a> Frames<'a> {
    /// Of `bytes`. All documents together may have `limit` bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8], limit: usize) -> Self {
        Self { rest: bytes, limit, left: limit }
    }

    /// What is behind the frames that were read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next document. `dictionary` is asked for the documents that frames name.
    pub fn next_document<D: AsRef<[u8]>>(
        &mut self,
        dictionary: impl FnOnce(&Digest) -> Option<D>,
    ) -> Result<Option<Vec<u8>>, FrameError> {
        self.skip()?;
        if self.rest.is_empty() {
            return Ok(None);
        }
        // What `skip` has left is a dictionary's header, or a frame.
        let Some(Skippable { content: hash, behind, .. }) = leading_skippable(self.rest)? else {
            return self.decode(None).map(Some);
        };
        let digest = Digest::from_sha256(hash);
        let dictionary = dictionary(&digest).ok_or(FrameError::UnknownDictionary(digest))?;
        self.rest = behind;
        self.decode(Some(dictionary.as_ref())).map(Some)
    }

    /// Goes on to the next frame that holds a document.
    fn skip(&mut self) -> Result<(), FrameError> {
        while !self.rest.starts_with(&DICTIONARY_HEADER)
            && let Some(Skippable { behind, .. }) = leading_skippable(self.rest)?
        {
            self.rest = behind;
        }
        Ok(())
    }

    fn decode(&mut self, dictionary: Option<&[u8]>) -> Result<Vec<u8>, FrameError> {
        let mut decoder = match dictionary {
            Some(dictionary) => Decoder::with_ref_prefix(self.rest, dictionary),
            None => Decoder::with_buffer(self.rest),
        }
        .map_err(FrameError::Damaged)?
        .single_frame();
        decoder.set_parameter(DParameter::WindowLogMax(*WINDOW_LOG.end())).map_err(FrameError::Damaged)?;
        let mut document = Vec::new();
        let most = u64::try_from(self.left).unwrap_or(u64::MAX).saturating_add(1);
        (&mut decoder).take(most).read_to_end(&mut document).map_err(FrameError::Damaged)?;
        self.left = self.left.checked_sub(document.len()).ok_or(FrameError::TooLarge(self.limit))?;
        self.rest = decoder.finish();
        Ok(document)
    }
}

/// What the head of a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Where the frame ends, in bytes from the beginning of all.
    pub end: usize,
    /// What it was made with.
    pub dictionary: Option<Digest>,
    /// How many bytes its document has, if it says so.
    pub size: Option<u64>,
}

/// The frames that hold documents, `most` at the most, as far as they are sound, without reading them.
#[must_use]
pub fn outline(bytes: &[u8], most: usize) -> Vec<Outline> {
    let (mut frames, mut dictionary, mut end) = (Vec::new(), None, 0);
    while let Some(rest) = bytes.get(end..).filter(|rest| !rest.is_empty() && frames.len() < most) {
        // Skippable frames have a length, too.
        let Ok(length) = find_frame_compressed_size(rest) else { break };
        end += length;
        match leading_skippable(rest) {
            Ok(Some(Skippable { content, .. })) if rest.starts_with(&DICTIONARY_HEADER) => {
                dictionary = Some(Digest::from_sha256(content));
            }
            Ok(None) => {
                let size = get_frame_content_size(rest).ok().flatten();
                frames.push(Outline { end, dictionary: dictionary.take(), size });
            }
            _ => {}
        }
    }
    frames
}

/// A skippable frame at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skippable<'a> {
    /// Which of the sixteen kinds.
    pub kind: u8,
    /// What is in it.
    pub content: &'a [u8],
    /// What is behind it.
    pub behind: &'a [u8],
}

/// A skippable frame at the beginning, if there is one. The beginning of a `dcz` stream is one, too.
pub fn leading_skippable(bytes: &[u8]) -> Result<Option<Skippable<'_>>, FrameError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let magic = u32::from_le_bytes(*magic);
    if magic & !0xf != SKIPPABLE {
        return Ok(None);
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
    let (content, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
    let kind = u8::try_from(magic & 0xf).unwrap_or_default();
    Ok(Some(Skippable { kind, content, behind }))
}

fn cut() -> FrameError {
    FrameError::Damaged(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn digest(document: &[u8]) -> Digest {
        Digest::sha256(document)
    }

    /// Each document but the first as what differs from the one before.
    fn chain(documents: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut earlier: Option<&[u8]> = None;
        for document in documents {
            append_frame(&mut bytes, document, earlier).unwrap();
            earlier = Some(document);
        }
        bytes
    }

    fn read(bytes: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut frames = Frames::new(bytes, limit);
        let mut documents: Vec<Vec<u8>> = Vec::new();
        loop {
            let known = |wanted: &Digest| documents.iter().find(|document| digest(document) == *wanted).cloned();
            match frames.next_document(known)? {
                Some(document) => documents.push(document),
                None => return Ok(documents),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(documents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..8)) {
            let bytes = chain(&documents);
            prop_assert_eq!(read(&bytes, LIMIT).unwrap(), documents.clone());
            let outline = outline(&bytes, 100);
            let sizes: Vec<usize> = outline.iter().map(|frame| usize::try_from(frame.size.unwrap()).unwrap()).collect();
            prop_assert_eq!(sizes, documents.iter().map(Vec::len).collect::<Vec<_>>());
            let named = outline.iter().skip(1).map(|frame| frame.dictionary.clone().unwrap());
            prop_assert_eq!(named.collect::<Vec<_>>(), documents.iter().rev().skip(1).rev().map(|document| digest(document)).collect::<Vec<_>>());
            prop_assert_eq!(outline.last().map_or(0, |frame| frame.end), bytes.len());
        }

        #[test]
        fn what_is_cut_or_spoilt_is_an_error_or_other_documents_and_never_more(
            at in 0usize..400, bit in 0u8..8, cut in any::<bool>(),
        ) {
            let documents = vec![b"some document that is long enough".to_vec(), b"some document that is longer".to_vec()];
            let mut bytes = chain(&documents);
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            if let Ok(read) = read(&bytes, LIMIT) {
                let is_prefix = documents.starts_with(&read);
                prop_assert!(is_prefix, "damage went unnoticed");
            }
        }

        #[test]
        fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let mut frames = Frames::new(&bytes, LIMIT);
            if let Ok(Some(_)) = frames.next_document(|_| None::<&[u8]>) {
                prop_assert!(bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
            }
        }
    }

    #[test]
    fn a_document_that_differs_little_is_little() {
        let earlier: Vec<u8> =
            (0..300_000u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
        let mut later = earlier.clone();
        later[1_000_000..1_000_010].fill(7);
        let mut bytes = Vec::new();
        append_frame(&mut bytes, &later, Some(&earlier)).unwrap();
        assert!(bytes.len() < 500, "{} bytes", bytes.len());
        let read = Frames::new(&bytes, 2 * later.len()).next_document(|_| Some(earlier)).unwrap();
        assert_eq!(read, Some(later));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bytes = chain(&[vec![0; 4 << 20]]);
        assert!(bytes.len() < 2000);
        assert!(matches!(read(&bytes, LIMIT), Err(FrameError::TooLarge(LIMIT))));
        let two = chain(&[vec![0; LIMIT / 2], vec![1; LIMIT / 2 + 1]]);
        assert!(matches!(read(&two, LIMIT), Err(FrameError::TooLarge(LIMIT))));
    }

    #[test]
    fn a_dictionary_that_is_not_there_is_named() {
        let mut bytes = Vec::new();
        append_frame(&mut bytes, b"later", Some(b"earlier")).unwrap();
        let Err(FrameError::UnknownDictionary(named)) = read(&bytes, LIMIT) else { panic!("an error") };
        assert_eq!(named, digest(b"earlier"));
    }

    #[test]
    fn zstd_itself_reads_frames_without_dictionaries_and_skips_what_is_no_document() {
        let mut bytes = Vec::new();
        append_skippable(&mut bytes, 0, b"head").unwrap();
        append_frame(&mut bytes, b"one", None).unwrap();
        append_frame(&mut bytes, b"two", None).unwrap();
        append_skippable(&mut bytes, 15, b"").unwrap();
        assert_eq!(zstd::stream::decode_all(&*bytes).unwrap(), b"onetwo");
        assert_eq!(read(&bytes, LIMIT).unwrap(), [b"one".to_vec(), b"two".to_vec()]);
    }
}
