//! Many agents at once, which a test starts and stops.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::{
    agent::{Agent, Attempt, Tally},
    check::{self, Found},
    client::Client,
    world::Kind,
};
use crate::{
    server::{Server, command},
    tools,
};

/// How long all that waits may take to be delivered. It is for what is stuck, not a measure of anything.
const TO_SETTLE: Duration = Duration::from_mins(10);

/// What agents are to do.
const STOP: u8 = 0;
const DELIVER: u8 = 1;
const MAKE: u8 = 2;

/// Agents, a tally of what they do, and who checks what came of it.
pub struct Fleet {
    runtime: Runtime,
    agents: Vec<Agent>,
    running: Vec<JoinHandle<Agent>>,
    orders: Arc<AtomicU8>,
    client: Client,
    reader: Client,
    urls: Vec<String>,
    database: String,
    /// How long an agent rests between reports, at the most.
    rest: Duration,
    tally: Arc<Tally>,
    seed: u64,
    /// What all checks together have found.
    found: Found,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("agents", &self.agents.len()).field("tally", &self.tally).finish_non_exhaustive()
    }
}

impl Fleet {
    /// So many agents of a server; every third looks at a host, the others at clusters with namespaces of up to `size` pods.
    #[must_use]
    pub fn new(server: &Server, count: usize, size: u8, seed: u64) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let tally = Arc::<Tally>::default();
        let agent = |number: usize| {
            let kind = if number % 3 == 2 { Kind::Host } else { Kind::Cluster };
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
            Agent::new(kind, &format!("place-{number}"), size, seed, Arc::clone(&tally))
        };
        Self {
            agents: (0..count).map(agent).collect(),
            running: Vec::new(),
            orders: Arc::default(),
            client: Client::new(&token(server, "load", "inventory-agent")),
            reader: Client::new(&token(server, "checker", "read-only")),
            urls: vec![server.url()],
            database: server.database().to_owned(),
            rest: Duration::from_millis(20),
            runtime,
            tally,
            seed,
            found: Found::default(),
        }
    }

    /// Each report goes to all of these at once from now on.
    pub fn go_to(&mut self, servers: &[&Server]) {
        self.urls = servers.iter().map(|server| server.url()).collect();
        servers[0].database().clone_into(&mut self.database);
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many reports were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.tally.acknowledged.load(Relaxed)
    }

    /// Agents whose last request has no answer.
    #[must_use]
    pub fn in_doubt(&self) -> usize {
        self.agents.iter().filter(|agent| agent.is_in_doubt()).count()
    }

    /// A client that may report.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client that may read.
    #[must_use]
    pub fn reader(&self) -> &Client {
        &self.reader
    }

    /// Waits for something asynchronous.
    pub fn wait_for<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets agents make reports and deliver them, until [`Self::stop`].
    pub fn start(&mut self) {
        self.run(MAKE);
    }

    /// Each agent makes a report, and all of them are delivered at once.
    pub fn report_once(&mut self) {
        self.agents.iter_mut().for_each(Agent::make);
        self.settle();
    }

    /// The same, and at none of these looks anything was missed.
    pub fn report_soundly(&mut self) {
        self.agents.iter_mut().for_each(Agent::make_soundly);
        self.settle();
    }

    fn run(&mut self, orders: u8) {
        self.orders.store(orders, Relaxed);
        for agent in self.agents.drain(..) {
            let (orders, client, urls) = (Arc::clone(&self.orders), self.client.clone(), self.urls.clone());
            let rest = self.rest;
            self.running.push(self.runtime.spawn(async move { work(agent, &orders, &client, &urls, rest).await }));
        }
    }

    /// Stops the agents. What is under way is answered, or fails, before.
    pub fn stop(&mut self) {
        self.orders.store(STOP, Relaxed);
        self.join();
    }

    fn join(&mut self) {
        for running in self.running.drain(..) {
            self.agents.push(self.runtime.block_on(running).expect("an agent does not panic"));
        }
    }

    /// Lets agents deliver all that they have made, and waits for that.
    pub fn settle(&mut self) {
        let began = Instant::now();
        self.run(DELIVER);
        let done = || self.running.iter().all(JoinHandle::is_finished);
        while !done() && began.elapsed() < TO_SETTLE {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop();
        let waiting = self.agents.iter().filter(|agent| !agent.is_done()).count();
        assert_eq!(waiting, 0, "agents still deliver after {TO_SETTLE:?}: {:?}", self.tally);
    }

    /// Compares what the server has with what it was told. What is found is told by [`Self::conclude`].
    pub fn check(&mut self) {
        let refused = self.tally.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(refused, [""; 0], "a report was refused that ought to be taken");
        let found = self.runtime.block_on(check::check(&self.agents, &self.reader, &self.urls, &self.database));
        self.found.add(found);
    }

    /// What all checks so far have found.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// After a backup was restored: reports that came after it are not there, and nobody promised that.
    pub fn forget_acknowledgements(&mut self) {
        self.agents.iter_mut().for_each(Agent::forget_acknowledgements);
    }

    /// Delivers the rest, compares for the last time, prints a line for the table of faults, and fails if anything is amiss.
    pub fn conclude(mut self, fault: &str, rounds: usize, more: &str) {
        self.settle();
        self.check();
        let tally = &self.tally;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let found = &self.found;
        let unanswered = tally.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!(
            "FAULT {fault} | {rounds} rounds | made {} | acknowledged {} | missing {} | half applied {} | {more}; {} not \
             answered{}{}, {} refused for a while {:?}, {} known, {} healed, seed {}",
            count(&tally.made),
            count(&tally.acknowledged),
            found.missing,
            found.half_applied,
            count(&tally.broken),
            if unanswered.is_empty() { "" } else { ", the last: " },
            *unanswered,
            count(&tally.later),
            tally.failures(),
            count(&tally.known),
            count(&tally.healed),
            self.seed,
        );
        crate::bed::say(&line);
        assert_eq!(count(&tally.made), count(&tally.acknowledged), "{line}");
        assert!(found.is_nothing(), "{line}\n{}", found.told());
    }
}

async fn work(mut agent: Agent, orders: &AtomicU8, client: &Client, urls: &[String], rest: Duration) -> Agent {
    let mut random = fastrand::Rng::with_seed(agent.id().as_u64_pair().1);
    let mut pause = async |most: Duration| tokio::time::sleep(most.mul_f64(random.f64())).await;
    loop {
        match orders.load(Relaxed) {
            STOP => return agent,
            DELIVER if agent.is_done() => return agent,
            MAKE if agent.is_done() => {
                agent.make();
                pause(rest).await;
            }
            _ => {}
        }
        match agent.deliver(client, urls).await {
            Attempt::Done | Attempt::Again => {}
            // Sooner than the real one, which has all day.
            Attempt::Later(after) => {
                pause(Duration::from_millis(if after.is_some() { 1000 } else { 200 })).await;
            }
        }
    }
}

fn token(server: &Server, name: &str, role: &str) -> String {
    let mut add = command(&["token", "add", name, "--role", role]);
    tools::output(add.env("STOCKTAKE_DATABASE_URL", server.database())).trim().to_owned()
}
