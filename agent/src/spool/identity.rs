//! Who the agent is, through all its runs.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use stocktake_core::model::Host;
use uuid::Uuid;

use super::files::Files;

const FILE: &str = "agent.json";

#[derive(Serialize, Deserialize)]
struct Identity {
    id: Uuid,
    /// The machine that it was made on: a copy of its disk in another machine is another agent.
    #[serde(default)]
    machine_id: Option<String>,
}

pub(super) fn agent_id(files: &mut Files, host: &Host) -> io::Result<Uuid> {
    match files.read(Path::new(FILE)) {
        Ok(bytes) => match serde_json::from_slice::<Identity>(&bytes) {
            Ok(identity) if identity.machine_id == host.machine_id => return Ok(identity.id),
            Ok(identity) => {
                tracing::warn!(before = %identity.id, "this spool was another machine's; the agent here is another one from now on");
            }
            Err(error) => {
                tracing::error!("{FILE} in the spool is damaged; the agent is another one from now on: {error}");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Not made from the machine's id: that is not to be told to everyone (machine-id(5)), and two agents may be on one machine.
    let identity = Identity { id: Uuid::now_v7(), machine_id: host.machine_id.clone() };
    files.write(Path::new(FILE), serde_json::to_vec(&identity)?);
    Ok(identity.id)
}
