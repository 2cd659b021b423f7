//! The connection to a webhook: HTTPS to a URL or a service, kept open between calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;

use crate::admission::webhook::failure::{Class, DialError, Failure};
use crate::api::field::go_quote;
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::base::tree::Value;

/// The largest answer that is read; a patch of the largest object fits.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long an idle connection is kept, as Go's transport does.
const IDLE: Duration = Duration::from_secs(90);
/// Idle connections kept per webhook.
const IDLE_MAX: usize = 25;
/// Where systems keep the authorities that everybody trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What the server calls itself.
const USER_AGENT: &str = "kube-apiserver-admission";

/// A webhook as it can be reached, or why it cannot.
pub(super) struct Client(Result<Target, String>);

struct Target {
    /// Without query.
    url: String,
    http: HyperClient<HttpsConnector<Dialer>, Full<Bytes>>,
}

impl Client {
    /// From a `clientConfig`. Problems are told by the first call.
    pub(super) fn new(config: &Value, objects: Arc<dyn Objects>) -> Self {
        Client(Target::new(config, objects))
    }

    /// Posts a review; `within` bounds everything.
    pub(super) async fn post(
        &self,
        body: Vec<u8>,
        within: Duration,
        audit_id: &str,
    ) -> Result<Bytes, Failure> {
        let target = self.0.as_ref().map_err(|why| Failure {
            class: Class::Configuration,
            text: format!("could not get REST client: {why}"),
            code: 500,
        })?;
        let seconds = within.as_secs() + u64::from(within.subsec_nanos() > 0);
        let url = format!("{}?timeout={seconds}s", target.url);
        match tokio::time::timeout(within, target.exchange(&url, body, audit_id)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::timeout(&url)),
        }
    }
}

impl Target {
    fn new(config: &Value, objects: Arc<dyn Objects>) -> Result<Self, String> {
        let roots = match config["caBundle"].as_str().filter(|text| !text.is_empty()) {
            Some(encoded) => Arc::new(bundle(encoded)?),
            None => SYSTEM.clone(),
        };
        let service = &config["service"];
        let (url, place) = match config["url"].as_str() {
            Some(url) => (url.to_string(), Place::Host),
            None if service.is_object() => {
                let text = |key: &str| service[key].as_str().unwrap_or_default().to_string();
                let (namespace, name) = (text("namespace"), text("name"));
                let port = service["port"].as_u64().and_then(|p| u16::try_from(p).ok());
                let port = port.unwrap_or(443);
                let path = text("path");
                let slash = if path.starts_with('/') { "" } else { "/" };
                let url = format!("https://{name}.{namespace}.svc:{port}{slash}{path}");
                (url, Place::Service { namespace, name })
            }
            None => return Err("webhook configuration must have either service or URL".into()),
        };
        let url = clean(&url);
        url.parse::<Uri>().map_err(|error| error.to_string())?;
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(Dialer {
                place: Arc::new(place),
                objects,
            });
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector);
        Ok(Target { url, http })
    }

    async fn exchange(&self, url: &str, body: Vec<u8>, audit_id: &str) -> Result<Bytes, Failure> {
        let request = Request::post(url)
            .header("content-type", "application/json")
            .header("accept", "application/json, */*")
            .header("user-agent", USER_AGENT)
            .header("audit-id", audit_id)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(Class::Configuration, error.to_string()))?;
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| Failure::of_transport(url, &error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| Failure::of_transport(url, &*error))?
            .to_bytes();
        if (200..=206).contains(&head.status.as_u16()) {
            return Ok(body);
        }
        let content_type = head.headers.get("content-type");
        let is_text = content_type
            .and_then(|value| value.to_str().ok())
            .is_none_or(|kind| kind.starts_with("text/"));
        let said = match is_text {
            true => String::from_utf8_lossy(&body),
            false => "".into(),
        };
        Err(Failure::of_status(head.status, &said))
    }
}

/// The URL as Go's client prints it: a path always, without a slash at its end.
fn clean(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { "/" } else { path };
    format!("{scheme}://{host}{path}")
}

/// Authorities of a `caBundle`.
fn bundle(encoded: &str) -> Result<RootCertStore, String> {
    const BAD: &str = "unable to load root certificates: unable to parse bytes as PEM block";
    let pem = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|_| BAD.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| BAD.to_string())?;
        roots.add(certificate).map_err(|_| BAD.to_string())?;
    }
    match roots.is_empty() {
        true => Err(BAD.into()),
        false => Ok(roots),
    }
}

/// The system's authorities: those of the first file there is.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    for file in SYSTEM_ROOTS {
        let Ok(certificates) = CertificateDer::pem_file_iter(file) else {
            continue;
        };
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        break;
    }
    Arc::new(roots)
});

/// Where a webhook is.
enum Place {
    /// At the host of its URL.
    Host,
    /// Behind a service.
    Service { namespace: String, name: String },
}

/// Opens connections.
#[derive(Clone)]
struct Dialer {
    place: Arc<Place>,
    objects: Arc<dyn Objects>,
}

type Dialing = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, DialError>> + Send>>;

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Dialing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Dialing {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl Dialer {
    async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let port = uri.port_u16().unwrap_or(443);
        let (host, port) = match &*self.place {
            Place::Host => (uri.host().unwrap_or_default().to_string(), port),
            Place::Service { namespace, name } => self.service(namespace, name, port).await?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let unknown = || DialError {
            class: Class::Resolve,
            text: format!("dial tcp: lookup {host}: no such host"),
        };
        let addresses = tokio::net::lookup_host((host, port))
            .await
            .map_err(|_| unknown())?;
        let mut failed = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Err(error) => {
                    let error = DialError::connect(&address.to_string(), &error);
                    failed = failed.or(Some(error));
                }
            }
        }
        Err(failed.unwrap_or_else(unknown))
    }

    /// Host and port of a service, as upstream's default resolver finds them: its cluster IP.
    async fn service(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<(String, u16), DialError> {
        let fail = |text: String| DialError {
            class: Class::Resolve,
            text,
        };
        let services = GroupResource::new("", "services");
        let found = self.objects.get_cached(&services, namespace, name).await;
        let service = found
            .map_err(|error| fail(error.message))?
            .ok_or_else(|| fail(format!("service {} not found", go_quote(name))))?;
        let spec = &service["spec"];
        let text = |key: &str| spec[key].as_str().unwrap_or_default().to_string();
        match spec["type"].as_str().unwrap_or("ClusterIP") {
            "ExternalName" => Ok((text("externalName"), port)),
            "ClusterIP" if spec["clusterIP"] == "None" => Err(fail(
                "cannot route to service with ClusterIP \"None\"".into(),
            )),
            "ClusterIP" | "NodePort" | "LoadBalancer" => {
                let ports = spec["ports"].as_array();
                let has_port = ports
                    .into_iter()
                    .flatten()
                    .any(|p| p["port"].as_u64() == Some(u64::from(port)));
                match has_port {
                    true => Ok((text("clusterIP"), port)),
                    false => Err(fail(format!(
                        "no service port {port} found for service {}",
                        go_quote(name)
                    ))),
                }
            }
            other => Err(fail(format!(
                "unsupported service type {}",
                go_quote(other)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn urls_as_go_prints_them() {
        assert_eq!(clean("https://127.0.0.1:1/x"), "https://127.0.0.1:1/x");
        assert_eq!(clean("https://host"), "https://host/");
        assert_eq!(clean("https://a.b.svc:443/"), "https://a.b.svc:443/");
        assert_eq!(clean("https://host:8443/a/b/"), "https://host:8443/a/b");
    }
}
