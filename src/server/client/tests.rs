//! The webhook with real connections: receivers that misbehave, and what TLS asks for.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::audit::metrics::Metrics;
use crate::audit::sink::Sink;
use crate::audit::sink::buffered::BatchOptions;
use crate::audit::sink::webhook::{Poster, WebhookOptions, WebhookSink};
use crate::audit::{EventBytes, Stage};
use crate::base::tree::Value;

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Takes,
    Slow,
    Fails,
    Hangs,
    Closes,
}

/// A receiver of audit events.
struct Receiver {
    behaviour: Mutex<Behaviour>,
    /// Events of requests that were answered with 200.
    taken: Mutex<Vec<Value>>,
    authorizations: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Receiver {
    fn new(behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Receiver {
            behaviour: Mutex::new(behaviour),
            taken: Mutex::default(),
            authorizations: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Listens on a port, a free one if it is zero.
    async fn listen(self: &Arc<Self>, port: u16, tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let receiver = self.clone();
        tokio::spawn(async move {
            while !receiver.stopped.load(Ordering::SeqCst) {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (receiver, tls) = (receiver.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| receiver.clone().answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that gives up is no news to a receiver.
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                let stream = TokioIo::new(stream);
                                drop(http.serve_connection(stream, service).await);
                            }
                        }
                    }
                });
            }
        });
        address
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let authorization = request.headers().get("authorization");
        let authorization = authorization.and_then(|v| v.to_str().ok()).unwrap_or("");
        self.authorizations.lock().push(authorization.to_string());
        let body = request.into_body().collect().await;
        let body = body.map_err(std::io::Error::other)?.to_bytes();
        let behaviour = *self.behaviour.lock();
        let mut status = StatusCode::OK;
        match behaviour {
            Behaviour::Takes => {}
            Behaviour::Slow => tokio::time::sleep(Duration::from_millis(30)).await,
            Behaviour::Fails => status = StatusCode::INTERNAL_SERVER_ERROR,
            Behaviour::Hangs => std::future::pending().await,
            Behaviour::Closes => return Err(std::io::Error::other("no")),
        }
        if status == StatusCode::OK {
            let mut list: Value = serde_json::from_slice(&body).expect("an EventList");
            let items = list["items"].as_array_mut().expect("items");
            self.taken.lock().append(items);
        }
        let mut response = Response::new(Full::new(Bytes::from_static(b"sorry")));
        *response.status_mut() = status;
        Ok(response)
    }
}

fn target(address: SocketAddr) -> Target {
    Target {
        server: format!("http://{address}/events"),
        ..Target::default()
    }
}

fn event(n: usize) -> Arc<EventBytes> {
    let line = format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(500)).into_bytes();
    Arc::new(EventBytes::from_line(line, Stage::ResponseComplete))
}

/// How many events a gap record tells of; zero for other events.
fn told(event: &Value) -> u64 {
    let trace = event["annotations"]["audit.verbatim.dev/stages"].as_str();
    let trace: Value = trace
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    trace["lost"].as_u64().unwrap_or_default()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends more than the queue holds to a receiver that misbehaves, then lets it recover. What was lost
/// is what it did not get, and it is told so, as are the other sinks.
async fn losses_are_accounted(behaviour: Option<Behaviour>, timeout: Duration) {
    const EVENTS: usize = 3000;
    let receiver = Receiver::new(behaviour.unwrap_or(Behaviour::Takes));
    let mut address = receiver.listen(0, None).await;
    if behaviour.is_none() {
        // Down: a port on which nobody listens.
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        address = free.local_addr().expect("an address");
    }
    let client = HttpsClient::with_timeout(&target(address), timeout).expect("a client");
    let options = WebhookOptions {
        batch: BatchOptions {
            buffer_size: 500,
            max_size: 50,
            max_wait: Duration::from_millis(5),
            throttle: None,
        },
        initial_backoff: Duration::from_millis(1),
        ..WebhookOptions::default()
    };
    let metrics = Metrics::new();
    let sink = WebhookSink::start(client, options, metrics.clone());
    for n in 0..EVENTS {
        // Batch mode promises that the request never waits, whatever the receiver does.
        sink.accept(&event(n)).settle().await.expect("never waits");
    }
    let lost = || metrics.lost_total("buffered") + metrics.lost_total("webhook");
    until("something is lost", || lost() > 0).await;
    *receiver.behaviour.lock() = Behaviour::Takes;
    if behaviour.is_none() {
        receiver.listen(address.port(), None).await;
    }
    sink.flush().await;
    // The record of the gap goes before the next event.
    sink.accept(&event(EVENTS))
        .settle()
        .await
        .expect("is queued");
    sink.flush().await;

    let taken = receiver.taken.lock();
    let mut numbers: Vec<u64> = taken.iter().filter_map(|e| e["n"].as_u64()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers.len() as u64 + lost(),
        EVENTS as u64 + 1,
        "{behaviour:?}"
    );
    assert_eq!(
        taken.iter().map(told).sum::<u64>(),
        lost(),
        "the receiver is told"
    );
    let record = sink.gap_for_others().expect("a gap record for the log");
    let record: Value = serde_json::from_slice(record.json()).expect("an event");
    assert_eq!(told(&record), lost(), "the log is told");
    receiver.stopped.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn thread_14_a_slow_receiver() {
    losses_are_accounted(Some(Behaviour::Slow), Duration::from_secs(30)).await;
}

#[tokio::test]
async fn thread_14_a_receiver_that_is_down() {
    losses_are_accounted(None, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn thread_14_a_receiver_that_answers_500() {
    losses_are_accounted(Some(Behaviour::Fails), Duration::from_secs(5)).await;
}

#[tokio::test]
async fn thread_14_a_receiver_that_hangs() {
    losses_are_accounted(Some(Behaviour::Hangs), Duration::from_secs(1)).await;
}

#[tokio::test]
async fn thread_14_a_receiver_that_closes_connections() {
    losses_are_accounted(Some(Behaviour::Closes), Duration::from_secs(5)).await;
}

#[tokio::test]
async fn thread_15_an_error_says_what_the_receiver_said() {
    let receiver = Receiver::new(Behaviour::Fails);
    let address = receiver.listen(0, None).await;
    let mut target = target(address);
    target.token = Some("a-token".into());
    let client = HttpsClient::new(&target).expect("a client");
    let error = client
        .post(Bytes::from_static(b"{}"))
        .await
        .expect_err("500");
    assert_eq!(error, "500 Internal Server Error sorry");
    assert_eq!(*receiver.authorizations.lock(), ["Bearer a-token"]);
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_string()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority() -> (rcgen::Certificate, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = params("authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate, Issuer::new(params, key))
}

fn leaf(name: &str, issuer: &Issuer<'static, KeyPair>) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params(name).signed_by(&key, issuer);
    (certificate.expect("a certificate"), key)
}

#[tokio::test]
async fn tls_with_authority_name_and_client_certificate() {
    let (authority, issuer) = authority();
    let (serving, serving_key) = leaf("audit.test", &issuer);
    let (own, own_key) = leaf("verbatim", &issuer);

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let provider = Arc::new(ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    let server_key = PrivatePkcs8KeyDer::from(serving_key.serialize_der()).into();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![serving.der().clone()], server_key)
        .expect("a certificate");
    let receiver = Receiver::new(Behaviour::Takes);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = receiver.listen(0, Some(acceptor)).await;

    let list = Bytes::from_static(br#"{"items":[]}"#);
    let with = |authorities: Vec<CertificateDer<'static>>, name: Option<&str>, is_known: bool| {
        let key = PrivatePkcs8KeyDer::from(own_key.serialize_der());
        Target {
            server: format!("https://{address}"),
            authorities,
            tls_server_name: name.map(str::to_string),
            identity: is_known.then(|| (vec![own.der().clone()], key.into())),
            ..Target::default()
        }
    };
    let known = || vec![authority.der().clone()];
    for (target, is_taken) in [
        (with(known(), Some("audit.test"), true), true),
        (with(known(), None, true), false),
        (
            with(vec![own.der().clone()], Some("audit.test"), true),
            false,
        ),
        (with(known(), Some("audit.test"), false), false),
    ] {
        let client = HttpsClient::new(&target).expect("a client");
        let outcome = client.post(list.clone()).await;
        assert_eq!(outcome.is_ok(), is_taken, "{target:?}: {outcome:?}");
    }
    let mut careless = with(Vec::new(), None, true);
    careless.insecure = true;
    let client = HttpsClient::new(&careless).expect("a client");
    client.post(list).await.expect("nothing is checked");
}
