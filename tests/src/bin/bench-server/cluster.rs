//! Reports of a large cluster: all of it for the first time, and then with a hundredth of its pods replaced.

use std::time::Instant;

use stocktake_core::model::{Scope, Source};
use stocktake_tests::bench::{
    pods::Pods,
    process,
    reporter::Reporter,
    served::{Cost, Kind, Served},
    table::{Row, median, megabytes},
};

use super::{Arguments, floor};

/// What reports took.
#[derive(Default)]
struct Taken {
    walls: Vec<f64>,
    costs: Vec<Cost>,
    bytes: u64,
}

impl Taken {
    async fn report(
        &mut self,
        served: &Served,
        reporter: &mut Reporter,
        (source, scopes): (&Source, &[Option<Scope>]),
    ) -> anyhow::Result<()> {
        let frames = reporter.frames(source, scopes)?;
        self.bytes = frames.len() as u64;
        let mut connection = served.connect().await?;
        let (before, began) = (served.cost()?, Instant::now());
        connection.report(frames).await?;
        self.walls.push(began.elapsed().as_secs_f64());
        self.costs.push(served.cost()? - before);
        Ok(())
    }

    fn wall(&self) -> f64 {
        median(self.walls.iter().copied())
    }

    fn rows(&self, what: &str) -> Vec<Row> {
        let cpu = |of: fn(&Cost) -> f64| milliseconds(median(self.costs.iter().map(of)));
        let costs = format!("{}, {}, {}", cpu(|cost| cost.server), cpu(|cost| cost.database), cpu(|cost| cost.client));
        vec![
            Row::new(&format!("{what}: CPU of server, database, client"), costs),
            Row::new(&format!("{what}: request"), megabytes(self.bytes)),
        ]
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

pub(super) async fn measure(kind: Kind, arguments: &Arguments) -> anyhow::Result<(String, Vec<Row>)> {
    let (mut full, mut changed) = (Taken::default(), Taken::default());
    let (mut floors, mut size, mut memory) = (Vec::new(), 0, 0);
    for run in 0..arguments.runs {
        let mut pods = Pods::new(arguments.pods, arguments.namespaces);
        let (source, mut reporter) = (pods.source(), Reporter::new("bench"));
        let served = Served::start(kind).await?;
        full.report(&served, &mut reporter, (&source, &pods.scopes())).await?;
        floors.push(floor::load(&served)?);
        if run + 1 < arguments.runs {
            continue;
        }
        size = served.size()?;
        for _ in 0..arguments.changes {
            changed.report(&served, &mut reporter, (&source, &pods.replace())).await?;
        }
        memory = process::memory(served.server.id(), "VmHWM")?;
    }
    let (most, floor) = (if kind == Kind::Sqlite { 1.0 } else { 1.5 }, median(floors));
    let wall = full.wall();
    let row = Row {
        floor: milliseconds(floor),
        ratio: format!("{:.2}", wall / floor),
        ..Row::new("full report", milliseconds(wall))
    };
    let mut rows = vec![row.goal(format!("≤ {most} s"), wall <= most)];
    rows.extend(full.rows("full report"));
    let wall = changed.wall();
    rows.push(Row::new("1 % changed", milliseconds(wall)).goal("≤ 60 ms", wall <= 0.06));
    rows.extend(changed.rows("1 % changed"));
    rows.push(Row::new("database after the full report", megabytes(size)));
    rows.push(Row::new("the server's memory at most", megabytes(memory)));
    let title = format!(
        "{kind}: {} pods, {} containers in {} namespaces",
        arguments.pods,
        3 * arguments.pods,
        arguments.namespaces
    );
    Ok((title, rows))
}
