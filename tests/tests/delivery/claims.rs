//! Whose an identity is, where a machine was copied and its copy was given a token of its own.

use std::fs;

use serde_json::Value;
use stocktake_tests::{
    server::{Server, command},
    tools, wait_until,
};

use crate::house::House;

fn target(server: &Server, name: &str) -> String {
    let mut add = command(&["token", "add", name, "--role", "inventory-agent"]);
    let token = tools::output(add.env("STOCKTAKE_DATABASE_URL", server.database()));
    format!("[targets.stocktake]\nurl = '{}'\ntoken = '{}'\n", server.url(), token.trim())
}

fn running(server: &Server) -> Vec<String> {
    let answer = server.ask("GET", "/v1/containers", &Value::Null);
    let page: Value = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    let names = page["items"].as_array().unwrap().iter();
    names.map(|container| container["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_copied_machine_with_a_token_of_its_own_is_told_what_to_do_and_loses_nothing() {
    let server = Server::sqlite();
    let (house, copy) = (House::new(), House::new());
    house.runs_one("elder");
    let mut elder = house.agent_with("", &target(&server, "elder"));
    wait_until("the elder's container is known", || running(&server) == ["elder"]);

    fs::create_dir_all(copy.spool()).unwrap();
    fs::copy(house.spool().join("agent.json"), copy.spool().join("agent.json")).unwrap();
    copy.runs_one("copied");
    let of_copy = target(&server, "copy");
    let mut agent = copy.agent_with("", &of_copy);
    // Taken for the elder, started anew with another token, until the elder reports.
    agent.wait_until_told("this agent's identity is another one's");
    wait_until("what the elder runs is known again", || running(&server) == ["elder"]);
    house.wait_until_delivered();
    let waiting = copy.waiting();
    assert!(!waiting.is_empty(), "what is refused stays");
    let _ = agent.terminate().exits(0);

    fs::remove_file(copy.spool().join("agent.json")).unwrap();
    let mut agent = copy.agent_with("", &of_copy);
    wait_until("what waited is delivered", || copy.waiting().iter().all(|number| !waiting.contains(number)));
    // To the server it is one machine, with one runtime, of which both tell by turns: their `machine-id` is the same.
    wait_until("what the copy runs is known", || running(&server) == ["copied"]);
    for agent in [&mut elder, &mut agent] {
        agent.wait_until_told("reporting");
    }
    assert!(!elder.told().contains("identity"), "nothing is asked of the elder: {}", elder.told());
}
