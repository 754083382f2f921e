//! A TCP line to a real server that a test can close within an answer, open again, and cut: the way to have something
//! happen while an answer is under way. What is on the line is not looked at, so TLS goes through.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::wait_until;

/// A port on 127.0.0.1 that passes on to another one, which may change. It is open at first.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Where connections lead to.
    target: u16,
    /// Bytes that came back from the server, over all connections.
    passed: u64,
    /// How many may pass before the gate is closed; `None` if it is open.
    limit: Option<u64>,
    /// Whether something waits at the closed gate.
    is_reached: bool,
    /// Both ends of every connection.
    connections: Vec<TcpStream>,
}

impl Gate {
    /// A gate to a port of this machine.
    #[must_use]
    pub fn new(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared::default());
        shared.lock().target = target;
        let for_connections = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = for_connections.lock().target;
                // A server that is down refuses, and so does the gate, as far as a client can tell.
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                connect(&client, &server, &for_connections);
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets so many more bytes of answers through, and then none.
    pub fn close_after(&self, bytes: u64) {
        let mut state = self.shared.lock();
        state.limit = Some(state.passed + bytes);
        state.is_reached = false;
    }

    /// Waits until it has closed and more would come: an answer is under way, and has not arrived.
    pub fn wait_until_reached(&self) {
        wait_until("an answer to come to the gate", || self.shared.lock().is_reached);
    }

    /// Lets everything through again, from where it stopped.
    pub fn open(&self) {
        let mut state = self.shared.lock();
        state.limit = None;
        state.is_reached = false;
        drop(state);
        self.shared.opened.notify_all();
    }

    /// Leads to another port from now on. Connections that there are end.
    pub fn lead_to(&self, target: u16) {
        self.shared.lock().target = target;
        self.cut();
    }

    /// Ends all connections that there are, on both sides. Further ones are passed on.
    pub fn cut(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            // It may have ended by itself.
            drop(connection.shutdown(Shutdown::Both));
        }
        self.open();
    }

    /// How many bytes of answers came through so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.lock().passed
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until some bytes may pass, and returns how many of `count` may.
    fn admit(&self, count: usize) -> usize {
        let mut state = self.lock();
        loop {
            let left = state.limit.map_or(u64::MAX, |limit| limit.saturating_sub(state.passed));
            let allowed = usize::try_from(left).unwrap_or(usize::MAX).min(count);
            if allowed > 0 {
                state.passed += allowed as u64;
                return allowed;
            }
            state.is_reached = true;
            state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn connect(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) {
    let copies = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
    let (Some((up_from, up_to)), Some((down_to, down_from)), Some((one, other))) = (copies(), copies(), copies())
    else {
        return;
    };
    shared.lock().connections.extend([one, other]);
    thread::spawn(move || {
        drop(std::io::copy(&mut &up_from, &mut &up_to));
        drop(up_to.shutdown(Shutdown::Write));
    });
    let shared = Arc::clone(shared);
    thread::spawn(move || pass(&down_from, &down_to, &shared));
}

fn pass(mut server: &TcpStream, mut client: &TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    'line: while let Ok(count @ 1..) = server.read(&mut buffer) {
        let mut sent = 0;
        while sent < count {
            let allowed = shared.admit(count - sent);
            if client.write_all(&buffer[sent..sent + allowed]).is_err() {
                break 'line;
            }
            sent += allowed;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Nobody is left who could open it.
        self.cut();
    }
}
