//! `contexts`: the servers that the configuration names.

use std::io::Write as _;

use crate::{
    cli::Contexts,
    contexts::{Configuration, Context, make_current, path},
    failure::Failure,
    output::Output,
    say, table,
};

pub(super) fn run(command: &Contexts) -> Result<(), Failure> {
    match command {
        Contexts::List => list(),
        Contexts::Use { name } => {
            make_current(name)?;
            say::note(&format!("`{name}` is the current context"));
            Ok(())
        }
    }
}

fn list() -> Result<(), Failure> {
    let configuration = Configuration::load()?;
    if configuration.contexts.is_empty() {
        let path = path().map(|path| path.display().to_string()).unwrap_or_default();
        say::note(&format!("there is no context in {path}; `stocktake contexts --help` has an example"));
        return Ok(());
    }
    let row = |(name, context): (&String, &Context)| {
        let login = match (&context.user, &context.token_file) {
            (Some(user), _) => format!("user {user}"),
            (None, Some(_)) => "token".to_owned(),
            (None, None) => String::new(),
        };
        let mark = if configuration.current.as_deref() == Some(name) { "*" } else { "" };
        vec![mark.to_owned(), name.clone(), context.url.clone(), login, context.account.clone().unwrap_or_default()]
    };
    let rows: Vec<Vec<String>> = configuration.contexts.iter().map(row).collect();
    let mut out = Output::of_process();
    table::write(&["CURRENT", "NAME", "URL", "LOGIN", "ACCOUNT"], &rows, &mut out)?;
    out.flush()?;
    Ok(())
}
