//! The servers of a run: one `verbatim serve` per store and audit level, etcd, and the bare server;
//! with their users, objects and connections.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::client::{self, Connection, KeepBody, Peer};
use crate::etcd::Etcd;
use crate::floor::{BareEtcd, BareServer};
use crate::objects::{self, MANY, NAMESPACE, POD_BYTES};
use crate::options::Options;
use crate::rows::{LIST_LIMIT, Variant};

/// Connections of rows of small requests; as many writes are in flight at the bare stores.
pub(crate) const CONNECTIONS: usize = 64;
const TOKEN: &str = "bench-administrator";
/// How long connections may be left alone.
pub(crate) const UNUSED_MAX: Duration = Duration::from_secs(20);

/// Which store a server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Store {
    Embedded,
    Etcd,
}

/// What a server records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum AuditSetting {
    /// No log, no index.
    Off,
    /// Everything at Metadata, into the log and the index.
    Metadata,
    /// Everything at RequestResponse, into the log and the index.
    RequestResponse,
}

impl fmt::Display for AuditSetting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            AuditSetting::Off => "off",
            AuditSetting::Metadata => "Metadata",
            AuditSetting::RequestResponse => "RequestResponse",
        })
    }
}

/// The user's certificates, for all servers.
pub(crate) struct Identity {
    ca_pem: String,
    pub(crate) user: Arc<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

impl Identity {
    /// Makes a CA and the certificate of the user `bench`, who is in the group `benchers`.
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "bench-ca");
        let ca_pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let user_key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bench");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "benchers");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&user_key, &issuer)?;
        let key = PrivateKeyDer::Pkcs8(user_key.serialize_der().into());
        Ok(Identity {
            ca_pem,
            user: Arc::new((certificate.der().clone(), key)),
        })
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) peer: Peer,
    pub(crate) connections: Vec<Connection>,
    used: Instant,
    /// Pods as the server shows them, to be put back with another counter.
    pub(crate) pods: Vec<String>,
    /// Names that CREATE made, for DELETE, by worker.
    pub(crate) created: Vec<Vec<String>>,
    pub(crate) created_total: usize,
}

impl Server {
    /// Starts the built program and waits until it serves.
    pub(crate) fn start(dir: &Path, identity: &Identity, flags: &[String]) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let ca = dir.join("users-ca.crt");
        std::fs::write(&ca, &identity.ca_pem)?;
        let tokens = dir.join("tokens.csv");
        std::fs::write(&tokens, format!("{TOKEN},admin,1,system:masters\n"))?;
        let port = free_port()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_verbatim"))
            .arg("serve")
            .arg("--data-dir")
            .arg(dir.join("data"))
            .args(["--bind-address", "127.0.0.1"])
            .args(["--secure-port", &port.to_string()])
            .arg("--client-ca-file")
            .arg(&ca)
            .arg("--token-auth-file")
            .arg(&tokens)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start verbatim")?;
        let log = child.stderr.take().context("a piped standard error")?;
        if let Err(log) = wait_until_ready(BufReader::new(log)) {
            child.kill().ok();
            bail!("the server did not get ready:\n{log}");
        }
        Ok(Server {
            child,
            peer: Peer {
                port,
                certificate: identity.user.clone(),
            },
            connections: Vec::new(),
            used: Instant::now(),
            pods: Vec::new(),
            created: vec![Vec::new(); CONNECTIONS],
            created_total: 0,
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its connections, opened when first asked for, and anew before a server closes what nobody uses.
    pub(crate) async fn connections(&mut self) -> Result<&mut Vec<Connection>> {
        if self.used.elapsed() > UNUSED_MAX {
            self.connections.clear();
        }
        self.used = Instant::now();
        while self.connections.len() < CONNECTIONS {
            self.connections.push(Connection::open(&self.peer).await?);
        }
        Ok(&mut self.connections)
    }

    /// One request as the administrator.
    pub(crate) async fn administer(&self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let authorization =
            format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n");
        let plain = client::request(method, path, "application/json", body);
        let rest = plain
            .iter()
            .position(|b| *b == b'\n')
            .map_or(0, |line| line + 1);
        let request = [authorization.as_bytes(), &plain[rest..]].concat();
        // The user's certificate would be looked at first.
        let mut connection = Connection::open_without_certificate(&self.peer).await?;
        let answer = connection.call(&request, KeepBody::Yes).await?;
        if answer.status >= 300 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            bail!("{method} {path}: {} {text}", answer.status);
        }
        Ok(answer.body)
    }

    /// Namespaces, rights, pods.
    async fn fill(&mut self, options: &Options) -> Result<()> {
        for (path, body) in objects::setup() {
            self.administer("POST", &path, &body).await?;
        }
        // How much padding makes a stored pod the size it is to have.
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let body = objects::pod("measured", 0);
        let bare = self.administer("POST", &path, &body).await?.len();
        self.administer("DELETE", &format!("{path}/measured"), "")
            .await?;
        let padding = POD_BYTES.saturating_sub(bare);
        self.create_pods(NAMESPACE, options.pods, padding).await?;
        self.create_pods(MANY, options.many_pods, padding).await?;
        let listed = self.administer("GET", &path, "").await?;
        let list: serde_json::Value = serde_json::from_slice(&listed)?;
        for item in list["items"].as_array().context("a list of pods")? {
            let mut pod = item.clone();
            pod["kind"] = "Pod".into();
            pod["apiVersion"] = "v1".into();
            if let Some(metadata) = pod["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            self.pods.push(pod.to_string());
        }
        Ok(())
    }

    async fn create_pods(&mut self, namespace: &str, count: usize, padding: usize) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let connections = self.connections().await?;
        let path = &path;
        let workers = connections
            .iter_mut()
            .enumerate()
            .map(|(worker, connection)| async move {
                for n in (worker..count).step_by(CONNECTIONS) {
                    let body = objects::pod(&pod_name(n), padding);
                    let request = client::request("POST", path, "application/json", &body);
                    let answer = connection.call(&request, KeepBody::No).await?;
                    if answer.status != 201 {
                        bail!("{}", String::from_utf8_lossy(&answer.body));
                    }
                }
                Ok(())
            });
        futures::future::try_join_all(workers).await?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Name of a pod that is there from the beginning.
pub(crate) fn pod_name(n: usize) -> String {
    format!("app-6d4cf56db6-{n:05}")
}

/// All processes of a run.
pub(crate) struct Cluster {
    pub(crate) servers: HashMap<(Store, AuditSetting), Server>,
    pub(crate) bare_server: Option<BareServer>,
    pub(crate) bare_etcd: Option<BareEtcd>,
    pub(crate) dir: TempDir,
    _etcd: Option<Etcd>,
}

impl Cluster {
    /// Starts what these variants need.
    pub(crate) async fn start(options: &Options, variants: &[Variant]) -> Result<Self> {
        let dir = folder()?;
        let identity = Identity::new()?;
        let wanted = variants.iter().filter_map(|v| crate::server_of(*v));
        let needs_etcd = variants.contains(&Variant::BareStore(Store::Etcd))
            || wanted.clone().any(|(store, _)| store == Store::Etcd);
        let etcd = needs_etcd.then(Etcd::start);
        let mut servers = HashMap::new();
        for (store, audit) in wanted {
            let name = format!("{store:?}-{audit:?}").to_lowercase();
            let place = dir.path().join(&name);
            std::fs::create_dir_all(&place)?;
            let mut flags = audit_flags(&place, audit)?;
            if let Some(etcd) = etcd.as_ref().filter(|_| store == Store::Etcd) {
                flags.push(format!("--etcd-servers={}", etcd.endpoint()));
                flags.push(format!("--etcd-prefix=/{name}"));
            }
            eprintln!("starting {name}");
            let mut server = Server::start(&place, &identity, &flags)?;
            server.fill(options).await.context(name)?;
            servers.insert((store, audit), server);
        }
        let bare_etcd = match &etcd {
            Some(etcd) => Some(BareEtcd::connect(etcd.endpoint()).await?),
            None => None,
        };
        let bare_server = match servers.values().next() {
            Some(server) if variants.contains(&Variant::BareServer) => {
                let bodies = dir.path().join("bodies");
                save_bodies(server, &bodies).await?;
                Some(BareServer::start(&bodies, &identity)?)
            }
            _ => None,
        };
        Ok(Cluster {
            servers,
            bare_server,
            bare_etcd,
            dir,
            _etcd: etcd,
        })
    }

    /// A server that was started.
    pub(crate) fn server(&mut self, store: Store, audit: AuditSetting) -> Result<&mut Server> {
        let server = self.servers.get_mut(&(store, audit));
        server.context("a row without its server")
    }
}

/// What the bare server answers: the same bytes.
async fn save_bodies(server: &Server, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    for (name, path) in [
        ("get", format!("{pods}/{}", pod_name(0))),
        ("list", pods.clone()),
        ("list-500", format!("{pods}?limit={LIST_LIMIT}")),
        ("list-10000", format!("/api/v1/namespaces/{MANY}/pods")),
    ] {
        let body = server.administer("GET", &path, "").await?;
        std::fs::write(dir.join(name), body)?;
    }
    Ok(())
}

/// A folder on a disk, below `target`: stores that sync into memory would be measured otherwise.
pub(crate) fn folder() -> Result<TempDir> {
    let parent = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench");
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::tempdir_in(parent)?)
}

/// Flags that make a server record as `audit` says.
pub(crate) fn audit_flags(dir: &Path, audit: AuditSetting) -> Result<Vec<String>> {
    let policy = dir.join("policy.yaml");
    let level = match audit {
        AuditSetting::Off => "None".to_string(),
        level => level.to_string(),
    };
    std::fs::write(
        &policy,
        format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: {level}\n"
        ),
    )?;
    let mut flags = vec![format!("--audit-policy-file={}", policy.display())];
    if audit == AuditSetting::Off {
        flags.push("--audit-log-path=".to_string());
        flags.push("--search-index=false".to_string());
    }
    Ok(flags)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Reads the log until the server says that it serves, then has a thread read on.
fn wait_until_ready(log: impl BufRead + Send + 'static) -> Result<(), String> {
    let mut lines = log.lines().map_while(Result::ok);
    let mut seen = String::new();
    for line in lines.by_ref() {
        if line.contains("serves the Kubernetes API at") {
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(());
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    Err(seen)
}
