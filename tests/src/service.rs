//! What answers HTTP in tests, on a thread of its own: it ends when it goes, and nobody listens at its address afterwards.

use std::{io, net::SocketAddr, sync::mpsc, thread::JoinHandle};

use axum::Router;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Serves at an address, or on a port that nobody has if its port is 0.
    pub(crate) fn start(address: SocketAddr, router: Router) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, address_of) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let served: io::Result<()> = runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind(address).await?;
                bound.send(listener.local_addr()?).expect("the test waits for it");
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served,
                    _ = stopped => Ok(()),
                }
            });
            served.expect("it serves");
        });
        let address = address_of.recv().expect("it listens");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
