//! `user`: people who may use the server.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use secrecy::SecretString;

use super::{access, print_table, refused};
use crate::{
    access::{Actor, NewUser, UserChange},
    cli::User,
    exit::Exit,
    say,
};

pub(super) async fn run(command: User) -> anyhow::Result<Exit> {
    let (User::Add { account, .. }
    | User::List { account }
    | User::Password { account, .. }
    | User::Remove { account, .. }) = &command;
    let access = match access(&account.place).await {
        Ok(access) => access,
        Err(exit) => return Ok(exit),
    };
    let (actor, account) = (Actor::command_line(), account.account.clone());
    let done = match command {
        User::Add { name, role, .. } => {
            let user = NewUser { name, password: password()?, role };
            access.create_user(&actor, &account, user).await.map(|user| format!("added `{}`", user.name))
        }
        User::List { .. } => match access.users(&account).await {
            Ok(users) => {
                let row = |user: crate::access::User| {
                    [user.name, user.account, user.role.as_str().to_owned(), user.created_at.to_string()]
                };
                return print_table(["NAME", "ACCOUNT", "ROLE", "CREATED"], users.into_iter().map(row).collect());
            }
            Err(error) => Err(error),
        },
        User::Password { name, .. } => {
            let change = UserChange { role: None, password: Some(password()?) };
            let changed = access.change_user(&actor, &account, &name, change).await;
            changed.map(|_| format!("`{name}` has another password"))
        }
        User::Remove { name, .. } => {
            access.delete_user(&actor, &account, &name).await.map(|()| format!("removed `{name}`"))
        }
    };
    Ok(match done {
        Ok(message) => {
            say::note(&message);
            Exit::Success
        }
        Err(error) => refused(&error),
    })
}

/// The first line of stdin. A person is asked for it; never is it an argument, which others could see.
fn password() -> anyhow::Result<SecretString> {
    if io::stdin().is_terminal() {
        write!(io::stderr(), "password (shown as it is typed): ")?;
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned().into())
}
