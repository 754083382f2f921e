//! Secrets in the database: credentials of what is looked at, and where notifications go. None is ever there as it is.
//!
//! `keys` says what they are encrypted with, `vault` encrypts and decrypts, `rotate` replaces a key by another. Whoever keeps secrets says on
//! which [`Shelf`], and knows nothing of the others who do.

mod keys;
mod rotate;
mod vault;

#[cfg(test)]
pub(crate) use self::rotate::Rotated;
pub(crate) use self::{
    keys::{KeyError, KeySource, Keys},
    rotate::{Unreadable, rotate},
    vault::{Bound, Sealed, Vault, VaultError, obstacle},
};

/// Where secrets of a kind stand: a table with an account, an id, the bytes and `key_id`.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// What has them, for people. No two shelves have the same, as it is part of what a secret is bound to.
    pub(crate) of: &'static str,
    pub(crate) table: &'static str,
    /// The column of the bytes.
    pub(crate) sealed: &'static str,
    /// What else a secret is bound to, in SQL: a column, or the text that it always is.
    pub(crate) destination: &'static str,
}
