//! Reports of which nothing has changed, of many agents.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use stocktake_core::{
    model::{Counts, Coverage, Host, Scope, ScopeEntry, ScopeId, Shown, Source},
    normalise,
};
use stocktake_tests::bench::{
    made::Made,
    process,
    reporter::Reporter,
    served::{Kind, Served},
    table::{Row, megabytes},
};

use super::Arguments;

/// Pods of a host.
const PODS: usize = 10;

/// An agent on a host.
struct Agent {
    reporter: Reporter,
    source: Source,
}

impl Agent {
    fn new(number: usize) -> Self {
        let name = format!("host-{number}");
        let source = Source {
            collector: "docker".into(),
            kind: "docker".into(),
            runtime: None,
            cluster: None,
            host: Some(Host { machine_id: Some(format!("{number:032x}")), hostname: Some(name.clone()) }),
            observed_at: Timestamp::UNIX_EPOCH,
            coverage: Coverage::Complete,
            shown: Shown::All,
            cost: None,
            warnings: Vec::new(),
            scopes: vec![ScopeEntry {
                id: ScopeId::host(),
                coverage: Coverage::Complete,
                digest: None,
                counts: Counts::default(),
            }],
        };
        Self { reporter: Reporter::new(&name), source }
    }
}

pub(super) async fn measure(kind: Kind, arguments: &Arguments) -> anyhow::Result<(String, Vec<Row>)> {
    let served = Served::start(kind).await?;
    let (made, mut agents) = (Made::new(), Vec::new());
    let mut connection = served.connect().await?;
    for number in 0..arguments.agents {
        let mut agent = Agent::new(number);
        let mut scope: Scope = made.namespace(number, number * PODS..(number + 1) * PODS);
        let _ = normalise(&mut scope);
        connection.report(agent.reporter.frames(&agent.source, &[Some(scope)])?).await?;
        // What changes nothing for the first time is not what is meant.
        connection.report(agent.reporter.frames(&agent.source, &[None])?).await?;
        agents.push(agent);
    }
    let count = arguments.connections.max(1);
    let mut shares: Vec<VecDeque<Agent>> = (0..count).map(|_| VecDeque::new()).collect();
    for (position, agent) in agents.into_iter().enumerate() {
        shares[position % count].push_back(agent);
    }
    let (before, began) = (served.cost()?, Instant::now());
    let until = began + Duration::from_secs(arguments.seconds);
    let mut senders = Vec::new();
    for mut share in shares {
        let mut connection = served.connect().await?;
        senders.push(async move {
            let mut sent = 0_u32;
            while Instant::now() < until {
                let Some(mut agent) = share.pop_front() else { break };
                connection.report(agent.reporter.frames(&agent.source, &[None])?).await?;
                share.push_back(agent);
                sent += 1;
            }
            anyhow::Ok(sent)
        });
    }
    let sent: u32 = futures_util::future::try_join_all(senders).await?.into_iter().sum();
    let (took, cost) = (began.elapsed().as_secs_f64(), served.cost()? - before);
    let (rate, each) = (f64::from(sent) / took, |seconds: f64| format!("{:.0} µs", seconds / f64::from(sent) * 1e6));
    let costs = format!("{}, {}, {}", each(cost.server), each(cost.database), each(cost.client));
    // What the server alone would do with both cores.
    let alone = 2.0 * f64::from(sent) / (cost.server + cost.database);
    let rows = vec![
        Row::new("unchanged reports, beside the client on the same two cores", format!("{rate:.0} /s")),
        Row::new("the same by its CPU, with two cores for it", format!("{alone:.0} /s"))
            .goal("≥ 5,000 /s", alone >= 5000.0),
        Row::new("a report's CPU of server, database, client", costs),
        Row::new("the server's memory", megabytes(process::memory(served.server.id(), "VmRSS")?)),
    ];
    Ok((format!("{kind}: {} agents with {} containers each", arguments.agents, 3 * PODS), rows))
}
