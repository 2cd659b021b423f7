//! Connections: TLS, timeouts, and one per purpose.

use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Identity, KvClient, MaintenanceClient, TlsOptions,
    WatchClient,
};

use super::errors::{Call, classify};
use super::{EtcdOptions, Pem};
use crate::storage::Error;

/// As kube-apiserver's: a dead peer is noticed within 40 seconds.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Where distributions keep the authorities they trust.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// See the module.
pub(super) struct Connections {
    calls: Vec<Client>,
    watches: Client,
    /// One per endpoint, to ask each for its version.
    members: Vec<Client>,
}

impl Connections {
    /// Prepares the connections; they are established when first used.
    pub(super) async fn open(options: &EtcdOptions) -> Result<Self, Error> {
        let connect = connect_options(options)?;
        let endpoints = &options.endpoints;
        let mut calls = Vec::new();
        for _ in 0..options.connections.max(1) {
            calls.push(client(endpoints, &connect).await?);
        }
        let watches = client(endpoints, &connect).await?;
        let mut members = Vec::new();
        for endpoint in endpoints {
            members.push(client(std::slice::from_ref(endpoint), &connect).await?);
        }
        Ok(Self {
            calls,
            watches,
            members,
        })
    }

    pub(super) fn kv(&self, turn: usize) -> KvClient {
        let client = &self.calls[turn % self.calls.len()];
        client.kv_client().max_decoding_message_size(usize::MAX)
    }

    pub(super) fn watch(&self) -> WatchClient {
        let client = self.watches.watch_client();
        client.max_decoding_message_size(usize::MAX)
    }

    /// Grants a lease of so many seconds, answers its id.
    pub(super) async fn grant(&self, seconds: i64) -> Result<i64, etcd_client::Error> {
        let mut leases = self.calls[0].lease_client();
        Ok(leases.grant(seconds, None).await?.id())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = MaintenanceClient> {
        self.members.iter().map(Client::maintenance_client)
    }
}

async fn client(endpoints: &[String], options: &ConnectOptions) -> Result<Client, Error> {
    let connected = Client::connect(endpoints, Some(options.clone())).await;
    connected.map_err(|e| classify(&e, Call::Read))
}

fn connect_options(options: &EtcdOptions) -> Result<ConnectOptions, Error> {
    let connect = ConnectOptions::new()
        .with_connect_timeout(options.connect_timeout)
        .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true);
    let secure = |endpoint: &String| endpoint.starts_with("https://");
    if !options.endpoints.iter().any(secure) {
        return Ok(connect);
    }
    if !options.endpoints.iter().all(secure) {
        return Err(invalid("etcd endpoints mix http and https"));
    }
    Ok(connect.with_tls(tls_options(options)?))
}

fn tls_options(options: &EtcdOptions) -> Result<TlsOptions, Error> {
    let authorities = match &options.ca {
        Some(ca) => read(ca)?,
        None => SYSTEM_AUTHORITIES
            .iter()
            .find_map(|path| std::fs::read(path).ok())
            .ok_or_else(|| invalid("no certificate authority for etcd"))?,
    };
    let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(authorities));
    match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Ok(tls.identity(Identity::from_pem(read(cert)?, read(key)?))),
        (None, None) => Ok(tls),
        _ => Err(invalid("etcd client certificate and key belong together")),
    }
}

fn read(pem: &Pem) -> Result<Vec<u8>, Error> {
    match pem {
        Pem::Text(text) => Ok(text.clone()),
        Pem::File(path) => std::fs::read(path).map_err(|e| Error::Other {
            reason: format!("read {}: {e}", path.display()),
        }),
    }
}

fn invalid(reason: &str) -> Error {
    Error::Other {
        reason: reason.to_owned(),
    }
}
