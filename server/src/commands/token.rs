//! `token`: programs that may use the server.

use std::io::{self, Write as _};

use secrecy::{ExposeSecret as _, SecretString};

use super::{access, print_table, refused};
use crate::{
    access::{Access, AccessError, Actor, NewToken, SYSTEM},
    cli::Token,
    exit::Exit,
    say,
};

pub(super) async fn run(command: Token) -> anyhow::Result<Exit> {
    let (Token::Add { account, .. } | Token::List { account } | Token::Remove { account, .. }) = &command;
    let access = match access(&account.place).await {
        Ok(access) => access,
        Err(exit) => return Ok(exit),
    };
    let (actor, account) = (Actor::command_line(), account.account.clone());
    match command {
        Token::Add { name, role, expires, .. } => {
            let token = NewToken { name, role, expires_at: expires };
            match add(&access, &actor, &account, token).await {
                Ok(secret) => {
                    writeln!(io::stdout(), "{}", secret.expose_secret())?;
                    Ok(Exit::Success)
                }
                Err(error) => Ok(refused(&error)),
            }
        }
        Token::List { .. } => match access.tokens(&account).await {
            Ok(tokens) => {
                let time =
                    |time: Option<jiff::Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
                let row = |token: crate::access::Token| {
                    let role = token.role.as_str().to_owned();
                    [token.name, token.account, role, time(token.expires_at), time(token.last_used_at)]
                };
                let head = ["NAME", "ACCOUNT", "ROLE", "EXPIRES", "LAST USED"];
                print_table(head, tokens.into_iter().map(row).collect())
            }
            Err(error) => Ok(refused(&error)),
        },
        Token::Remove { name, .. } => Ok(match access.delete_token(&actor, &account, &name).await {
            Ok(()) => {
                say::note(&format!("`{name}` is of no use any more"));
                Exit::Success
            }
            Err(error) => refused(&error),
        }),
    }
}

/// The token's secret. Before a server's first start there is no account yet, and maybe never will be: it may be another database.
async fn add(access: &Access, actor: &Actor, account: &str, token: NewToken) -> Result<SecretString, AccessError> {
    if account == SYSTEM && access.make_system().await? {
        let place = access.place().await?;
        say::note(&format!(
            "no server has started with {place} yet: one that uses another database will not know this token"
        ));
    }
    let (_, secret) = access.create_token(actor, account, token).await?;
    Ok(secret)
}
