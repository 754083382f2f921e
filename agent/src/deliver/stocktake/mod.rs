//! The target `stocktake`: the manifest protocol (`docs/protocol.md`). A report is one request, whatever it names; what the
//! server turns out to lack makes it another one.

mod letter;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use stocktake_core::{
    ConfigError,
    wire::{self, Problem, Receipt, Stored, problem},
};
use tokio::task::spawn_blocking;

use self::letter::{Letter, Plan};
use super::{
    Failure, Parcel, Sent, Target, TargetContext, TargetKind,
    http::{self, Answer, Client, Credentials, Request, Secret},
};

pub(crate) const KIND: TargetKind = TargetKind {
    kind: "stocktake",
    summary: "a Stocktake server, by the protocol in docs/protocol.md",
    schema: http::schema::<Settings>,
    build,
};

/// How often a report is written anew within one delivery, because the server lacks something or takes less at once. Each time
/// something is learnt; a server that has always something new to say is tried again later.
const ATTEMPTS: usize = 12;

/// Bytes of a request that no server ought to find too large.
const SMALLEST_LIMIT: usize = 16 << 10;

/// By how much the two clocks may differ before a person is told, in seconds.
const SKEW: i64 = 30;

/// What `[targets.NAME]` of this type can hold besides the settings of all that speak HTTP.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Token that the server has given to the agent. Better in a file or an environment variable.
    #[serde(default)]
    #[schemars(with = "Option<String>", example = "…")]
    token: Option<SecretString>,

    /// File that holds the token. It is read again when it changes.
    #[serde(default)]
    #[schemars(example = "/run/secrets/stocktake-token")]
    token_file: Option<PathBuf>,

    /// Environment variable that holds the token.
    #[serde(default)]
    #[schemars(example = &"STOCKTAKE_TOKEN")]
    token_env: Option<String>,
}

fn build(settings: Value, context: &TargetContext) -> Result<Box<dyn Target>, ConfigError> {
    let (http, Settings { token, token_file, token_env }) = http::split::<Settings>(settings)?;
    let client = Client::new(http, context)?;
    let secret = Secret::new("token", token, token_file, token_env, &context.environment)?;
    let credentials = secret.map_or(Credentials::None, Credentials::Bearer);
    client.warn_of_clear_text(&context.name, &credentials);
    Ok(Box::new(Stocktake { client, credentials, limit: usize::MAX, is_skewed: false }))
}

struct Stocktake {
    client: Client,
    credentials: Credentials,
    /// Bytes that the server, or a proxy before it, takes in one request, as far as is known.
    limit: usize,
    /// Whether people were told that the clocks differ.
    is_skewed: bool,
}

/// What a request has come to.
enum Told {
    /// The server has it.
    Taken(Answer),
    /// It can be mended by sending something else.
    Mend(Mend),
}

enum Mend {
    Missing(Problem),
    NoBase,
    TooLarge,
}

#[async_trait]
impl Target for Stocktake {
    async fn deliver(&mut self, parcel: &Arc<Parcel>) -> Result<Sent, Failure> {
        let mut sent = Sent::default();
        let mut plan = Plan::of(parcel);
        for _ in 0..ATTEMPTS {
            let letter = write(&plan, parcel, self.limit).await?;
            let size = letter.largest();
            match self.send(letter, &mut sent).await? {
                Told::Taken(answer) => {
                    let receipt = receipt(&answer, parcel)?;
                    self.compare_clocks(&receipt);
                    return Ok(sent);
                }
                Told::Mend(Mend::Missing(problem)) => {
                    let said = problem.digests.len();
                    if !plan.is_missing(parcel, problem.digests) {
                        let message = format!(
                            "the server lacks {said} scopes that it was sent, or that the report does not name"
                        );
                        return Err(Failure::Later { after: None, status: "protocol".into(), message });
                    }
                }
                Told::Mend(Mend::NoBase) => {
                    if !plan.forget_base() {
                        let message = "the server lacks dictionaries that are in the request itself".to_owned();
                        return Err(Failure::Later { after: None, status: "protocol".into(), message });
                    }
                }
                Told::Mend(Mend::TooLarge) if size > self.limit => {
                    // A scope is not divided.
                    let message = format!(
                        "a single scope takes {size} bytes, which the server or a proxy before it finds too large (413); raise its \
                         limit (nginx: client_max_body_size)"
                    );
                    return Err(Failure::Later { after: None, status: "413".to_owned(), message });
                }
                Told::Mend(Mend::TooLarge) => self.limit = self.limit.min(size / 2).max(SMALLEST_LIMIT),
            }
        }
        let message = format!("the server had something to mend {ATTEMPTS} times; it is tried again later");
        Err(Failure::Later { after: None, status: "protocol".into(), message })
    }

    fn keeps_base(&self) -> bool {
        true
    }
}

impl Stocktake {
    async fn send(&self, Letter { ahead, report }: Letter, sent: &mut Sent) -> Result<Told, Failure> {
        for scopes in ahead {
            match self.post(wire::SCOPES, scopes, sent).await? {
                Told::Taken(answer) if serde_json::from_slice::<Stored>(&answer.body).is_err() => {
                    return Err(answer.unexpected("it is no Stocktake server that answered"));
                }
                Told::Taken(_) => {}
                mend @ Told::Mend(_) => return Ok(mend),
            }
        }
        self.post(wire::REPORTS, report, sent).await
    }

    async fn post(&self, path: &str, body: Vec<u8>, sent: &mut Sent) -> Result<Told, Failure> {
        let size = body.len();
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let sent_at = HeaderValue::try_from(now).map(|now| (HeaderName::from_static(wire::SENT_AT), now));
        let media_type = (CONTENT_TYPE, HeaderValue::from_static(wire::MEDIA_TYPE));
        let request = Request {
            method: Method::POST,
            path,
            headers: [Some(media_type), sent_at.ok()].into_iter().flatten().collect(),
            body: Bytes::from(body),
            credentials: &self.credentials,
        };
        let answer = self.client.send(request, sent).await?;
        if answer.status == StatusCode::PAYLOAD_TOO_LARGE && size > SMALLEST_LIMIT {
            return Ok(Told::Mend(Mend::TooLarge));
        }
        if answer.status == StatusCode::CONFLICT
            && let Ok(problem) = serde_json::from_slice::<Problem>(&answer.body)
        {
            match problem.kind.as_str() {
                problem::MISSING_SCOPES => return Ok(Told::Mend(Mend::Missing(problem))),
                problem::UNKNOWN_DICTIONARY => return Ok(Told::Mend(Mend::NoBase)),
                problem::IDENTITY_CLAIMED => return Err(claimed(&problem)),
                _ => {}
            }
        }
        if answer.status == StatusCode::FORBIDDEN
            && let Ok(problem) = serde_json::from_slice::<Problem>(&answer.body)
            && problem.kind == problem::IDENTITY_HELD
        {
            return Err(held(&problem));
        }
        answer.success(is_problem).map(Told::Taken)
    }

    /// Tells a person whose clock is off: times in reports are the agent's, which the server corrects by what it sees.
    fn compare_clocks(&mut self, receipt: &Receipt) {
        let skew = (receipt.received_at - Timestamp::now()).get_seconds();
        let was_skewed = std::mem::replace(&mut self.is_skewed, skew.abs() > SKEW);
        if self.is_skewed && !was_skewed {
            tracing::warn!("the server's clock is {skew} s ahead of this machine's; set the one that is wrong");
        }
    }
}

async fn write(plan: &Plan, parcel: &Arc<Parcel>, limit: usize) -> Result<Letter, Failure> {
    let (plan, parcel) = (plan.clone(), Arc::clone(parcel));
    let letter = spawn_blocking(move || plan.letter(&parcel, limit)).await.map_err(io::Error::other).flatten();
    letter.map_err(|error| Failure::Later {
        after: None,
        status: "spool".to_owned(),
        message: format!("cannot read what is to be sent: {error}"),
    })
}

/// Whether a body is problem details, as a server answers: a proxy answers 400 with a page, to an expired certificate for
/// instance, and that is no word on the report.
fn is_problem(body: &[u8]) -> bool {
    serde_json::from_slice::<Problem>(body).is_ok_and(|problem| !problem.kind.is_empty() || !problem.title.is_empty())
}

/// A 200 that is not about this report is some proxy's, or a page to log in at.
fn receipt(answer: &Answer, parcel: &Parcel) -> Result<Receipt, Failure> {
    let receipt = serde_json::from_slice::<Receipt>(&answer.body);
    match receipt {
        Ok(receipt) if receipt.report == parcel.report.id => Ok(receipt),
        Ok(_) => Err(answer.unexpected("it is about another report")),
        Err(_) => Err(answer.unexpected("it is no Stocktake server that answered; check `url` and what is in between")),
    }
}

fn held(problem: &Problem) -> Failure {
    let said = problem.detail.as_deref().unwrap_or(&problem.title);
    let message = format!(
        "this agent's identity is another one's ({said}); if this machine was copied from another one, stop the agent, remove \
         `agent.json` from its spool and start it again; if the agent was given a new token, remove the former one on the server"
    );
    Failure::Later { after: None, status: "identity".to_owned(), message }
}

fn claimed(problem: &Problem) -> Failure {
    let said = problem.detail.as_deref().unwrap_or(&problem.title);
    let message = format!(
        "another agent reports under this one's identity ({said}); if this machine was copied from another one, stop the agent, \
         remove `agent.json` from its spool and start it again"
    );
    Failure::Later { after: None, status: "identity".to_owned(), message }
}
