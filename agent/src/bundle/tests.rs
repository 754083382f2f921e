use std::{path::PathBuf, process::Command};

use proptest::prelude::*;
use stocktake_core::model::Inventory;

use super::*;
use crate::render::sample;

fn inventory() -> Inventory {
    sample::inventory(vec![sample::cluster(), sample::docker(vec![sample::container("1", "app:1")], Vec::new())])
}

fn bundle(key: Option<&SigningKey>) -> Vec<u8> {
    let Inventory { report, scopes, .. } = inventory();
    write(&report, &scopes, key).unwrap()
}

/// A pair of keys as a person makes them.
fn keys(folder: &tempfile::TempDir, name: &str) -> (PathBuf, PathBuf) {
    let (private, public) = (folder.path().join(name), folder.path().join(format!("{name}.pub")));
    let run = |arguments: &[&str]| assert!(Command::new("openssl").args(arguments).status().unwrap().success());
    run(&["genpkey", "-algorithm", "ed25519", "-out", private.to_str().unwrap()]);
    run(&["pkey", "-in", private.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
    (private, public)
}

#[test]
fn what_is_written_is_read() {
    let parcel = read(&bundle(None), None).unwrap();
    let (report, scopes) = parcel.contents().unwrap();
    assert_eq!((report, scopes), (inventory().report, inventory().scopes));
}

#[test]
fn a_signature_is_of_who_holds_the_key_and_of_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = keys(&folder, "ours");
    let (_, other) = keys(&folder, "other");
    let (key, public) = (SigningKey::read(&private).unwrap(), VerifyingKey::read(&public).unwrap());
    let other = VerifyingKey::read(&other).unwrap();
    let signed = bundle(Some(&key));
    assert!(read(&signed, Some(&public)).is_ok());
    assert!(read(&signed, None).is_ok(), "who has no key can read it all the same");
    assert!(matches!(read(&signed, Some(&other)), Err(Error::WrongSignature)));
    assert!(matches!(read(&bundle(None), Some(&public)), Err(Error::Unsigned)));
    // Another report under the same signature, with a checksum that fits.
    let Inventory { mut report, scopes, .. } = inventory();
    report.agent.hostname = Some("another".into());
    let forged = write(&report, &scopes, None).unwrap();
    let unsigned_end = forged.len() - {
        let mut end = Vec::new();
        append_skippable(
            &mut end,
            END,
            &serde_json::to_vec(&End { sha256: Digest::sha256(b""), signature: None }).unwrap(),
        )
        .unwrap();
        end.len()
    };
    let body = &forged[..unsigned_end];
    let mut forged = body.to_vec();
    let end = End { sha256: Digest::sha256(body), signature: Some(key.sign(b"something else")) };
    append_skippable(&mut forged, END, &serde_json::to_vec(&end).unwrap()).unwrap();
    assert!(matches!(read(&forged, Some(&public)), Err(Error::WrongSignature)));
}

#[test]
fn what_is_no_key_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (private, public) = keys(&folder, "ours");
    let told = VerifyingKey::read(&private).err().unwrap().to_string();
    assert!(told.contains("openssl pkey -pubout"), "{told}");
    let told = SigningKey::read(&public).err().unwrap().to_string();
    assert!(told.contains("openssl genpkey -algorithm ed25519"), "{told}");
}

#[test]
fn a_newer_bundle_is_refused_with_what_to_do_and_a_newer_field_is_ignored() {
    let with_head = |head: &str| {
        let mut bytes = Vec::new();
        append_skippable(&mut bytes, HEAD, head.as_bytes()).unwrap();
        bytes
    };
    let newer = with_head(r#"{"format":"stocktake-bundle","version":2}"#);
    assert_eq!(
        read(&newer, None).err().unwrap().to_string(),
        "it is a bundle of version 2, and this agent knows those up to 1; use a newer agent to submit it"
    );
    let known = with_head(r#"{"format":"stocktake-bundle","version":1,"made_by":"us"}"#);
    assert!(matches!(read(&known, None), Err(Error::Cut)));
    for nothing in [&b""[..], b"PK\x03\x04", b"{}", &with_head(r#"{"format":"other","version":1}"#)] {
        assert!(matches!(read(nothing, None), Err(Error::NoBundle)));
    }
}

proptest! {
    #[test]
    fn whatever_is_cut_or_changed_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8, is_cut in any::<bool>()) {
        let mut bytes = bundle(None);
        let at = at.index(bytes.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        // But for what nobody reads: names of fields that are not there.
        if let Ok(parcel) = read(&bytes, None) {
            let (report, scopes) = parcel.contents().unwrap();
            prop_assert_eq!((report, scopes), (inventory().report, inventory().scopes));
        }
    }
}
