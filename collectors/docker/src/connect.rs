//! From an address to a client: Unix sockets, TCP, and TCP with TLS.

use std::{
    borrow::Cow,
    fmt, fs,
    future::Future,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, body_full, errors::Error};
use bytes::Bytes;
use http::{Request, Response, Uri, uri::Authority};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::Connect},
    rt::{TokioExecutor, TokioIo},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use stocktake_core::{CollectError, ConfigError, Environment};
use tokio::net::{TcpStream, UnixStream};
use tower::service_fn;

use crate::{
    error::{Action, collect_error},
    limit::{Length, Limited},
    settings::TlsSettings,
};

/// Seconds after which the client library gives up. The agent's deadline is what counts; this only keeps a forgotten
/// connection from living for ever.
const CLIENT_TIMEOUT: u64 = 600;

/// After how long without a word the kernel asks whether the other machine is still there, and how often it asks then, three
/// times: a subscription to a daemon whose machine has lost power would else stand for ever.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_mins(1), Duration::from_secs(20), 3);

/// Sends a request.
type Transport = Box<dyn Fn(BollardRequest) -> Answer + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Error>> + Send>>;

/// Where a daemon listens, and how to reach it.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp { host: String, port: u16, address: Option<IpAddr>, tls: Option<TlsSettings> },
}

impl Endpoint {
    /// The endpoint that the settings name or, where they do not, the environment or the usual sockets.
    pub(crate) fn new(
        host: Option<&str>,
        tls: Option<TlsSettings>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let from_environment = environment.variable("DOCKER_HOST");
        let tls = match tls {
            None if host.is_none() && from_environment.is_some() => environment_tls(environment),
            tls => tls,
        };
        let endpoint = match (host, from_environment) {
            (Some(host), _) => Self::parse(host, tls).map_err(|error| error.within("host"))?,
            (None, Some(host)) => Self::parse(host, tls)
                .map_err(|error| ConfigError::new("host", format!("environment variable DOCKER_HOST: {error}")))?,
            (None, None) => Self::Unix(crate::discover::default_socket(environment)),
        };
        if let Self::Tcp { tls: Some(tls), .. } = &endpoint {
            client_config(tls).map_err(|error| error.within("tls"))?;
        }
        Ok(endpoint)
    }

    fn parse(address: &str, tls: Option<TlsSettings>) -> Result<Self, ConfigError> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        if let Some((_, host)) = rest.rsplit_once('@').filter(|_| scheme != "unix" && scheme != "ssh") {
            // Not repeated: it may hold a password.
            return Err(ConfigError::new(
                "",
                format!("`{scheme}://…@{host}` names a user, which Docker does not take"),
            )
            .hint("remove what stands before the `@`"));
        }
        let unusable = |what: &str| {
            ConfigError::new("", format!("`{address}` {what}"))
                .hint("write `unix:///path/to/socket` or `tcp://host:port`")
        };
        match scheme {
            "unix" | "" if rest.starts_with('/') && tls.is_some() => {
                Err(unusable("is a local socket, to which `tls` does not apply"))
            }
            "unix" | "" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(unusable("is not an absolute path")),
            "tcp" | "http" | "https" => Self::parse_tcp(scheme, rest.trim_end_matches('/'), tls, unusable),
            "ssh" => Err(unusable("is an SSH address, which is not supported; forward the socket with `ssh -L`")),
            _ => Err(unusable("is not an address of a Docker daemon")),
        }
    }

    fn parse_tcp(
        scheme: &str,
        authority: &str,
        tls: Option<TlsSettings>,
        unusable: impl Fn(&str) -> ConfigError,
    ) -> Result<Self, ConfigError> {
        let parsed: Authority = authority.parse().map_err(|_| unusable("has no host and port"))?;
        if parsed.host().is_empty() {
            return Err(unusable("has no host and port"));
        }
        if scheme == "https" && tls.is_none() {
            return Err(unusable("needs `tls` with at least a `ca_file`"));
        }
        let port = match parsed.as_str().strip_prefix(parsed.host()) {
            // Docker's registered ports.
            None | Some("") => {
                if tls.is_some() {
                    2376
                } else {
                    2375
                }
            }
            Some(port) => port.trim_start_matches(':').parse().map_err(|_| unusable("has a port that is none"))?,
        };
        Ok(Self::Tcp { host: parsed.host().to_owned(), port, address: None, tls })
    }

    /// The same, connected to at an address whatever its name means.
    pub(crate) fn at(self, address: Option<IpAddr>) -> Result<Self, ConfigError> {
        match (self, address) {
            (Self::Tcp { host, port, tls, .. }, address) => Ok(Self::Tcp { host, port, address, tls }),
            (local @ Self::Unix(_), None) => Ok(local),
            (Self::Unix(_), Some(_)) => {
                Err(ConfigError::new("address", "is of a host, and the daemon is at a local socket; remove it"))
            }
        }
    }

    /// Whether the daemon runs on the agent's machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// A client. Certificates are read anew; no connection is made before the first request.
    pub(crate) fn connect(&self) -> Result<Docker, CollectError> {
        let transport = self.transport(Length::Bounded)?;
        Docker::connect_with_custom_transport(transport, Some(self.url()), CLIENT_TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|error| collect_error(self, Action::Connect, error))
    }

    /// Asks for what may go on for ever. Returns when the head of the answer is there.
    ///
    /// The library's own streams do not tell that, and look for the end of a line from its beginning whenever some of it
    /// arrives.
    pub(crate) async fn open(&self, path: &str, action: Action) -> Result<Response<Incoming>, CollectError> {
        let transport = self.transport(Length::Endless)?;
        let request = Request::get(format!("{}{path}", self.url())).body(body_full(Bytes::new()));
        let answer = async { transport(request?).await };
        answer.await.map_err(|error| collect_error(self, action, error))
    }

    fn url(&self) -> String {
        match self {
            Self::Unix(_) => "http://docker".to_owned(),
            Self::Tcp { host, port, tls: None, .. } => format!("http://{host}:{port}"),
            Self::Tcp { host, port, tls: Some(_), .. } => format!("https://{host}:{port}"),
        }
    }

    /// The library's own connections put no bound on an answer, check for a socket's file too early to tell what is wrong
    /// with it, and trust the system's authorities even where a CA is named for the daemon.
    fn transport(&self, length: Length) -> Result<Transport, CollectError> {
        match self {
            Self::Unix(path) => {
                let path = path.clone();
                Ok(sender(service_fn(move |_: Uri| {
                    let path = path.clone();
                    Box::pin(async move {
                        Ok::<_, io::Error>(TokioIo::new(Limited::new(UnixStream::connect(path).await?, length)))
                    })
                })))
            }
            Self::Tcp { host, port, address, tls } => {
                let host =
                    address.map_or_else(|| host.trim_matches(['[', ']']).to_owned(), |address| address.to_string());
                let address = (host, *port);
                let tcp = service_fn(move |_: Uri| {
                    let address = address.clone();
                    Box::pin(async move {
                        Ok::<_, io::Error>(TokioIo::new(Limited::new(connect_tcp(address).await?, length)))
                    })
                });
                let Some(tls) = tls else { return Ok(sender(tcp)) };
                let config = client_config(tls).map_err(|error| CollectError::Unavailable {
                    message: format!("cannot connect to docker at {self}: {error}"),
                    source: None,
                })?;
                let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
                Ok(sender(connector.wrap_connector(tcp)))
            }
        }
    }
}

async fn connect_tcp(address: (String, u16)) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    let (after, every, times) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(after).with_interval(every).with_retries(times);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// A connection a request, which is what bounds an answer.
fn sender<C>(connector: C) -> Transport
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    Box::new(move |request| {
        let response = client.request(request);
        Box::pin(async move { Ok(response.await?) })
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`, as the docker command line reads them.
fn environment_tls(environment: &Environment) -> Option<TlsSettings> {
    environment.variable("DOCKER_TLS_VERIFY")?;
    let folder = match environment.variable("DOCKER_CERT_PATH") {
        Some(path) => PathBuf::from(path),
        None => environment.home.as_ref()?.join(".docker"),
    };
    Some(TlsSettings {
        ca_file: Some(folder.join("ca.pem")),
        cert_file: Some(folder.join("cert.pem")),
        key_file: Some(folder.join("key.pem")),
        ..TlsSettings::default()
    })
}

fn client_config(tls: &TlsSettings) -> Result<rustls::ClientConfig, ConfigError> {
    let ca = Pem::of("ca", tls.ca_file.as_deref(), tls.ca_data.as_deref())?;
    let cert = Pem::of("cert", tls.cert_file.as_deref(), tls.cert_data.as_deref())?;
    let key = Pem::of("key", tls.key_file.as_deref(), tls.key_data.as_ref().map(ExposeSecret::expose_secret))?;
    let ca = ca.ok_or_else(|| ConfigError::new("ca_file", "missing key, expected the authorities to trust"))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in ca.certificates()? {
        roots.add(certificate).map_err(|error| ca.unusable(&error))?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("", error.to_string()))?
        .with_root_certificates(roots);
    match (cert, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let private = PrivateKeyDer::from_pem_slice(&key.read()?).map_err(|error| key.no_pem(&error))?;
            builder.with_client_auth_cert(cert.certificates()?, private).map_err(|error| key.unusable(&error))
        }
        (Some(cert), None) => Err(cert.alone("key")),
        (None, Some(key)) => Err(key.alone("cert")),
    }
}

/// Something in PEM form, in a file or in the settings themselves.
struct Pem<'a> {
    key: String,
    place: Result<&'a Path, &'a str>,
}

impl<'a> Pem<'a> {
    /// What `WHAT_file` and `WHAT_data` say.
    fn of(what: &str, file: Option<&'a Path>, data: Option<&'a str>) -> Result<Option<Self>, ConfigError> {
        match (file, data) {
            (None, None) => Ok(None),
            (Some(path), None) => Ok(Some(Self { key: format!("{what}_file"), place: Ok(path) })),
            (None, Some(data)) => Ok(Some(Self { key: format!("{what}_data"), place: Err(data) })),
            (Some(_), Some(_)) => {
                let message = format!("`{what}_data` and `{what}_file` say the same; remove one of them");
                Err(ConfigError::new(format!("{what}_data"), message))
            }
        }
    }

    fn read(&self) -> Result<Cow<'a, [u8]>, ConfigError> {
        match self.place {
            Ok(path) => fs::read(path).map(Cow::Owned).map_err(|error| self.unusable(&error)),
            Err(data) => Ok(Cow::Borrowed(data.as_bytes())),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        // Read separately, so that a file that is missing is told from one that is malformed.
        let pem = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.unusable(&"it holds no certificate in PEM form")),
            Ok(found) => Ok(found),
            Err(error) => Err(self.no_pem(&error)),
        }
    }

    /// What the parser says is not repeated: it holds a line of the text, which may be a key.
    fn no_pem(&self, _: &pem::Error) -> ConfigError {
        self.unusable(&"it is not PEM, which has lines like `-----BEGIN CERTIFICATE-----`")
    }

    fn unusable(&self, error: &dyn fmt::Display) -> ConfigError {
        let message = match self.place {
            Ok(path) => format!("cannot use file `{}`: {error}", path.display()),
            Err(_) => format!("it cannot be used: {error}"),
        };
        ConfigError::new(&self.key, message)
    }

    /// The complaint about the other half that is missing.
    fn alone(&self, other: &str) -> ConfigError {
        let kind = if self.place.is_ok() { "file" } else { "data" };
        ConfigError::new(format!("{other}_{kind}"), format!("missing key, expected beside `{}`", self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Environment::default()
        }
    }

    fn endpoint(host: &str) -> Result<Endpoint, ConfigError> {
        Endpoint::new(Some(host), None, &Environment::default())
    }

    #[test]
    fn reads_addresses_as_docker_writes_them() {
        assert_eq!(endpoint("unix:///run/docker.sock").unwrap().to_string(), "unix:///run/docker.sock");
        assert_eq!(endpoint("/run/docker.sock").unwrap().to_string(), "unix:///run/docker.sock");
        assert_eq!(endpoint("tcp://127.0.0.1:1234/").unwrap().to_string(), "tcp://127.0.0.1:1234");
        assert_eq!(endpoint("tcp://docker.example").unwrap().to_string(), "tcp://docker.example:2375");
        assert_eq!(endpoint("tcp://[::1]:7").unwrap().to_string(), "tcp://[::1]:7");
    }

    #[test]
    fn says_what_is_wrong_with_an_address() {
        for (address, part) in [
            ("unix://docker.sock", "not an absolute path"),
            ("tcp://", "no host and port"),
            ("tcp://a b:1", "no host and port"),
            ("tcp://host:99999", "port that is none"),
            ("tcp://host:", "port that is none"),
            ("tcp://me:pa55@host:1", "names a user"),
            ("https://x:1", "needs `tls`"),
            ("ssh://me@x", "ssh -L"),
            ("fd://", "not an address"),
            ("npipe:////./pipe/docker_engine", "not an address"),
        ] {
            let error = endpoint(address).unwrap_err();
            assert_eq!(error.path, "host");
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains("pa55"), "{error}");
        }
    }

    #[test]
    fn the_setting_goes_before_the_environment() {
        let environment = environment(&[("DOCKER_HOST", "tcp://elsewhere:1"), ("DOCKER_TLS_VERIFY", "")]);
        assert_eq!(Endpoint::new(None, None, &environment).unwrap().to_string(), "tcp://elsewhere:1");
        assert_eq!(Endpoint::new(Some("/x"), None, &environment).unwrap().to_string(), "unix:///x");
    }

    #[test]
    fn a_bad_docker_host_is_named_as_such() {
        let error = Endpoint::new(None, None, &environment(&[("DOCKER_HOST", "ssh://x")])).unwrap_err();
        assert!(error.to_string().contains("DOCKER_HOST"), "{error}");
    }

    #[test]
    fn missing_certificates_are_a_configuration_error() {
        let environment =
            environment(&[("DOCKER_HOST", "tcp://x"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/nowhere")]);
        let error = Endpoint::new(None, None, &environment).unwrap_err();
        assert_eq!(error.path, "tls.ca_file");
        assert!(error.message.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn certificates_may_stand_in_the_settings_themselves() {
        let certified = |tls: TlsSettings| {
            let error = Endpoint::new(Some("tcp://x"), Some(tls), &Environment::default()).unwrap_err();
            (error.path.clone(), error.to_string())
        };
        let data = |text: &str| Some(text.to_owned());
        let (path, _) = certified(TlsSettings::default());
        assert_eq!(path, "tls.ca_file");
        let (path, text) = certified(TlsSettings { ca_data: data("no PEM"), ..TlsSettings::default() });
        assert!(path == "tls.ca_data" && text.contains("no certificate"), "{text}");
        let both = TlsSettings { ca_file: Some("/x".into()), ca_data: data("y"), ..TlsSettings::default() };
        assert_eq!(certified(both).0, "tls.ca_data");
        let secret = TlsSettings { key_data: Some("hunter2".into()), ..TlsSettings::default() };
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_not_pem_is_not_repeated() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let line = "-----BEGIN PRIVATE KEY----- MIIEhunter2 -----END PRIVATE KEY-----";
        for (key_data, cert_data) in [(line, certificate), (certificate, line), ("hunter2", certificate)] {
            let key = Pem { key: "key_data".into(), place: Err(key_data) };
            let certificate = Pem { key: "cert_data".into(), place: Err(cert_data) };
            let private = PrivateKeyDer::from_pem_slice(key_data.as_bytes()).map_err(|error| key.no_pem(&error));
            let errors = [private.err(), certificate.certificates().err()];
            assert!(errors.iter().any(Option::is_some));
            for error in errors.into_iter().flatten() {
                let text = error.to_string();
                assert!(text.contains("not PEM") && !text.contains("hunter2") && !text.contains('['), "{text}");
            }
        }
    }
}
