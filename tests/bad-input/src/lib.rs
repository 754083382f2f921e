//! Malformed and hostile input for everything that reads what others wrote, and what has to hold of what is made of it.
//!
//! Bytes that mean nothing are refused by the first line of a parser. What gets further is a real answer with something
//! wrong in it, so [`broken`] spoils recorded ones. All its choices come from bytes, so that proptest (in every build) and
//! libFuzzer (`fuzz/`) drive the same code, and both shrink what they find by shrinking the bytes.
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test's helpers are tests")]

mod broken;
mod choices;
mod sound;

pub use broken::broken;
pub use choices::Choices;
pub use sound::{converter, normalised, read_back, report, together, unified};
