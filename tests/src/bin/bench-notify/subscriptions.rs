//! What it costs reports that there are many subscriptions: two servers get the same reports in turns, one of which has them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::{Value, json};
use stocktake_tests::{
    bench::{
        pods::Pods,
        process,
        reporter::Reporter,
        served::{Cost, Kind, Served},
        table::{Row, median, megabytes},
    },
    hooks::{ALLOWED, Hooks},
};
use tokio::time::sleep;

use crate::{Arguments, subscribe};

/// What reports may cost more, as a ratio (issue #7).
const MOST: f64 = 1.1;

/// Every so many subscriptions, one wants something that every report has.
const HIT: usize = 100;

/// Those that want all there is, and are behind when the server starts.
const BEHIND: usize = 10;

/// A port that nobody has.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// One of the two that are compared.
struct Side {
    served: Served,
    pods: Pods,
    reporter: Reporter,
    walls: Vec<f64>,
    costs: Vec<Cost>,
}

impl Side {
    async fn start(kind: Kind, arguments: &Arguments) -> anyhow::Result<Self> {
        let served = Served::start_with(kind, ALLOWED).await?;
        let pods = Pods::new(arguments.pods, arguments.namespaces);
        let mut side = Self { served, pods, reporter: Reporter::new("bench"), walls: Vec::new(), costs: Vec::new() };
        let frames = side.reporter.frames(&side.pods.source(), &side.pods.scopes())?;
        side.served.connect().await?.report(frames).await?;
        Ok(side)
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        let frames = self.reporter.frames(&self.pods.source(), &self.pods.replace())?;
        let mut connection = self.served.connect().await?;
        let (before, began) = (self.served.cost()?, Instant::now());
        connection.report(frames).await?;
        self.walls.push(began.elapsed().as_secs_f64());
        self.costs.push(self.served.cost()? - before);
        Ok(())
    }

    /// Medians since the last call: seconds of the report, and seconds of CPU of the server and its database meanwhile.
    fn taken(&mut self) -> (f64, f64) {
        let cpu = median(self.costs.drain(..).map(|cost| cost.server + cost.database));
        (median(self.walls.drain(..)), cpu)
    }
}

/// What the subscription of that number wants. One of [`HIT`] is of a namespace with pods that are replaced; the others are alike, and want
/// what no report has.
fn on(number: usize) -> Value {
    let hit = number.is_multiple_of(HIT);
    match number / HIT % 4 {
        _ if hit => {
            json!({ "events": ["container.appeared"], "context": format!("cluster/namespace-{}", number / HIT) })
        }
        0 => json!({ "context": format!("cluster/elsewhere-{number}") }),
        1 => {
            json!({ "events": ["image.appeared"], "repository": format!("registry.example.com/other/image-{number}") })
        }
        2 => json!({ "image": format!("registry.example.com/other/image:{number}") }),
        _ => json!({ "cluster": "cluster", "labels": [format!("owner=somebody-{number}")] }),
    }
}

/// Reports to both in turns, each when the other has nothing left to do.
async fn compare(what: &str, (plain, many): (&mut Side, &mut Side), count: usize) -> anyhow::Result<Vec<Row>> {
    for _ in 0..count {
        for side in [&mut *plain, &mut *many] {
            side.report().await?;
            process::wait_until_idle(side.served.server.id()).await?;
        }
    }
    let ((wall, cpu), (wall_with, cpu_with)) = (plain.taken(), many.taken());
    let row = |name: &str, without: f64, with: f64| {
        let floor = format!("{:.1} ms (none)", without * 1e3);
        Row::new(&format!("{what}: {name}"), format!("{:.1} ms", with * 1e3)).floor(floor, with / without, MOST)
    };
    Ok(vec![row("1 % changed", wall, wall_with), row("CPU until it is answered", cpu, cpu_with)])
}

pub(crate) async fn measure(kind: Kind, arguments: &Arguments) -> anyhow::Result<(String, Vec<Row>)> {
    let (mut plain, mut many) = (Side::start(kind, arguments).await?, Side::start(kind, arguments).await?);
    let hooks = Hooks::counting(ANY);
    let began = Instant::now();
    for number in 0..arguments.subscriptions {
        subscribe(&many.served, &format!("bench {number}"), &on(number), Some(&hooks))?;
    }
    eprintln!("bench: {} subscriptions were made in {} s", arguments.subscriptions, began.elapsed().as_secs());
    // What they do not know yet, and what was just made.
    sleep(Duration::from_secs(5)).await;
    let before = hooks.count();
    let mut rows = compare("with subscriptions", (&mut plain, &mut many), arguments.changes).await?;
    let told = hooks.count() - before;
    if told == 0 {
        bail!("nobody was told of anything: what was measured is not what it is to be");
    }
    rows.push(Row::new("webhooks for each report", format!("{}", told / arguments.changes)));
    let memory = |side: &Side| process::memory(side.served.server.id(), "VmRSS");
    let row = Row::new("the server's memory", megabytes(memory(&many)?));
    rows.push(Row { floor: format!("{} (none)", megabytes(memory(&plain)?)), ..row });
    rows.extend(restarted((plain, many), arguments).await?);
    let title = format!("{kind}: {} subscriptions beside reports of {} pods", arguments.subscriptions, arguments.pods);
    Ok((title, rows))
}

/// The same while some catch up whose receiver was down, on a server that was started again.
async fn restarted((mut plain, mut many): (Side, Side), arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    let down = Hooks::counting(ANY);
    let mut from = 0;
    for number in 0..BEHIND {
        from = subscribe(&many.served, &format!("behind {number}"), &json!({}), Some(&down))?;
    }
    let address = down.address();
    let _ = down.stop();
    for _ in 0..arguments.changes {
        many.report().await?;
        plain.report().await?;
    }
    let until = subscribe(&many.served, "where the log ends", &json!({}), None)?;
    let waiting = BEHIND * usize::try_from(until - from)?;
    let _ = (many.taken(), plain.taken());
    many.served.server.kill9();
    let back = Hooks::counting(address);
    many.served.server.restart();
    let began = Instant::now();
    while back.count() < waiting && many.walls.len() < 2 * arguments.changes {
        many.report().await?;
        plain.report().await?;
    }
    let (told, seconds) = (back.count(), began.elapsed().as_secs_f64());
    if told == 0 {
        bail!("nobody was told of what happened while the receiver was down");
    }
    let ((wall, _), (wall_with, _)) = (plain.taken(), many.taken());
    let what = format!("1 % changed, while {BEHIND} catch up with {} events each", until - from);
    let row = Row::new(&what, format!("{:.1} ms", wall_with * 1e3));
    let row = Row { floor: format!("{:.1} ms (none)", wall * 1e3), ratio: format!("{:.2}", wall_with / wall), ..row };
    #[allow(clippy::cast_precision_loss, reason = "for people")]
    let rate = told as f64 / seconds;
    Ok(vec![row, Row::new("webhooks meanwhile", format!("{rate:.0} /s"))])
}
