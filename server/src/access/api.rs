//! Accounts, users, tokens and the audit log over HTTP.

use axum::{
    Json,
    extract::{FromRequestParts, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Account, Actor, Admin, Caller, NewToken, NewUser, Role, SYSTEM, Token, User, UserChange,
    audit::{AuditEntry, Position},
};
use crate::{
    app::App,
    http::{Body, Problem, body},
};

/// Entries of the log on a page, at the most and if nothing is said.
const PAGE: i64 = 1000;
const USUAL: i64 = 100;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_accounts, create_account))
        .routes(routes!(delete_account))
        .routes(routes!(list_users, create_user))
        .routes(routes!(change_user, delete_user))
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(delete_token))
        .routes(routes!(list_audit))
}

/// An admin, and what the audit log calls them.
struct Changing(Caller, Actor);

impl FromRequestParts<App> for Changing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (caller, actor) = app.access.asking(parts).await?;
        match caller.role {
            Role::Admin => Ok(Self(caller, actor)),
            _ => Err(Problem::forbidden(format!("`{}` is not allowed to do this", caller.name))),
        }
    }
}

/// Anybody, and what the audit log calls them.
struct Asking(Caller, Actor);

impl FromRequestParts<App> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (caller, actor) = app.access.asking(parts).await?;
        Ok(Self(caller, actor))
    }
}

/// Nobody asks in account `admin` but who is of it.
fn system_only(caller: &Caller) -> Result<(), Problem> {
    if caller.account == SYSTEM {
        return Ok(());
    }
    Err(Problem::forbidden(format!("accounts are seen to by admins of account `{SYSTEM}`, without naming another one")))
}

/// Some of something.
#[derive(Debug, Serialize, ToSchema)]
struct Accounts {
    /// By name.
    items: Vec<Account>,
}

#[utoipa::path(get, path = "/v1/accounts", tag = "access",
    responses((status = OK, body = Accounts, description = "all accounts")))]
async fn list_accounts(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Accounts>, Problem> {
    system_only(&caller)?;
    Ok(Json(Accounts { items: app.access.accounts().await? }))
}

/// An account that is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// Up to 100 ASCII letters, digits, `.`, `_`, `-`, `@` and `+`; no other account's.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$")]
    name: String,
}

#[utoipa::path(post, path = "/v1/accounts", tag = "access", request_body = NewAccount,
    responses((status = CREATED, body = Account, description = "it was made, without users"),
        (status = CONFLICT, description = "the name is taken")))]
async fn create_account(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    account: Body,
) -> Result<(StatusCode, Json<Account>), Problem> {
    system_only(&caller)?;
    let account = app.access.create_account(&actor, &body::<NewAccount>(account)?.name).await?;
    Ok((StatusCode::CREATED, Json(account)))
}

#[utoipa::path(delete, path = "/v1/accounts/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = NO_CONTENT, description = "it is gone with all that was its"),
        (status = NOT_FOUND, description = "there is none of this name"),
        (status = CONFLICT, description = "it is the server's own")))]
async fn delete_account(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    system_only(&caller)?;
    app.access.delete_account(&actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account's users.
#[derive(Debug, Serialize, ToSchema)]
struct Users {
    /// By name.
    items: Vec<User>,
}

#[utoipa::path(get, path = "/v1/users", tag = "access",
    responses((status = OK, body = Users, description = "the account's users")))]
async fn list_users(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Users>, Problem> {
    Ok(Json(Users { items: app.access.users(&caller.account).await? }))
}

#[utoipa::path(post, path = "/v1/users", tag = "access", request_body = NewUser,
    responses((status = CREATED, body = User, description = "it was made"),
        (status = BAD_REQUEST, description = "the name or password cannot be one"),
        (status = CONFLICT, description = "the name is taken, perhaps in another account, or the account has all users that it may")))]
async fn create_user(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    user: Body,
) -> Result<(StatusCode, Json<User>), Problem> {
    let user = app.access.create_user(&actor, &caller.account, body(user)?).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

#[utoipa::path(patch, path = "/v1/users/{name}", tag = "access", params(("name" = String, Path)), request_body = UserChange,
    description = "Changes a user's role or password. Who is no admin may change their own password, and nothing else.",
    responses((status = OK, body = User, description = "as it is now"),
        (status = BAD_REQUEST, description = "the password cannot be one"),
        (status = NOT_FOUND, description = "there is none of this name in the account"),
        (status = CONFLICT, description = "the account would be left without an admin")))]
async fn change_user(
    State(app): State<App>,
    Asking(caller, actor): Asking,
    Path(name): Path<String>,
    change: Body,
) -> Result<Json<User>, Problem> {
    let may_not = || Problem::forbidden(format!("`{}` is not allowed to do this", caller.name));
    let is_own = caller.is_user && caller.name == name;
    if caller.role != Role::Admin && !is_own {
        return Err(may_not());
    }
    let change: UserChange = body(change)?;
    if caller.role != Role::Admin && change.role.is_some() {
        return Err(may_not());
    }
    Ok(Json(app.access.change_user(&actor, &caller.account, &name, change).await?))
}

#[utoipa::path(delete, path = "/v1/users/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = NO_CONTENT, description = "it is gone"),
        (status = NOT_FOUND, description = "there is none of this name in the account"),
        (status = CONFLICT, description = "the account would be left without an admin")))]
async fn delete_user(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.access.delete_user(&actor, &caller.account, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An account's tokens.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    /// By name.
    items: Vec<Token>,
}

#[utoipa::path(get, path = "/v1/tokens", tag = "access",
    responses((status = OK, body = Tokens, description = "the account's tokens, without their secrets")))]
async fn list_tokens(State(app): State<App>, Admin(caller): Admin) -> Result<Json<Tokens>, Problem> {
    Ok(Json(Tokens { items: app.access.tokens(&caller.account).await? }))
}

/// A token that was made. It is shown this once, which is why it has no `Debug`.
#[derive(Serialize, ToSchema)]
struct MadeToken {
    #[serde(flatten)]
    token: Token,
    /// What to log in with.
    secret: String,
}

#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = NewToken,
    responses((status = CREATED, body = MadeToken, description = "it was made; the secret is not to be had again"),
        (status = BAD_REQUEST, description = "the name cannot be one, or it would have expired already"),
        (status = CONFLICT, description = "the name is taken, or the account has all tokens that it may")))]
async fn create_token(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    token: Body,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let (token, secret) = app.access.create_token(&actor, &caller.account, body(token)?).await?;
    Ok((StatusCode::CREATED, Json(MadeToken { token, secret: secret.expose_secret().to_owned() })))
}

#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "access", params(("name" = String, Path)),
    responses((status = NO_CONTENT, description = "it is of no use any more"),
        (status = NOT_FOUND, description = "there is none of this name in the account")))]
async fn delete_token(
    State(app): State<App>,
    Changing(caller, actor): Changing,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.access.delete_token(&actor, &caller.account, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which part of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// How many entries at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
struct Audit {
    /// Latest first.
    items: Vec<AuditEntry>,
    /// What `after` is on the next page, if there is one.
    next: Option<String>,
}

#[utoipa::path(get, path = "/v1/audit", tag = "access", params(AuditQuery),
    responses((status = OK, body = Audit, description = "who did what, latest first")))]
async fn list_audit(
    State(app): State<App>,
    Admin(caller): Admin,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Audit>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(USUAL);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` is {limit}: expected 1 to {PAGE}")));
    }
    let after = query.after.map(|after| {
        position(&after).ok_or_else(|| Problem::bad_request("`after` is not what an earlier page had as `next`"))
    });
    let (items, next) = app.access.audit(caller.account_id, after.transpose()?, limit).await?;
    Ok(Json(Audit { items, next: next.map(|(at, id)| format!("{at}-{id}")) }))
}

fn position(text: &str) -> Option<Position> {
    let (at, id) = text.split_once('-')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}
