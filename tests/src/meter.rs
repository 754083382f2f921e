//! Counting what a client asks of a daemon, by the daemon's own account.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpStream,
};

/// Requests that a daemon was sent, by name.
pub type Requests = BTreeMap<String, u64>;

/// How many all are together.
#[must_use]
pub fn total(requests: &Requests) -> u64 {
    requests.values().sum()
}

/// The fewest requests that `work` was seen to make. Others may be asking the same daemon at the same time (its health
/// is, after all, watched), and what they ask can only add; so the smallest of a few counts is `work`'s own.
pub fn fewest(mut count: impl FnMut() -> Requests) -> Requests {
    const TIMES: usize = 4;
    (0..TIMES).map(|_| count()).min_by_key(total).unwrap_or_default()
}

/// Requests to a Docker daemon of the bed while `work` runs, from its log. `name` is `docker` or `docker-next`.
pub fn docker(name: &str, work: impl FnOnce()) -> Requests {
    let path = format!("{}/log/{name}.log", crate::bed::RUN);
    let mut log = File::open(&path).expect("the daemon's log");
    log.seek(SeekFrom::End(0)).expect("a log that can be read");
    work();
    let mut text = String::new();
    log.read_to_string(&mut text).expect("a log that can be read");
    let mut requests = Requests::new();
    for request in text.lines().filter_map(docker_request).filter(|request| !request.ends_with("/_ping")) {
        *requests.entry(request.to_owned()).or_default() += 1;
    }
    requests
}

/// Docker 20.10 writes `msg="Calling GET /info"`, 28.5 `msg="handling GET request" … request-url=/info …`.
fn docker_request(line: &str) -> Option<&str> {
    let url = match line.split_once("msg=\"Calling ") {
        Some((_, call)) => call.split_once(' ')?.1,
        None => line.split_once(" request-url=")?.1.trim_start_matches('"'),
    };
    url.split(['"', '?', ' ']).next()
}

/// Calls to a containerd of the bed while `work` runs, from its metrics.
pub fn containerd(metrics: &str, work: impl FnOnce()) -> Requests {
    let before = containerd_calls(metrics);
    work();
    since(&before, containerd_calls(metrics))
}

/// CRI calls to a containerd of the bed while `work` runs, from its metrics: those of version 1, which the bed's kubelet
/// does not speak yet.
pub fn cri(metrics: &str, work: impl FnOnce()) -> Requests {
    let before = calls(metrics, "runtime.v1.");
    work();
    since(&before, calls(metrics, "runtime.v1."))
}

/// What was added to `before`.
#[must_use]
pub fn since(before: &Requests, mut now: Requests) -> Requests {
    for (call, count) in &mut now {
        *count -= before.get(call).copied().unwrap_or_default();
    }
    now.retain(|_, count| *count > 0);
    now
}

/// All calls to a containerd so far, as `Containers/List`; without the kubelet's, which has an interface of its own.
#[must_use]
pub fn containerd_calls(metrics: &str) -> Requests {
    calls(metrics, "containerd.services.")
}

/// All calls so far to services whose names begin so. A call counts when it begins, so that none is missed that ends
/// later.
fn calls(metrics: &str, services: &str) -> Requests {
    let text = get(metrics, "/v1/metrics");
    let mut calls = Requests::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("grpc_server_started_total{")) {
        let label = |key: &str| Some(line.split_once(&format!("{key}=\""))?.1.split('"').next()?.to_owned());
        let (Some(method), Some(service)) = (label("grpc_method"), label("grpc_service")) else { continue };
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()).unwrap_or_default();
        if service.starts_with(services) {
            let service = service.rsplit('.').next().unwrap_or_default();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
            calls.insert(format!("{service}/{method}"), count as u64);
        }
    }
    assert!(!calls.is_empty(), "no gRPC metrics at {metrics}");
    calls
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the daemon's metrics");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("the daemon's metrics");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the daemon's metrics");
    text
}

#[cfg(test)]
mod tests {
    use super::docker_request;

    #[test]
    fn reads_what_both_daemons_write() {
        let old = r#"time="x" level=debug msg="Calling GET /containers/json?all=true&size=false""#;
        assert_eq!(docker_request(old), Some("/containers/json"));
        let new = r#"level=debug msg="handling GET request" method=GET module=api request-url="/v1.41/images/127.0.0.1:15000/a:1/json" vars="map[]""#;
        assert_eq!(docker_request(new), Some("/v1.41/images/127.0.0.1:15000/a:1/json"));
        let plain = r#"level=debug msg="handling GET request" method=GET module=api request-url=/info vars="map[]""#;
        assert_eq!(docker_request(plain), Some("/info"));
        assert_eq!(docker_request("level=info msg=started"), None);
    }
}
