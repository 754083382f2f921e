//! Serving over HTTP: connections, TLS, and what every request goes through.

mod body;
mod bounds;
mod health;
#[cfg(test)]
mod isolation;
mod patient;
mod rate;
pub(crate) mod router;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, body::Body, extract::ConnectInfo};
use futures_util::future::join_all;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use self::{bounds::Bounds, patient::Patient, tls::Tls};
use crate::{
    app::App,
    config::{Limits, Settings},
};

/// How many are connected at a time at an address. Others wait.
const CONNECTIONS_AT_MOST: usize = 8192;

/// How long requests that are under way may take to end when the server is told to stop.
const TO_STOP: Duration = Duration::from_secs(10);

/// How long to wait where no connection can be taken, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Streams that one connection may have open at a time.
const STREAMS: u32 = 128;

/// The signals that the server heeds. From now on none ends the process by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// What the process was told.
enum Told {
    Stop,
    /// Read the configuration again.
    ReadAgain,
}

impl Signals {
    pub(crate) fn heed() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the process is told to stop.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn told(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::ReadAgain,
        }
    }
}

/// Where it will be served.
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    /// Where whoever watches over the server asks, without TLS.
    health: Option<(TcpListener, SocketAddr)>,
}

/// An address, with what is served there.
struct Door {
    listener: TcpListener,
    serving: Serving,
    /// Each has its own, so that masses at one keep nobody from the other.
    room: Arc<Semaphore>,
}

/// Makes a router of settings.
type Made = fn(App, &Settings, Bounds) -> Router;

/// What a connection is served with.
#[derive(Clone)]
struct Serving {
    /// Looked at by each request, so that another one counts for connections that there are.
    router: Arc<RwLock<Router>>,
    bounds: Bounds,
    made: Made,
    builder: Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
}

impl Listening {
    /// Takes the address, so that what is wrong with it is known before anything else is done.
    pub(crate) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let tls = settings
            .server
            .tls
            .as_ref()
            .map(Tls::load)
            .transpose()
            .context("cannot serve TLS (`tls` of `[server]`)")?;
        let (listener, address) = bind(settings.server.listen, "`listen` of `[server]`, or --listen").await?;
        let health = match settings.server.health_listen {
            Some(listen) => Some(bind(listen, "`health_listen` of `[server]`").await?),
            None => None,
        };
        Ok(Self { listener, address, tls: tls.map(Arc::new), health })
    }

    /// Where it is served, for people.
    pub(crate) fn url(&self) -> String {
        let main = format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address);
        match &self.health {
            Some((_, address)) => format!("{main}, probes and metrics also at http://{address}"),
            None => main,
        }
    }

    /// Serves until told to stop, and lets end what is under way then. `read_again` is asked for the settings that count from now on when
    /// the process is told to read them again.
    pub(crate) async fn serve(
        self,
        app: App,
        settings: &Settings,
        signals: &mut Signals,
        read_again: impl Fn() -> Option<Settings>,
    ) {
        let Self { listener, tls, health, .. } = self;
        let renewing = tls.clone().map(|tls| tokio::spawn(tls.keep_current()));
        let stopping = app.notify.stopping.clone();
        let mut doors = vec![Door::new(listener, Serving::new(&app, settings, tls, router::router))];
        if let Some((listener, _)) = health {
            doors.push(Door::new(listener, Serving::new(&app, settings, None, router::health)));
        }
        let graceful = GracefulShutdown::new();
        loop {
            let told = tokio::select! {
                _ = join_all(doors.iter().map(|door| door.attend(&graceful))) => continue,
                told = signals.told() => told,
            };
            match told {
                Told::Stop => break,
                Told::ReadAgain => {
                    let Some(settings) = read_again() else { continue };
                    for door in &mut doors {
                        door.serving.renew(&app, &settings);
                    }
                }
            }
        }
        drop(doors);
        // Streams of events would go on for ever.
        stopping.cancel();
        tracing::info!("stopping: requests that are under way may end");
        tokio::select! {
            () = graceful.shutdown() => {}
            () = tokio::time::sleep(TO_STOP) => tracing::warn!("requests were still under way, and are cut off"),
            () = signals.stop() => tracing::warn!("stopped at once"),
        }
        renewing.inspect(tokio::task::JoinHandle::abort);
    }
}

/// Takes an address, which a setting says.
async fn bind(listen: SocketAddr, setting: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot serve at {listen} ({setting})"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Door {
    fn new(listener: TcpListener, serving: Serving) -> Self {
        Self { listener, serving, room: Arc::new(Semaphore::new(CONNECTIONS_AT_MOST)) }
    }

    /// Takes connections for as long as it is polled.
    async fn attend(&self, graceful: &GracefulShutdown) {
        loop {
            // It is never closed.
            let place = Arc::clone(&self.room).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let (serving, watcher) = (self.serving.clone(), graceful.watcher());
                    tokio::spawn(async move {
                        serving.connection(stream, peer, watcher).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}

impl Serving {
    /// What `made` makes of the settings: all that is served, or what is for whoever watches over the server.
    fn new(app: &App, settings: &Settings, tls: Option<Arc<Tls>>, made: Made) -> Self {
        let bounds = Bounds::new(&settings.limits);
        let router = Arc::new(RwLock::new(made(app.clone(), settings, bounds.clone())));
        Self { router, bounds, made, builder: builder(&settings.limits), tls, limits: settings.limits.clone() }
    }

    /// Serves by other settings from the next request on. Connections that there are keep their times and no more.
    fn renew(&mut self, app: &App, settings: &Settings) {
        self.bounds = self.bounds.changed(&self.limits, &settings.limits);
        let router = (self.made)(app.clone(), settings, self.bounds.clone());
        *self.router.write().unwrap_or_else(PoisonError::into_inner) = router;
        (self.builder, self.limits) = (builder(&settings.limits), settings.limits.clone());
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        // Answers are small and waited for; without it there is nothing worse than a delay.
        let _ = stream.set_nodelay(true);
        let (header, body) = (self.limits.header_timeout, self.limits.body_timeout);
        // What nobody acknowledges is not written to for longer: whoever listens to a stream is written to from time to time.
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(body)) {
            tracing::debug!(%peer, "a connection whose other side is gone may stay for long: {error}");
        }
        let stream = Patient::new(stream, header, body);
        let Some(tls) = self.tls.as_ref().map(|tls| tls.current()) else {
            return self.requests(stream, peer, watcher).await;
        };
        match tokio::time::timeout(header, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => self.requests(Patient::new(stream, header, body), peer, watcher).await,
            Ok(Err(error)) => tracing::debug!(%peer, "no TLS came about: {error}"),
            Err(_) => tracing::debug!(%peer, "no TLS came about in time"),
        }
    }

    async fn requests<T>(&self, stream: T, peer: SocketAddr, watcher: Watcher)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let router = self.router.read().unwrap_or_else(PoisonError::into_inner).clone();
            router.oneshot(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, "a connection ended: {error}");
        }
    }
}
