//! The keys that secrets are encrypted with: where they come from, and which is which.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Bytes of a key.
const LENGTH: usize = 32;

/// Why there are no keys to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// None was given to the server.
    #[error(
        "the server has no key to encrypt secrets with: make one with `openssl rand -base64 32`, and name its file as `key_file` of \
         `[secrets]`, or put it into the environment as STOCKTAKE_SECRET_KEY"
    )]
    None,
    /// The file cannot be read.
    #[error("cannot read the keys in {path}: {error}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The file cannot be made.
    #[error(
        "cannot make {path}, for the key that secrets are encrypted with: {error}; name another file as `key_file` of `[secrets]`"
    )]
    NotMade {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// One is no key. It is not repeated: it may be one that was cut.
    #[error(
        "key {number} in {place} is no key: expected 32 bytes as base64 (44 characters) or hexadecimal (64), as `openssl rand -base64 32` prints them"
    )]
    Malformed {
        /// Where they stand.
        place: String,
        /// Which, from 1.
        number: usize,
    },
}

/// Where keys come from. A file is read whenever they are needed: one that was changed counts at once.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeySource {
    #[default]
    None,
    File(PathBuf),
    /// One of the server's own, beside the file of its database.
    Beside(PathBuf),
    Environment(SecretString),
}

/// One key.
pub(crate) struct Key {
    /// What is written beside what it has encrypted: the first eight bytes of its SHA-256, which say nothing of it.
    pub(crate) id: String,
    pub(crate) key: LessSafeKey,
}

/// All keys: the first encrypts, and each decrypts what it has encrypted.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) first: Key,
    rest: Vec<Key>,
}

impl KeySource {
    /// The file that the configuration names, or else what the environment holds.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        let variable = || std::env::var("STOCKTAKE_SECRET_KEY").ok().filter(|keys| !keys.trim().is_empty());
        match file {
            Some(path) => Self::File(path),
            None => variable().map_or(Self::None, |keys| Self::Environment(keys.into())),
        }
    }

    /// The same, or where nothing is said the file beside a database that is one.
    pub(crate) fn or_beside(self, database: Option<&Path>) -> Self {
        match (self, database) {
            (Self::None, Some(database)) => Self::Beside(beside(database)),
            (own, _) => own,
        }
    }

    /// Makes the file with a key that is the server's own to make, if it is not there. Says where it was made.
    pub(crate) fn make_missing(&self) -> Result<Option<&Path>, KeyError> {
        match self {
            Self::Beside(path) => Ok(make(path)?.then_some(path)),
            Self::None | Self::File(_) | Self::Environment(_) => Ok(None),
        }
    }

    /// Whether there is any.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> Result<Keys, KeyError> {
        match self {
            Self::None => Err(KeyError::None),
            Self::Environment(keys) => Keys::parse("STOCKTAKE_SECRET_KEY", keys.expose_secret()),
            Self::File(path) | Self::Beside(path) => {
                let place = path.display().to_string();
                let text =
                    fs::read_to_string(path).map_err(|error| KeyError::Unreadable { path: place.clone(), error })?;
                Keys::parse(&place, SecretString::from(text).expose_secret())
            }
        }
    }
}

/// The file of the key of who says nothing: the database's name with `.key` behind it.
fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".key");
    name.into()
}

/// Makes a file with a new key, for its owner alone, unless it is there. Says whether it was made. It is there whole or not at all, and
/// whoever comes second leaves it as it is: what the first one has encrypted is worth no more than its key.
fn make(path: &Path) -> Result<bool, KeyError> {
    let failed = |error: io::Error| KeyError::NotMade { path: path.display().to_string(), error };
    if path.try_exists().map_err(failed)? {
        return Ok(false);
    }
    let mut bytes = [0; LENGTH];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| failed(io::Error::other("the system has no random numbers to give")))?;
    let text = format!(
        "# Opens the secrets in the database of this name. Keep a copy, and not where copies of the database are.\n{}\n",
        STANDARD.encode(bytes)
    );
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", uuid::Uuid::new_v4()));
    let draft = PathBuf::from(draft);
    let made = written(&draft, &text).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    match made {
        Ok(()) => {
            removed.map_err(failed)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn written(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

impl Keys {
    /// Keys with blanks, commas or line breaks between them. What stands behind `#` in a line is for people.
    fn parse(place: &str, text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let words = lines.flat_map(|line| line.split([' ', '\t', ','])).filter(|word| !word.is_empty());
        let mut keys = Vec::new();
        for (position, word) in words.enumerate() {
            let malformed = || KeyError::Malformed { place: place.to_owned(), number: position + 1 };
            keys.push(Key::parse(word).ok_or_else(malformed)?);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| KeyError::Malformed { place: place.to_owned(), number: 1 })?;
        Ok(Self { first, rest: keys.collect() })
    }

    /// Their names.
    pub(crate) fn ids(&self) -> Vec<String> {
        std::iter::once(&self.first).chain(&self.rest).map(|key| key.id.clone()).collect()
    }

    /// The key of this name.
    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.first).chain(&self.rest).find(|key| key.id == id)
    }
}

impl Key {
    fn parse(word: &str) -> Option<Self> {
        let bytes = if word.len() == 2 * LENGTH { hexadecimal(word) } else { STANDARD.decode(word).ok() };
        let bytes = bytes.filter(|bytes| bytes.len() == LENGTH)?;
        let digest: [u8; LENGTH] = Sha256::digest(&bytes).into();
        let id = format!("{:016x}", u64::from_be_bytes(*digest.first_chunk()?));
        Some(Self { id, key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?) })
    }
}

fn hexadecimal(word: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    word.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn a_key_is_base64_or_hexadecimal_and_the_same_key() {
        let base64 = STANDARD.encode((0..32).collect::<Vec<u8>>());
        let [one, other] = [HEX, &base64].map(|text| Keys::parse("x", text).unwrap().first.id);
        assert_eq!((one.as_str(), one.len()), (other.as_str(), 16));
    }

    #[test]
    fn several_have_anything_between_them() {
        let [second, third] = ["f".repeat(64), "e".repeat(64)];
        let keys = Keys::parse("x", &format!("# newest first\n{HEX} # of May\n\n{second},\t{third}\n")).unwrap();
        assert_eq!(keys.rest.len(), 2);
        assert!(keys.find(&keys.first.id).is_some() && keys.find(&keys.rest[1].id).is_some());
        assert!(keys.find("0").is_none());
    }

    #[test]
    fn what_is_no_key_is_told_by_its_number_and_not_repeated() {
        let short = &HEX[..62];
        for (text, number) in [("", 1), ("# none", 1), (short, 1), (&format!("{HEX} {short}zz"), 2)] {
            let error = Keys::parse("the file", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("key {number} in the file is no key")), "{error}");
            assert!(!error.contains(&short[..8]), "{error}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = beside(&folder.path().join("inventory.db"));
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let making: Vec<_> = (0..8).map(|_| scope.spawn(|| make(&path).unwrap())).collect();
            making.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|is_made| **is_made).count(), 1, "{outcomes:?}");
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["inventory.db.key"]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let keys = || KeySource::File(path.clone()).keys().unwrap().ids();
        let first = keys();
        assert_eq!((first.len(), make(&path).unwrap(), keys()), (1, false, first.clone()));
        let error = make(&folder.path().join("none/inventory.db.key")).unwrap_err().to_string();
        assert!(error.contains("none/inventory.db.key") && error.contains("`key_file`"), "{error}");
    }

    #[test]
    fn what_is_configured_counts_before_what_lies_beside_the_database() {
        let database = Path::new("/data/inventory.db");
        let path = |source: KeySource| match source {
            KeySource::File(path) | KeySource::Beside(path) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path(KeySource::None.or_beside(Some(database))), Path::new("/data/inventory.db.key"));
        assert_eq!(path(KeySource::File("/k".into()).or_beside(Some(database))), Path::new("/k"));
        assert!(KeySource::None.or_beside(None).is_none());
    }

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?} {:?}", Keys::parse("x", HEX).unwrap(), KeySource::Environment(HEX.into()));
        assert!(!shown.contains("0001020304") && !shown.contains("[0, 1, 2"), "{shown}");
    }
}
