//! E-mail, by way of the mail server that the configuration names.

use std::{path::PathBuf, time::Duration};

use lettre::{
    Message,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        Error,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{self, Data, Rcpt},
        extension::{
            ClientId, MailBodyParameter,
            MailParameter::{self, SmtpUtfEight},
        },
    },
};
use serde::Deserialize;

use super::send::Outcome;

/// How long is waited for the mail server's good-bye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The mail server, as `[notify.smtp]` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SmtpSettings {
    /// Its name.
    pub(crate) host: String,
    /// Default: 465, with `starttls` 587, with `none` 25.
    #[serde(default)]
    pub(crate) port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub(crate) tls: SmtpTls,
    /// As whom to log in; the password is in `password_file`.
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) password_file: Option<PathBuf>,
    /// Whose the mails are: `Stocktake <stocktake@example.com>`.
    #[serde(deserialize_with = "mailbox")]
    pub(crate) from: Mailbox,
    /// Domains that mail is sent to; any, if there are none.
    #[serde(default)]
    pub(crate) domains: Vec<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SmtpTls {
    /// From its beginning.
    #[default]
    Tls,
    /// After it has begun; if that cannot be, nothing is sent.
    Starttls,
    /// Never: for a mail server of this machine.
    None,
}

fn mailbox<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Mailbox, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}` is no address of e-mail: {error}")))
}

/// A mail that is to be sent.
pub(crate) struct Mail<'a> {
    pub(crate) to: &'a [String],
    pub(crate) subject: String,
    pub(crate) text: String,
    /// The same in each attempt.
    pub(crate) id: String,
}

impl SmtpSettings {
    /// Whether mail may be sent to an address, or why not.
    pub(crate) fn check(&self, address: &str) -> Result<(), String> {
        let shown = address.chars().take(100).collect::<String>().escape_debug().to_string();
        let mailbox: Mailbox =
            address.parse().map_err(|error| format!("`{shown}` is no address of e-mail: {error}"))?;
        let domain = mailbox.email.domain();
        if self.domains.is_empty() || self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
            return Ok(());
        }
        Err(format!(
            "this server sends no mail to `{shown}`: `domains` of `[notify.smtp]` are {}",
            self.domains.join(", ")
        ))
    }

    /// Makes an attempt, which may last so long.
    pub(crate) async fn send(&self, mail: Mail<'_>, deadline: Duration) -> Outcome {
        let later = |why: String| Outcome::Later { after: None, why };
        let message = match self.message(mail) {
            Ok(message) => message,
            Err(why) => return Outcome::Refused(why),
        };
        let attempt = async {
            let mut connection = self.connect(deadline).await?;
            let outcome = hand_over(&mut connection, &message).await?;
            Ok((connection, outcome))
        };
        match tokio::time::timeout(deadline, attempt).await {
            Ok(Ok((mut connection, outcome))) => {
                // What became of the mail is known, however the connection ends.
                let _ = tokio::time::timeout(GOODBYE, connection.quit()).await;
                outcome
            }
            Ok(Err(why)) => later(why),
            Err(_) => later(format!("the mail server has not answered within {deadline:?}")),
        }
    }

    fn message(&self, Mail { to, subject, text, id }: Mail<'_>) -> Result<Message, String> {
        let mut builder = Message::builder().from(self.from.clone()).subject(subject).header(ContentType::TEXT_PLAIN);
        for address in to {
            self.check(address)?;
            builder = builder.to(address.parse().map_err(|error| format!("no address of e-mail: {error}"))?);
        }
        let domain = self.from.email.domain();
        builder.message_id(Some(format!("<{id}@{domain}>"))).body(text).map_err(|error| error.to_string())
    }

    async fn connect(&self, deadline: Duration) -> Result<AsyncSmtpConnection, String> {
        let tls = || TlsParameters::new(self.host.clone()).map_err(|error| format!("cannot set up TLS: {error}"));
        let (from_its_beginning, port) = match self.tls {
            SmtpTls::Tls => (Some(tls()?), 465),
            SmtpTls::Starttls => (None, 587),
            SmtpTls::None => (None, 25),
        };
        let (server, me) = ((self.host.as_str(), self.port.unwrap_or(port)), ClientId::default());
        let connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(deadline), &me, from_its_beginning, None).await;
        let mut connection = connection.map_err(|error| format!("cannot connect to the mail server: {error}"))?;
        if self.tls == SmtpTls::Starttls {
            let encrypted = connection.starttls(tls()?, &me).await;
            encrypted.map_err(|error| format!("cannot encrypt the connection to the mail server: {error}"))?;
        }
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let password = tokio::fs::read_to_string(file).await;
            let password =
                password.map_err(|error| format!("cannot read `password_file` of `[notify.smtp]`: {error}"))?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            let logged_in = connection.auth(DEFAULT_MECHANISMS, &Credentials::new(user.clone(), password)).await;
            logged_in.map_err(|error| format!("cannot log in to the mail server: {error}"))?;
        }
        Ok(connection)
    }
}

/// Hands a mail over for those addresses that the mail server takes it for. What it says before it is asked for the first is of the
/// server's settings, and not of this mail: an error, after which the same may succeed later.
async fn hand_over(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<Outcome, String> {
    let later = |error: Error| format!("the mail server does not take it: {error}");
    let (envelope, text) = (message.envelope(), message.formatted());
    let is_ascii = text.is_ascii() && envelope.to().iter().all(|address| AsRef::<str>::as_ref(address).is_ascii());
    let parameters =
        if is_ascii { vec![] } else { vec![SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)] };
    connection.command(commands::Mail::new(envelope.from().cloned(), parameters)).await.map_err(later)?;
    let mut refused = Vec::new();
    for address in envelope.to() {
        match connection.command(Rcpt::new(address.clone(), vec![])).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() => refused.push(format!("{address}: {error}")),
            Err(error) => return Err(later(error)),
        }
    }
    if refused.len() == envelope.to().len() {
        return Ok(Outcome::Refused(format!("the mail server refuses {}", refused.join(", "))));
    }
    connection.command(Data).await.map_err(later)?;
    match connection.message(&text).await {
        Ok(_) => {}
        Err(error) if error.is_permanent() => {
            return Ok(Outcome::Refused(format!("the mail server refuses: {error}")));
        }
        Err(error) => return Err(later(error)),
    }
    if !refused.is_empty() {
        tracing::warn!("a notification is mailed to others only: the mail server refuses {}", refused.join(", "));
    }
    Ok(Outcome::Taken)
}
