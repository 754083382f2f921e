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

/// Whose the spool has been so far.
pub(super) enum Owner {
    /// This agent's.
    Own(Uuid),
    /// One's on another machine.
    OtherMachine,
    /// Nobody's who is known any more, if there was somebody.
    Unknown,
}

pub(super) fn owner(files: &mut Files, host: &Host) -> io::Result<Owner> {
    match files.read(Path::new(FILE)) {
        Ok(bytes) => match serde_json::from_slice::<Identity>(&bytes) {
            Ok(identity) if identity.machine_id == host.machine_id => Ok(Owner::Own(identity.id)),
            Ok(identity) => {
                tracing::warn!(before = %identity.id, "this spool was another machine's; the agent here is another one from now on");
                // One that had no id, or has none now, may be the same.
                let is_known = identity.machine_id.is_some() && host.machine_id.is_some();
                Ok(if is_known { Owner::OtherMachine } else { Owner::Unknown })
            }
            Err(error) => {
                tracing::error!("{FILE} in the spool is damaged; the agent is another one from now on: {error}");
                Ok(Owner::Unknown)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Owner::Unknown),
        Err(error) => Err(error),
    }
}

/// An identity is not made from the machine's id: that is not to be told to everyone (machine-id(5)), and two agents may be on one
/// machine.
pub(super) fn own(files: &mut Files, id: Uuid, host: &Host) -> io::Result<()> {
    let identity = Identity { id, machine_id: host.machine_id.clone() };
    files.write(Path::new(FILE), serde_json::to_vec(&identity)?);
    Ok(())
}
