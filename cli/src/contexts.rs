//! The configuration: servers by name.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use stocktake_core::nearest;

use crate::failure::Failure;

/// The file as a person wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// Name of the context that counts if no other is said.
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A server, and as whom to ask it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) url: String,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) account: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
}

/// Where the configuration is: in `$XDG_CONFIG_HOME`, else in `~/.config`. `None` where there is no home.
pub(crate) fn path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // By the XDG specification, a path that is relative is to be ignored.
    let folder = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    Some(folder.or_else(|| Some(variable("HOME")?.join(".config")))?.join("stocktake/config.toml"))
}

impl Configuration {
    /// Reads the configuration, which need not be there.
    pub(crate) fn load() -> Result<Self, Failure> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::Config(format!("cannot read {}: {error}", path.display()))),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::Config(format!("{}: {message}", path.display()));
        let mut configuration: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (name, context) in &mut configuration.contexts {
            context.check().map_err(|message| wrong(format!("context `{name}`: {message}")))?;
            let folder = path.parent().unwrap_or(Path::new(""));
            for file in [&mut context.password_file, &mut context.token_file, &mut context.ca_file] {
                *file = file.take().map(|file| folder.join(file));
            }
        }
        Ok(configuration)
    }

    /// The context of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known = self.contexts.keys().map(String::as_str);
            let advice = match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`stocktake contexts list` lists those that there are".to_owned(),
            };
            Failure::Config(format!("there is no context `{name}` in the configuration; {advice}"))
        })
    }

    /// The current context, if there is one.
    pub(crate) fn current(&self) -> Result<Option<&Context>, Failure> {
        self.current.as_deref().map(|name| self.named(name)).transpose()
    }
}

impl Context {
    /// Whether the settings fit together.
    fn check(&self) -> Result<(), &'static str> {
        match (&self.user, &self.password_file, &self.token_file) {
            (Some(_), _, Some(_)) => Err("both `user` and `token_file` are there; write one of them"),
            (None, Some(_), _) => Err("`password_file` is there, and `user` is not, which belongs to it"),
            _ => Ok(()),
        }
    }
}

/// Makes a context the current one. The rest of the file stays as it is, comments included.
pub(crate) fn make_current(name: &str) -> Result<(), Failure> {
    Configuration::load()?.named(name)?;
    let Some(path) = path() else { return Err(Failure::Config("there is no home to keep a configuration in".into())) };
    let failed = |error: io::Error| Failure::Config(format!("cannot write {}: {error}", path.display()));
    // A link stays one.
    let path = fs::canonicalize(&path).map_err(failed)?;
    let text = fs::read_to_string(&path).map_err(failed)?;
    fs::metadata(&path)
        .and_then(|metadata| replace(&path, with_current(&text, name)?.as_bytes(), metadata.permissions()))
        .map_err(failed)
}

fn with_current(text: &str, name: &str) -> io::Result<String> {
    let mut document: toml_edit::DocumentMut = text.parse().map_err(io::Error::other)?;
    match document.get_mut("current").and_then(toml_edit::Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = name.into();
            *value.decor_mut() = decor;
        }
        None => document["current"] = toml_edit::value(name),
    }
    Ok(document.to_string())
}

/// Replaces a file as a whole: whoever reads it meanwhile reads the one or the other.
fn replace(path: &Path, bytes: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Configuration, Failure> {
        Configuration::parse(text, Path::new("/home/jo/.config/stocktake/config.toml"))
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let context = "[contexts.a]\nurl = 'http://a'\ntoken_file = 'a.token'\nca_file = '/etc/ca.pem'";
        let configuration = parse(context).unwrap();
        let context = configuration.named("a").unwrap();
        assert_eq!(context.token_file.as_deref(), Some(Path::new("/home/jo/.config/stocktake/a.token")));
        assert_eq!(context.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn what_is_not_known_or_does_not_fit_is_refused() {
        for (text, told) in [
            ("curent = 'a'", "unknown field `curent`"),
            ("[contexts.a]\nurl = 'http://a'\npassword = 'x'", "unknown field `password`"),
            ("[contexts.a]\nuser = 'jo'", "missing field `url`"),
            ("[contexts.a]\nurl = 'http://a'\nuser = 'jo'\ntoken_file = 't'", "both `user` and `token_file`"),
            ("[contexts.a]\nurl = 'http://a'\npassword_file = 't'", "`user` is not"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(&error, Failure::Config(message) if message.contains(told)), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_that_is_nearly_known_is_suggested() {
        let configuration = parse("current = 'prd'\n[contexts.prod]\nurl = 'http://a'").unwrap();
        let error = configuration.current().unwrap_err().to_string();
        assert!(error.contains("no context `prd`") && error.contains("`prod`"), "{error}");
    }

    #[test]
    fn another_context_becomes_current_and_comments_stay() {
        let text = "# mine\ncurrent = \"a\" # for now\n\n[contexts.a]\nurl = 'http://a' # here\n";
        assert_eq!(with_current(text, "b").unwrap(), text.replace("\"a\"", "\"b\""));
        let without = "# mine\n[contexts.a]\nurl = 'http://a'\n";
        let changed = with_current(without, "a").unwrap();
        assert_eq!(parse(&changed).unwrap().current.as_deref(), Some("a"), "{changed}");
        assert!(changed.contains("# mine"), "{changed}");
    }
}
