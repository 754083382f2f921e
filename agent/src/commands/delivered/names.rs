//! All addresses that a name leads to. The resolver of musl, with which the agent is linked where it is shipped, tells 48 of them at
//! the most; a cluster may have more nodes.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How many addresses musl has room for (`MAXADDRS`).
const MOST: usize = 48;

/// How long a name server may take.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// What a name server is asked for: the type of a record, and how long an address is (RFC 1035, 3596).
const RECORDS: [(u16, usize); 2] = [(1, 4), (28, 16)];

/// All addresses of `HOST:PORT`, or as many as can be had.
pub(super) async fn addresses(place: &str) -> io::Result<BTreeSet<SocketAddr>> {
    let mut found: BTreeSet<SocketAddr> = tokio::net::lookup_host(place).await?.collect();
    if found.len() >= MOST
        && let Some((host, _)) = place.rsplit_once(':')
        && let Ok(conf) = tokio::fs::read_to_string("/etc/resolv.conf").await
    {
        Resolver::parse(&conf, 53).add_others(host, &mut found).await;
    }
    Ok(found)
}

/// What `/etc/resolv.conf` says.
struct Resolver {
    servers: Vec<SocketAddr>,
    /// What is put behind names.
    search: Vec<String>,
}

impl Resolver {
    fn parse(conf: &str, port: u16) -> Self {
        let (mut servers, mut search) = (Vec::new(), Vec::new());
        for line in conf.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                // The last one counts.
                Some("search") => search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        Self { servers: servers.into_iter().map(|server| SocketAddr::new(server, port)).collect(), search }
    }

    /// Adds what the first name server says that knows the name. By TCP, where an answer may be as long as it is.
    async fn add_others(&self, host: &str, found: &mut BTreeSet<SocketAddr>) {
        let Some(port) = found.first().map(SocketAddr::port) else { return };
        let names = self.search.iter().map(|domain| format!("{host}.{domain}")).chain([host.to_owned()]);
        for name in names {
            for server in &self.servers {
                let mut told: Vec<IpAddr> = Vec::new();
                for (kind, length) in RECORDS {
                    let asked = timeout(TO_ANSWER, ask(*server, &name, kind, length)).await;
                    told.extend(asked.ok().and_then(Result::ok).unwrap_or_default());
                }
                let told: BTreeSet<SocketAddr> =
                    told.into_iter().map(|address| SocketAddr::new(address, port)).collect();
                // Of the names that it may be short for, it is the one that the resolver has taken.
                if !told.is_disjoint(found) {
                    found.extend(told);
                    return;
                }
            }
        }
    }
}

async fn ask(server: SocketAddr, name: &str, kind: u16, length: usize) -> io::Result<Vec<IpAddr>> {
    // A number, recursion desired, one question.
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).map_err(io::Error::other)?);
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend(1_u16.to_be_bytes());
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(query.len()).map_err(io::Error::other)?).await?;
    stream.write_all(&query).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    read(&answer, kind, length).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The addresses in an answer.
fn read(answer: &[u8], kind: u16, length: usize) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let mut found = Vec::new();
    let mut at = behind_name(answer, 12)? + 4;
    for _ in 0..number(6)? {
        at = behind_name(answer, at)?;
        let (of, has) = (number(at)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + has)?;
        if of == kind && has == length {
            found.extend(<[u8; 4]>::try_from(data).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes))));
            found.extend(<[u8; 16]>::try_from(data).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes))));
        }
        at += 10 + has;
    }
    Some(found)
}

/// Labels with their lengths, to an empty one or to one that leads back.
fn behind_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match answer.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            length => at += 1 + usize::from(*length),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A name server that knows `nodes.shop.svc`, of which there are 300.
    async fn name_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut query = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut query).await.unwrap();
                let is_known = query[12..].starts_with(b"\x05nodes\x04shop\x03svc\0\0\x01");
                let count: u16 = if is_known { 300 } else { 0 };
                let mut answer = query;
                answer[6..8].copy_from_slice(&count.to_be_bytes());
                for [high, low] in (0..count).map(u16::to_be_bytes) {
                    // The name of the question, A, IN, a time, four bytes.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, high, low]);
                }
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        server
    }

    #[tokio::test]
    async fn all_addresses_are_told_though_the_resolver_tells_some() {
        let server = name_server().await;
        let conf = format!("search example.com shop.svc svc\nnameserver {}\noptions ndots:5\n", server.ip());
        let resolver = Resolver::parse(&conf, server.port());
        let some = |last: u8| BTreeSet::from([SocketAddr::from(([10, 0, 0, last], 17820))]);
        let mut found = some(7);
        resolver.add_others("nodes", &mut found).await;
        assert_eq!(found.len(), 300);
        assert!(found.contains(&SocketAddr::from(([10, 0, 1, 43], 17820))));
        // Not what another name leads to that it could be short for.
        let mut other = BTreeSet::from([SocketAddr::from(([192, 0, 2, 1], 17820))]);
        resolver.add_others("nodes", &mut other).await;
        assert_eq!(other.len(), 1);
    }

    #[test]
    fn what_is_no_answer_has_no_addresses() {
        let mut answer = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        answer.extend(b"\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01");
        assert_eq!(read(&answer, 1, 4), Some(vec![IpAddr::from([10, 0, 0, 1])]));
        assert_eq!(read(&answer, 28, 16), Some(Vec::new()));
        for length in 0..answer.len() {
            assert_eq!(read(&answer[..length], 1, 4), None, "{length}");
        }
    }
}
