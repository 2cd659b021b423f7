//! A server's life: start, serve, shut down gracefully (contract/health.md, graceful termination).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::health::Asked;
use super::listener::Listener;
use super::options::{CertificateFiles, ServerOptions, TlsOptions};
use super::pki::{self, Pki, PkiError};
use super::senders;
use super::tls::{self, TlsError};
use super::wiring::{self, Wired};
use crate::base::Tasks;
use crate::filters::shutdown::Drain;
use crate::search::FollowedLog;
use crate::telemetry::Metrics;

/// How long connections get to close once no request is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys, certificates or the data folder.
    #[error("cannot prepare the data folder")]
    Pki(#[from] PkiError),
    /// The serving certificate.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part of the server.
    #[error("cannot start {part}: {reason}")]
    Part {
        /// Which.
        part: &'static str,
        /// The cause chain.
        reason: String,
    },
}

impl StartError {
    /// A part failed, with the error's whole chain.
    pub(super) fn part(part: &'static str, error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        StartError::Part { part, reason }
    }

    /// A part failed, for a reason that is told already.
    pub(super) fn text(part: &'static str, reason: String) -> Self {
        StartError::Part { part, reason }
    }
}

/// Starts servers.
pub struct Server;

/// A server that serves. Dropping it leaves it serving; end it with [`Running::shutdown`].
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Kubeconfig of the administrator, when the server made one.
    pub kubeconfig: Option<PathBuf>,
    /// CA that signed the serving certificate, when the server made it.
    pub ca_cert: Option<PathBuf>,
    /// Clusters that send audit events here, and the kubeconfig for each.
    pub senders: Vec<(String, PathBuf)>,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    wired: Wired,
    options: ServerOptions,
    drain: Drain,
    shutting_down: Arc<AtomicBool>,
    stop_accepting: CancellationToken,
    close_connections: CancellationToken,
    connections: Tasks,
    background: Tasks,
}

impl Server {
    /// Starts a server and answers when it is ready.
    pub async fn start(mut options: ServerOptions) -> Result<Running, StartError> {
        let metrics = Metrics::new(&options.disabled_metrics);
        let background = Tasks::new();
        let drain = Drain::default();
        let pki = own_keys(&mut options)?;
        let tls = options.listen.tls.clone();
        let tls = tls.expect("own_keys fills in the certificate");
        let asks = options.authentication.client_ca.is_some()
            || options.authentication.request_header.is_some();
        let tls = tls::server_config(&tls, asks, &metrics, &background)?;

        let address = options.listen.address;
        let listen_error = |source| StartError::Listen { address, source };
        let tcp = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = tcp.local_addr().map_err(listen_error)?;
        options.listen.address = address;
        let kubeconfig = match &pki {
            Some(pki) => Some(write_kubeconfig(&options, pki, address)?),
            None => None,
        };
        let senders = senders::kubeconfigs(&options, pki.as_ref())?;

        let wired = wiring::wire(&options, &metrics, &drain, &background).await?;
        let shutting_down = Arc::new(AtomicBool::new(false));
        let state = shutting_down.clone();
        wired.health.add("shutdown", Asked::Ready, move || {
            let down = state.load(Ordering::Acquire);
            Box::pin(async move {
                match down {
                    true => Err("process is shutting down".to_string()),
                    false => Ok(()),
                }
            })
        });

        let running = Running {
            address,
            kubeconfig,
            ca_cert: pki.map(|pki| pki.ca_cert),
            senders,
            metrics: metrics.clone(),
            wired,
            drain,
            shutting_down,
            stop_accepting: CancellationToken::new(),
            close_connections: CancellationToken::new(),
            connections: Tasks::new(),
            background,
            options,
        };
        running.listen(tcp, tls);
        running.wired.started().await?;
        Ok(running)
    }
}

impl Running {
    fn listen(&self, tcp: TcpListener, tls: Arc<rustls::ServerConfig>) {
        let listener = Listener {
            tcp,
            tls,
            app: self.wired.app.clone(),
            metrics: self.metrics.clone(),
            stop_accepting: self.stop_accepting.clone(),
            close_connections: self.close_connections.clone(),
            connections: self.connections.clone(),
        };
        let options = self.options.listen.clone();
        self.background.spawn(listener.run(options));
    }

    /// The URL of the API.
    pub fn url(&self) -> String {
        format!("https://{}", reachable(self.address))
    }

    /// Logs of other API servers that are followed.
    pub fn followed(&self) -> &[FollowedLog] {
        &self.options.collect.follow
    }

    /// What was wired, for tests and tools.
    pub fn wired(&self) -> &Wired {
        &self.wired
    }

    /// Shuts down: readiness fails first, requests in flight finish, watches end cleanly, the
    /// audit log is flushed, the store is closed.
    pub async fn shutdown(self) {
        let limit = self.options.chain.request_timeout;
        self.shutting_down.store(true, Ordering::Release);
        tracing::info!("shutting down: /readyz fails from now on");
        self.wired.stopping().await;
        tokio::time::sleep(self.options.shutdown.delay).await;

        self.drain.stop_accepting();
        if !self.options.shutdown.send_retry_after {
            self.stop_accepting.cancel();
        }
        if tokio::time::timeout(limit, self.drain.idle())
            .await
            .is_err()
        {
            tracing::warn!(
                running = self.drain.running(),
                "requests did not finish in time"
            );
        }
        self.drain.end_watches();
        self.stop_accepting.cancel();
        self.close_connections.cancel();
        let grace = self.options.shutdown.watch_grace.max(CLOSE_TIMEOUT);
        if !self.connections.wait(grace).await {
            self.connections.stop();
            self.connections.wait(CLOSE_TIMEOUT).await;
        }
        self.background.stop();
        self.wired.stopped().await;
        self.background.wait(CLOSE_TIMEOUT).await;
        tracing::info!("shut down");
    }
}

/// Makes the keys that no flag gave, and puts their paths into the options. Answers the PKI when
/// the server's own CA signs its clients.
fn own_keys(options: &mut ServerOptions) -> Result<Option<Pki>, PkiError> {
    let accounts = &options.authentication.service_accounts;
    let complete = options.listen.tls.is_some()
        && options.authentication.client_ca.is_some()
        && accounts.signing_key.is_some();
    if complete {
        return Ok(None);
    }
    pki::private_dir(&options.data_dir)?;
    let pki = Pki::at(&options.data_dir.join("pki"));
    let mut more: Vec<String> = options.listen.external_hostname.iter().cloned().collect();
    let bind = options.listen.address.ip();
    let addresses = [options.listen.advertise, Some(bind)];
    let specific = addresses.into_iter().flatten();
    more.extend(
        specific
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string()),
    );
    pki.ensure(&pki::serving_names(options.services.kubernetes_ip(), &more))?;

    let own_certificate = options.listen.tls.is_none();
    if own_certificate {
        options.listen.tls = Some(TlsOptions {
            certificate: CertificateFiles {
                certificate: pki.serving_cert.clone(),
                key: pki.serving_key.clone(),
                names: Vec::new(),
            },
            sni: options.listen.sni.clone(),
            tls13_only: options.listen.tls13_only,
            http2: options.listen.http2,
        });
    }
    let accounts = &mut options.authentication.service_accounts;
    if accounts.signing_key.is_none() && accounts.verify_keys.is_empty() {
        accounts.signing_key = Some(pki.service_account_key.clone());
        accounts.verify_keys = vec![pki.service_account_public.clone()];
    }
    if options.authentication.client_ca.is_some() {
        return Ok(None);
    }
    options.authentication.client_ca = Some(pki.ca_cert.clone());
    Ok(own_certificate.then_some(pki))
}

fn write_kubeconfig(
    options: &ServerOptions,
    pki: &Pki,
    address: SocketAddr,
) -> Result<PathBuf, PkiError> {
    let path = options.data_dir.join("admin.kubeconfig");
    let server = format!("https://{}", reachable(address));
    pki.write_kubeconfig(&path, &server)?;
    Ok(path)
}

/// An address that a client on this machine can connect to.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}
