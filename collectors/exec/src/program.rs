//! The program: what can be checked about it before it runs.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use stocktake_core::{ConfigError, Context, exec};
use tokio::process::Command;

use crate::Settings;

/// Where programs are where the agent itself has no `PATH`.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that was there when the collector was built.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// What it reads.
    pub(crate) input: Vec<u8>,
    /// How many bytes it may print.
    pub(crate) max_output: usize,
}

impl Program {
    pub(crate) fn new(settings: Settings, context: &Context) -> Result<Self, ConfigError> {
        let Settings { command, settings, environment, max_output_bytes } = settings;
        let environment = complete(environment, context)?;
        for (position, word) in command.iter().enumerate() {
            if word.contains('\0') {
                return Err(ConfigError::new(format!("command[{position}]"), "holds a null character"));
            }
        }
        let mut words = command.into_iter();
        let Some(name) = words.next().filter(|name| !name.is_empty()) else {
            return Err(ConfigError::new("command", "names no program").hint("write `[\"/path/to/program\", …]`"));
        };
        let search = environment.get("PATH").map(String::as_str).unwrap_or_default();
        let path = find(&name, search).map_err(|message| ConfigError::new("command[0]", message))?;
        if max_output_bytes == 0 {
            return Err(ConfigError::new("max_output_bytes", "must be at least 1"));
        }
        let input = Value::Object(settings).to_string().into_bytes();
        Ok(Self { path, arguments: words.collect(), environment, input, max_output: max_output_bytes })
    }

    /// What starts it for `request`.
    pub(crate) fn command(&self, request: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().envs(&self.environment).env(exec::REQUEST, request);
        // The agent's own folder means nothing to it, and would be kept from being unmounted.
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The whole environment but for the request. The agent's own variables may hold secrets that are not meant for others.
fn complete(
    mut environment: BTreeMap<String, String>,
    context: &Context,
) -> Result<BTreeMap<String, String>, ConfigError> {
    for (key, value) in &environment {
        let complain = |message: &str| Err(ConfigError::new(format!("environment.{key}"), message));
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return complain(
                "a variable's name is not empty and without `=`, and neither it nor its value holds a null character",
            );
        }
        if [exec::REQUEST, exec::COLLECTOR].contains(&key.as_str()) {
            return complain("is set by the agent; take another name");
        }
    }
    let own = &context.environment;
    let path = own.variable("PATH").unwrap_or(USUAL_PATH);
    environment.entry("PATH".to_owned()).or_insert_with(|| path.to_owned());
    if let Some(home) = own.home.as_ref().and_then(|home| home.to_str()) {
        environment.entry("HOME".to_owned()).or_insert_with(|| home.to_owned());
    }
    environment.insert(exec::COLLECTOR.to_owned(), context.name.clone());
    Ok(environment)
}

fn find(name: &str, search: &str) -> Result<PathBuf, String> {
    if name.starts_with('/') {
        let path = PathBuf::from(name);
        return executable(&path).map(|()| path);
    }
    if name.contains('/') {
        return Err(format!("`{name}` is neither an absolute path nor a name to look for in `PATH`"));
    }
    let folders = env::split_paths(OsStr::new(search)).filter(|folder| folder.is_absolute());
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.join(name)).filter(|path| path.is_file()).collect();
    // As a shell looks: a file that cannot be run does not hide one that can.
    match found.iter().position(|path| executable(path).is_ok()) {
        Some(position) => Ok(found.swap_remove(position)),
        None => match found.first() {
            Some(path) => executable(path).map(|()| path.clone()),
            None => Err(format!("there is no program `{name}` in {search}")),
        },
    }
}

fn executable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("cannot look at {shown}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is no file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is not executable; chmod +x it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn program(settings: Value) -> Result<Program, String> {
        let mut context = Context { name: "x".into(), ..Context::default() };
        context.environment.variables.insert("PATH".into(), "relative:/nonexistent:/bin".into());
        context.environment.variables.insert("SECRET".into(), "s".into());
        context.environment.home = Some("/home/x".into());
        ConfigError::deserialize(settings)
            .and_then(|settings| Program::new(settings, &context))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_complaint_names_its_key_and_says_what_to_do() {
        for (settings, told) in [
            (json!({}), "missing key `command`"),
            (json!({ "command": [] }), "command: names no program; write"),
            (json!({ "command": [""] }), "command: names no program"),
            (json!({ "command": ["bin/sh"] }), "command[0]: `bin/sh` is neither an absolute path"),
            (json!({ "command": ["no-such-program"] }), "command[0]: there is no program `no-such-program` in"),
            (json!({ "command": ["/no/such"] }), "command[0]: cannot look at /no/such: No such file"),
            (json!({ "command": ["/bin/"] }), "command[0]: /bin/ is no file"),
            (json!({ "command": ["/etc/passwd"] }), "command[0]: /etc/passwd is not executable; chmod +x"),
            (json!({ "command": ["sh", "a\0b"] }), "command[1]: holds a null"),
            (json!({ "command": ["sh"], "max_output_bytes": 0 }), "max_output_bytes: must be at least 1"),
            (json!({ "command": ["sh"], "environment": { "A=B": "" } }), "environment.A=B: "),
            (json!({ "command": ["sh"], "environment": { "STOCKTAKE_REQUEST": "" } }), "is set by the agent"),
            (json!({ "command": ["sh"], "comand": 1 }), "did you mean `command`?"),
        ] {
            let complaint = program(settings.clone()).err().unwrap_or_else(|| panic!("{settings}"));
            assert!(complaint.contains(told), "{settings}: {complaint}");
        }
    }

    #[test]
    fn a_name_is_looked_for_in_the_path_that_the_program_gets() {
        assert_eq!(program(json!({ "command": ["sh"] })).unwrap().path, Path::new("/bin/sh"));
        let elsewhere = program(json!({ "command": ["sh"], "environment": { "PATH": "/nonexistent" } }));
        assert!(elsewhere.err().unwrap().contains("there is no program `sh` in /nonexistent"));
    }

    #[test]
    fn the_environment_holds_nothing_that_was_not_meant_for_it() {
        let program = program(json!({ "command": ["sh"], "environment": { "A": "1" } })).unwrap();
        let keys: Vec<&str> = program.environment.keys().map(String::as_str).collect();
        assert_eq!(keys, ["A", "HOME", "PATH", "STOCKTAKE_COLLECTOR"]);
        assert_eq!(program.input, b"{}");
    }
}
