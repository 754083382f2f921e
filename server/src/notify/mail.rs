//! E-mail, by way of the mail server that the configuration names.

use std::{path::PathBuf, time::Duration};

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use serde::Deserialize;

use super::send::Outcome;

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
        let transport = match self.transport(deadline).await {
            Ok(transport) => transport,
            Err(why) => return later(why),
        };
        match tokio::time::timeout(deadline, transport.send(message)).await {
            Ok(Ok(_)) => Outcome::Taken,
            Ok(Err(error)) if error.is_permanent() => Outcome::Refused(format!("the mail server refuses: {error}")),
            Ok(Err(error)) => later(format!("the mail server does not take it: {error}")),
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

    async fn transport(&self, deadline: Duration) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let parameters =
            || TlsParameters::new(self.host.clone()).map_err(|error| format!("cannot set up TLS: {error}"));
        let (tls, port) = match self.tls {
            SmtpTls::Tls => (Tls::Wrapper(parameters()?), 465),
            SmtpTls::Starttls => (Tls::Required(parameters()?), 587),
            SmtpTls::None => (Tls::None, 25),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(deadline));
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let password = tokio::fs::read_to_string(file).await;
            let password =
                password.map_err(|error| format!("cannot read `password_file` of `[notify.smtp]`: {error}"))?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(builder.build())
    }
}
