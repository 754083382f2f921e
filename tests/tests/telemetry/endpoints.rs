//! `/livez`, `/readyz` and `/metrics`.

use std::{fs, net::TcpListener};

use stocktake_tests::{agent::Agent, wait_until};

use super::{Machine, hung};

fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn a_collector_that_hangs_makes_it_unready_and_nothing_else() {
    let (machine, (_daemon, collector)) = (Machine::new(), hung());
    let agent = machine.agent(&collector);
    wait_until("that it hangs is told", || machine.get("/readyz").1.contains("collector hung: hangs since"));
    let (code, body) = machine.get("/readyz");
    assert_eq!(code, 503, "{body}");
    assert!(body.starts_with("not ready\n") && body.contains("no complete answer within 1s"), "{body}");
    assert!(!body.contains("collector toy"), "the other one is well: {body}");
    assert_eq!(machine.get("/livez").0, 200);
    let (_, metrics) = machine.get("/metrics");
    let of = |name: &str| value(&metrics, &format!("stocktake_agent_{name}"));
    assert_eq!(of("ready"), Some(0.0));
    assert_eq!(of("collector_up{collector=\"hung\",kind=\"docker\"}"), Some(0.0));
    assert_eq!(of("collector_up{collector=\"toy\",kind=\"exec\"}"), Some(1.0));
    assert!(of("collector_looks_total{collector=\"hung\",outcome=\"timeout\"}") >= Some(1.0), "{metrics}");
    assert_eq!(of("collector_entities{collector=\"toy\",kind=\"containers\"}"), Some(1.0));
    let _ = agent.terminate().exits(0);
}

#[test]
fn a_runtime_that_is_back_makes_it_ready_again() {
    let machine = Machine::new();
    machine.becomes("this is no document");
    let agent = machine.agent("");
    wait_until("that it fails is told", || machine.get("/readyz").1.contains("collector toy: failed"));
    machine.runs(r#"{"status": "partial", "reason": "a page is torn"}"#);
    wait_until("it is ready", || machine.get("/readyz").0 == 200);
    let (_, body) = machine.get("/readyz");
    assert!(body.starts_with("ready\nremark: collector toy: partial: ") && body.contains("a page is torn"), "{body}");
    machine.runs(r#"{"status": "complete"}"#);
    wait_until("nothing is to be said", || machine.get("/readyz") == (200, "ready\n".to_owned()));
    let _ = agent.terminate().exits(0);
}

/// What was counted before counts on, and who asked is not turned away.
#[test]
fn another_configuration_does_not_interrupt_it() {
    let machine = Machine::new();
    let agent = machine.agent("");
    let looks = || {
        value(
            &machine.get("/metrics").1,
            "stocktake_agent_collector_looks_total{collector=\"toy\",outcome=\"complete\"}",
        )
    };
    wait_until("it has looked", || looks() >= Some(2.0));
    let other = machine.path("other.ndjson");
    let more = format!("[targets.other]\ntype = 'file'\npath = '{}'\n", other.display());
    machine.configure(&machine.configuration(&more));
    agent.signal(rustix::process::Signal::HUP);
    let delivered = "stocktake_agent_target_deliveries_total{target=\"other\",status=\"ok\"}";
    wait_until("the other target is known", || value(&machine.get("/metrics").1, delivered) >= Some(1.0));
    assert!(looks() >= Some(3.0) && fs::metadata(&other).is_ok_and(|it| it.len() > 0));
    let _ = agent.terminate().exits(0);
}

#[test]
fn a_place_that_another_has_is_told_at_the_start() {
    let machine = Machine::new();
    let _taken = TcpListener::bind(("127.0.0.1", machine.port)).unwrap();
    let run = Agent::with_config("run", &machine.configuration(""), &[]).run().exits(78);
    assert!(run.stderr.contains("cannot serve health and metrics at 127.0.0.1:"), "{run}");
    assert!(run.stderr.contains("`off` to do without"), "{run}");
}
