//! Agents of Anchore that register, and say how they are (Enterprise 5.11 and later: `/v2/system/integrations`).
//!
//! Of what an integration reports of itself the latest is kept. Whether it is active is computed when somebody asks.

use std::collections::BTreeSet;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::answer::{Asks, Foreign, ForeignProblem, parse};
use crate::{
    access::{Reader, Reporter, Writer},
    api::statement::{integer, maybe_integer, maybe_text, text},
    app::App,
    database::Database,
    http::Problem,
};

/// Bytes of a registration or a health report, at the most.
const LONGEST: usize = 256 << 10;

/// How many errors of a health report are kept, and characters of each.
const ERRORS: usize = 100;
const ERROR_TEXT: usize = 1000;

/// Check-ins that an integration misses before it is inactive, as Enterprise has it.
const MISSED: i64 = 3;

/// What registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum IntegrationType {
    K8sInventoryAgent,
    /// ecs-inventory from 1.5.0.
    EcsInventoryAgent,
}

/// What an integration tells of itself when it starts.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Registration {
    #[serde(rename = "registration_id")]
    id: String,
    #[serde(rename = "registration_instance_id")]
    instance_id: String,
    #[serde(rename = "type")]
    kind: IntegrationType,
    username: String,
    health_report_interval: i64,
    #[serde(flatten)]
    facts: Facts,
}

/// What it may tell besides.
#[derive(Debug, Deserialize, Serialize)]
struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicitly_account_bound: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

/// An integration as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Integration {
    uuid: String,
    #[serde(flatten)]
    registration: Registration,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_status: Option<ReportedStatus>,
    #[serde(rename = "integration_status")]
    status: IntegrationStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<Timestamp>,
    account_name: String,
    accounts: Value,
}

/// How it says it is.
#[derive(Debug, Serialize)]
struct ReportedStatus {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    details: Value,
}

/// How it is to the server.
#[derive(Debug, Serialize)]
struct IntegrationStatus {
    state: &'static str,
    reason: &'static str,
    updated_at: Timestamp,
}

/// How an integration is, by itself.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "a report without them is none, and nothing is made of them")]
pub(super) struct HealthReport {
    uuid: Uuid,
    protocol_version: i64,
    timestamp: Timestamp,
    uptime: f64,
    #[serde(rename = "health_report_interval")]
    interval: i64,
    health_data: HealthData,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "a report without them is none, and nothing is made of them")]
struct HealthData {
    #[serde(rename = "type")]
    kind: IntegrationType,
    version: i64,
    #[serde(default)]
    errors: Option<Vec<String>>,
    /// By account. k8s-inventory has one for each, ecs-inventory a list (`account_ecs_inventory_reports`).
    #[serde(default)]
    account_k8s_inventory_reports: Option<Map<String, Value>>,
    #[serde(default)]
    account_ecs_inventory_reports: Option<Map<String, Value>>,
}

impl HealthData {
    fn accounts(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.account_k8s_inventory_reports.iter().chain(&self.account_ecs_inventory_reports).flatten()
    }

    /// What went wrong. k8s-inventory 1.8 never fills `errors`, and says of each batch of a report whether it was sent.
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.errors.iter().flatten().cloned().collect();
        for (account, told) in self.accounts() {
            let reports = told.as_array().map_or(std::slice::from_ref(told), Vec::as_slice);
            for report in reports.iter().filter(|report| report["has_errors"] == true) {
                let batches = report["batches"].as_array().map(Vec::as_slice).unwrap_or_default();
                let before = problems.len();
                for batch in batches {
                    if let Some(error) = batch["error"].as_str().filter(|error| !error.is_empty()) {
                        problems.push(format!("account `{account}`, batch {}: {error}", batch["batch_index"]));
                    }
                }
                if problems.len() == before {
                    problems.push(format!("account `{account}`: a report was not sent whole"));
                }
            }
        }
        problems.truncate(ERRORS);
        problems.iter().map(|problem| problem.chars().take(ERROR_TEXT).collect()).collect()
    }
}

/// Registers. The same registration again, which is what the two identifiers say, is the same integration.
pub(super) async fn register(
    Foreign(Reporter(caller)): Foreign<Reporter>,
    State(app): State<App>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Integration>), ForeignProblem> {
    let registration: Registration = parse(short(&bytes)?)?;
    check_interval(registration.health_report_interval)?;
    for (name, value) in
        [("registration_id", &registration.id), ("registration_instance_id", &registration.instance_id)]
    {
        if value.is_empty() || value.len() > 1000 {
            return Err(Problem::bad_request(format!("`{name}` has to have 1 to 1000 bytes")).into());
        }
    }
    let (uuid, is_new) =
        save(&app.database, caller.account_id, &registration, Timestamp::now().as_millisecond()).await?;
    let integration = find(&app.database, caller.account_id, &caller.account, &uuid).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(integration)))
}

/// Keeps a registration. Its integration's identifier, and whether that is a new one.
pub(super) async fn save(
    database: &Database,
    account: i64,
    registration: &Registration,
    now: i64,
) -> Result<(String, bool), Problem> {
    let new = Uuid::new_v4().to_string();
    let told = serde_json::to_string(registration).unwrap_or_default();
    let mut writing = database.write().await?;
    let uuid: String = sqlx::query_scalar(
        "INSERT INTO integration (account_id, uuid, registration_id, registration_instance_id, told, interval_seconds, registered_at, \
         accounts, errors) VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', '[]') \
         ON CONFLICT (account_id, registration_id, registration_instance_id) DO UPDATE SET told = excluded.told, \
         interval_seconds = excluded.interval_seconds, registered_at = excluded.registered_at RETURNING uuid",
    )
    .bind(account)
    .bind(new.clone())
    .bind(registration.id.clone())
    .bind(registration.instance_id.clone())
    .bind(told)
    .bind(registration.health_report_interval)
    .bind(now)
    .fetch_one(writing.connection())
    .await?;
    writing.commit().await?;
    let is_new = uuid == new;
    Ok((uuid, is_new))
}

/// Takes a health report.
pub(super) async fn health(
    Foreign(Reporter(caller)): Foreign<Reporter>,
    State(app): State<App>,
    Path(uuid): Path<String>,
    bytes: Bytes,
) -> Result<StatusCode, ForeignProblem> {
    let uuid = identifier(&uuid)?;
    let report: HealthReport = parse(short(&bytes)?)?;
    check_interval(report.interval)?;
    let now = Timestamp::now().as_millisecond();
    if !save_health(&app.database, caller.account_id, &uuid, &report, now).await? {
        return Err(none(&uuid).into());
    }
    Ok(StatusCode::CREATED)
}

/// Keeps a health report, and says whether there is such an integration.
pub(super) async fn save_health(
    database: &Database,
    account: i64,
    uuid: &str,
    report: &HealthReport,
    now: i64,
) -> Result<bool, Problem> {
    let accounts: BTreeSet<&String> = report.health_data.accounts().map(|(account, _)| account).collect();
    let mut writing = database.write().await?;
    let done = sqlx::query(
        "UPDATE integration SET health_at = $1, interval_seconds = $2, accounts = $3, errors = $4, uptime_seconds = $5 \
         WHERE account_id = $6 AND uuid = $7",
    )
    .bind(now)
    .bind(report.interval)
    .bind(serde_json::to_string(&accounts).unwrap_or_default())
    .bind(serde_json::to_string(&report.health_data.problems()).unwrap_or_default())
    .bind(report.uptime.to_string())
    .bind(account)
    .bind(uuid.to_owned())
    .execute(writing.connection())
    .await?;
    writing.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// Which integrations are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Those only that are unhealthy or inactive.
    #[serde(default)]
    only_degraded: bool,
}

/// Some of them.
#[derive(Debug, Serialize)]
pub(super) struct IntegrationList {
    items: Vec<Integration>,
}

/// Lists the account's integrations, without what only the single one is told with.
pub(super) async fn list(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Asks(Listed { only_degraded }): Asks<Listed>,
) -> Result<Json<IntegrationList>, ForeignProblem> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY uuid"))).bind(caller.account_id);
    let rows = query.fetch_all(app.database.pool()).await?;
    let now = Timestamp::now().as_millisecond();
    let mut items = Vec::new();
    for row in &rows {
        let integration = Integration::read(row, &caller.account, now)?;
        if only_degraded && !integration.is_degraded() {
            continue;
        }
        items.push(integration.summary());
    }
    Ok(Json(IntegrationList { items }))
}

/// One integration.
pub(super) async fn get(
    Foreign(Reader(caller)): Foreign<Reader>,
    State(app): State<App>,
    Path(uuid): Path<String>,
) -> Result<Json<Integration>, ForeignProblem> {
    let uuid = identifier(&uuid)?;
    Ok(Json(find(&app.database, caller.account_id, &caller.account, &uuid).await?))
}

/// What removing one takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// Also one that is active.
    #[serde(default)]
    force: bool,
}

/// Removes an integration. Its agent registers again when it starts again.
pub(super) async fn delete(
    Foreign(Writer(caller)): Foreign<Writer>,
    State(app): State<App>,
    Path(uuid): Path<String>,
    Asks(Removal { force }): Asks<Removal>,
) -> Result<StatusCode, ForeignProblem> {
    let uuid = identifier(&uuid)?;
    let known = find(&app.database, caller.account_id, &caller.account, &uuid).await?;
    if known.status.state == "active" && !force {
        let title = format!("integration `{uuid}` is active; stop its agent first, or say `force=true`");
        return Err(Problem::bad_request(title).into());
    }
    let mut writing = app.database.write().await.map_err(Problem::from)?;
    let query = sqlx::query("DELETE FROM integration WHERE account_id = $1 AND uuid = $2");
    let done = query.bind(caller.account_id).bind(uuid.clone()).execute(writing.connection()).await?;
    writing.commit().await.map_err(Problem::from)?;
    if done.rows_affected() == 0 {
        return Err(none(&uuid).into());
    }
    Ok(StatusCode::NO_CONTENT)
}

const SELECT: &str = "SELECT uuid, told, interval_seconds, registered_at, health_at, uptime_seconds, accounts, errors \
    FROM integration WHERE account_id = $1";

async fn find(database: &Database, account: i64, name: &str, uuid: &str) -> Result<Integration, Problem> {
    let query = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} AND uuid = $2"))).bind(account).bind(uuid.to_owned());
    let row = query.fetch_optional(database.pool()).await?.ok_or_else(|| none(uuid))?;
    Ok(Integration::read(&row, name, Timestamp::now().as_millisecond())?)
}

impl Integration {
    fn read(row: &AnyRow, account: &str, now: i64) -> Result<Self, sqlx::Error> {
        let spoilt = |error: serde_json::Error| sqlx::Error::Decode(error.into());
        let mut registration: Registration = serde_json::from_str(&text(row, "told")?).map_err(spoilt)?;
        registration.health_report_interval = integer(row, "interval_seconds")?;
        if let Some(uptime) = maybe_text(row, "uptime_seconds")?.and_then(|uptime| uptime.parse().ok()) {
            registration.facts.uptime = Some(uptime);
        }
        let (registered_at, health_at) = (integer(row, "registered_at")?, maybe_integer(row, "health_at")?);
        let errors: Vec<String> = serde_json::from_str(&text(row, "errors")?).map_err(spoilt)?;
        let interval = registration.health_report_interval;
        Ok(Self {
            uuid: text(row, "uuid")?,
            reported_status: health_at.is_some().then(|| ReportedStatus::of(&errors)),
            status: IntegrationStatus::of(registered_at, health_at, interval, now),
            last_seen: health_at.map(time),
            account_name: account.to_owned(),
            accounts: serde_json::from_str(&text(row, "accounts")?).map_err(spoilt)?,
            registration,
        })
    }

    fn is_degraded(&self) -> bool {
        let is_unhealthy = self.reported_status.as_ref().is_some_and(|status| status.state == "unhealthy");
        is_unhealthy || self.status.state == "inactive"
    }

    fn summary(mut self) -> Self {
        let facts = &mut self.registration.facts;
        (facts.description, facts.started_at, facts.namespaces, facts.configuration) = (None, None, None, None);
        self
    }
}

impl ReportedStatus {
    fn of(errors: &[String]) -> Self {
        let is_healthy = errors.is_empty();
        Self {
            state: if is_healthy { "healthy" } else { "unhealthy" },
            reason: (!is_healthy).then_some("the integration reports errors"),
            details: serde_json::json!({ "errors": errors }),
        }
    }
}

impl IntegrationStatus {
    /// Times in milliseconds, the interval in seconds.
    fn of(registered_at: i64, health_at: Option<i64>, interval: i64, now: i64) -> Self {
        let sign = health_at.unwrap_or(registered_at).max(registered_at);
        let until = sign + MISSED * interval * 1000;
        let (state, reason, at) = if now > until {
            ("inactive", "the integration has missed its last three health reports", until)
        } else if let Some(health_at) = health_at.filter(|health_at| *health_at >= registered_at) {
            ("active", "the integration sends health reports", health_at)
        } else {
            ("registered", "the integration has not sent a health report yet", registered_at)
        };
        Self { state, reason, updated_at: time(at) }
    }
}

fn none(uuid: &str) -> Problem {
    Problem::not_found(format!("there is no integration `{uuid}`"))
}

fn identifier(text: &str) -> Result<String, Problem> {
    let uuid = Uuid::try_parse(text).map_err(|_| Problem::bad_request("what the path names is no UUID"))?;
    Ok(uuid.hyphenated().to_string())
}

fn short(bytes: &[u8]) -> Result<&[u8], Problem> {
    if bytes.len() > LONGEST {
        let title = format!("the body may have {LONGEST} bytes at the most");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, title));
    }
    Ok(bytes)
}

fn check_interval(seconds: i64) -> Result<(), Problem> {
    if (30..=600).contains(&seconds) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("`health_report_interval` is {seconds}: expected 30 to 600 (seconds)")))
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
