//! Which server is asked, and as whom: what the command line says, else the environment, else the context.

use std::{
    fs,
    io::{self, IsTerminal as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Url, header::HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    cli::Server,
    contexts::{Configuration, Context},
    failure::Failure,
    say,
};

/// Where the server listens if nothing else is said.
const DEFAULT_URL: &str = "http://127.0.0.1:8228";

/// A server, and as whom it is asked.
pub(crate) struct Connection {
    /// Ends with a slash.
    pub(crate) url: Url,
    /// Value of `Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) account: Option<HeaderValue>,
    /// Certificates in PEM.
    pub(crate) authorities: Option<(PathBuf, Vec<u8>)>,
}

/// Where the credentials are.
#[derive(Debug, PartialEq, Eq)]
enum Login {
    None,
    TokenFile(PathBuf),
    /// In `STOCKTAKE_TOKEN`.
    Token,
    User {
        name: String,
        /// Read where there is no `STOCKTAKE_PASSWORD`.
        password_file: Option<PathBuf>,
    },
}

impl Connection {
    /// The connection that is asked for. May ask for a password.
    pub(crate) fn open(server: &Server) -> Result<Self, Failure> {
        let context = context(server)?;
        let url = base(server.url.as_deref().or(context.as_ref().map(|context| &*context.url)).unwrap_or(DEFAULT_URL))?;
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let login = login(server, context.as_ref(), variable("STOCKTAKE_TOKEN").is_some(), variable("STOCKTAKE_USER"))?;
        let authorization = login.authorization(&url, variable)?;
        if authorization.is_some() && url.scheme() == "http" && !is_loopback(&url) {
            say::warning(&format!(
                "the connection to {url} is unencrypted: whoever is in between can take the credentials; write `https://`"
            ));
        }
        let account = server.account.as_deref().or(context.as_ref().and_then(|context| context.account.as_deref()));
        let account = account.map(|name| {
            HeaderValue::from_str(name).map_err(|_| Failure::Usage(format!("`{name}` is no name of an account")))
        });
        let authorities = server.ca_file.as_ref().or(context.as_ref().and_then(|context| context.ca_file.as_ref()));
        let authorities = authorities.map(|path| Ok::<_, Failure>((path.clone(), read(path)?)));
        Ok(Self { url, authorization, account: account.transpose()?, authorities: authorities.transpose()? })
    }
}

/// The context that counts. Its credentials are for its server: none counts for another that is named.
fn context(server: &Server) -> Result<Option<Context>, Failure> {
    match (&server.context_name, &server.url) {
        (Some(name), _) => Configuration::load()?.named(name).map(|context| Some(context.clone())),
        (None, Some(_)) => Ok(None),
        (None, None) => Ok(Configuration::load()?.current()?.cloned()),
    }
}

fn login(server: &Server, context: Option<&Context>, has_token: bool, user: Option<String>) -> Result<Login, Failure> {
    let password_file = |name: &str| {
        context
            .filter(|context| context.user.as_deref() == Some(name))
            .and_then(|context| context.password_file.clone())
    };
    let as_user = |name: String| Login::User { password_file: password_file(&name), name };
    if let Some(path) = &server.token_file {
        return Ok(Login::TokenFile(path.clone()));
    }
    if let Some(name) = &server.user {
        return Ok(as_user(name.clone()));
    }
    match (has_token, user) {
        (true, Some(_)) => {
            return Err(Failure::Config("STOCKTAKE_TOKEN and STOCKTAKE_USER are both set; unset one of them".into()));
        }
        (true, None) => return Ok(Login::Token),
        (false, Some(name)) => return Ok(as_user(name)),
        (false, None) => {}
    }
    let Some(context) = context else { return Ok(Login::None) };
    Ok(match (&context.token_file, &context.user) {
        (Some(path), _) => Login::TokenFile(path.clone()),
        (None, Some(name)) => as_user(name.clone()),
        (None, None) => Login::None,
    })
}

impl Login {
    fn authorization(
        self,
        url: &Url,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<HeaderValue>, Failure> {
        let bearer = |token: &SecretString| SecretString::from(format!("Bearer {}", token.expose_secret()));
        let value = match self {
            Self::None => return Ok(None),
            Self::TokenFile(path) => bearer(&secret(&path)?),
            Self::Token => bearer(&variable("STOCKTAKE_TOKEN").unwrap_or_default().into()),
            Self::User { name, password_file } => {
                let password = match (variable("STOCKTAKE_PASSWORD"), password_file) {
                    (Some(password), _) => password.into(),
                    (None, Some(path)) => secret(&path)?,
                    (None, None) => ask_for_password(&name, url)?,
                };
                let pair = SecretString::from(format!("{name}:{}", password.expose_secret()));
                format!("Basic {}", BASE64_STANDARD.encode(pair.expose_secret())).into()
            }
        };
        let mut header = HeaderValue::from_str(value.expose_secret())
            .map_err(|_| Failure::Config("the token has characters that no HTTP header can hold".into()))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn ask_for_password(user: &str, url: &Url) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() {
        let ways = "set STOCKTAKE_PASSWORD, or name a `password_file` in the context";
        return Err(Failure::Config(format!("there is no password for `{user}`, and no terminal to ask at; {ways}")));
    }
    let prompt = say::plain(&format!("password of {user} at {}: ", url.host_str().unwrap_or_default()));
    rpassword::prompt_password(prompt)
        .map(Into::into)
        .map_err(|error| Failure::Config(format!("no password was read: {error}")))
}

/// A secret without the end of its line.
fn secret(path: &Path) -> Result<SecretString, Failure> {
    let text = String::from_utf8(read(path)?)
        .map_err(|_| Failure::Config(format!("{} is expected to hold a secret, and is not text", path.display())))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::Config(format!("{} is empty; write the secret into it", path.display())));
    }
    Ok(secret.to_owned().into())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::Config(format!("cannot read {}: {error}", path.display())))
}

/// Checks a URL. Messages do not repeat it: where it is wrong it may hold a password.
fn base(text: &str) -> Result<Url, Failure> {
    let wrong = |why: &str| Failure::Config(format!("the server's URL {why}; write `https://HOST:PORT`"));
    let mut url: Url = text.parse().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is neither an http nor an https one"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or password, which has a place of its own (`--user`, STOCKTAKE_PASSWORD)"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a part behind `?` or `#`"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether a server is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: Option<&str>, password_file: Option<&str>, token_file: Option<&str>) -> Context {
        let (password_file, token_file) = (password_file.map(Into::into), token_file.map(Into::into));
        Context { user: user.map(Into::into), password_file, token_file, ..Context::default() }
    }

    fn user(name: &str, password_file: Option<&str>) -> Login {
        Login::User { name: name.into(), password_file: password_file.map(Into::into) }
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_context() {
        let context = of(Some("jo"), Some("pw"), None);
        let nothing = Server::default();
        let with_user = Server { user: Some("al".into()), ..Server::default() };
        let with_token = Server { token_file: Some("t".into()), ..Server::default() };
        let login = |server: &Server, has_token, user: Option<&str>| {
            login(server, Some(&context), has_token, user.map(Into::into)).unwrap()
        };
        assert_eq!(login(&with_token, true, Some("ed")), Login::TokenFile("t".into()));
        assert_eq!(login(&with_user, true, Some("ed")), user("al", None));
        assert_eq!(login(&nothing, false, Some("ed")), user("ed", None));
        assert_eq!(login(&nothing, false, Some("jo")), user("jo", Some("pw")));
        assert_eq!(login(&nothing, true, None), Login::Token);
        assert_eq!(login(&nothing, false, None), user("jo", Some("pw")));
    }

    #[test]
    fn a_token_and_a_user_in_the_environment_are_refused() {
        assert!(matches!(login(&Server::default(), None, true, Some("ed".into())), Err(Failure::Config(_))));
    }

    #[test]
    fn urls_that_are_none_of_a_server_are_refused() {
        for url in ["", "stocktake:8228", "ftp://a", "http://jo:secret@a", "http://a?x=1"] {
            let error = base(url).unwrap_err();
            assert!(matches!(error, Failure::Config(_)) && !error.to_string().contains("secret"), "{url}: {error}");
        }
        assert_eq!(base("https://a/below").unwrap().as_str(), "https://a/below/");
    }
}
