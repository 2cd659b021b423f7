//! A real admission webhook: HTTPS with a certificate of its own, answers by path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the webhook answers to a review.
pub(crate) enum Reply {
    /// `response` of a review, with the uid filled in.
    Response(Value),
    /// Any body with any code.
    Raw(u16, String),
    /// An agreement that comes too late.
    Late(Duration),
}

/// Agrees.
pub(crate) fn allowed() -> Reply {
    Reply::Response(json!({"allowed": true}))
}

/// Agrees, with a JSON patch.
pub(crate) fn patched(patch: &Value) -> Reply {
    let encoded = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    Reply::Response(json!({"allowed": true, "patchType": "JSONPatch", "patch": encoded}))
}

type Answers = dyn Fn(&str, &Value) -> Reply + Send + Sync;

/// A running webhook. Ends with the test.
pub(crate) struct HookServer {
    address: SocketAddr,
    ca: String,
    /// Path and review of every call.
    pub(crate) calls: Arc<Mutex<Vec<(String, Value)>>>,
    /// Connections it has accepted.
    pub(crate) connections: Arc<Mutex<u32>>,
    _runtime: tokio::runtime::Runtime,
}

impl HookServer {
    /// Starts a webhook that answers with `answers(path, review)`.
    pub(crate) fn start(answers: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let names = ["localhost", "127.0.0.1", "hook.tour.svc"].map(String::from);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("the certificate to be usable");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let hook = Arc::new(Hook {
            answers: Box::new(answers),
            calls: Arc::default(),
        });
        let calls = hook.calls.clone();
        let connections: Arc<Mutex<u32>> = Arc::default();
        let count = connections.clone();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().expect("no thread panicked with it") += 1;
                let (hook, acceptor) = (hook.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let answer = service_fn(move |request| hook.clone().answer(request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        HookServer {
            address,
            ca: base64::engine::general_purpose::STANDARD.encode(made.cert.pem()),
            calls,
            connections,
            _runtime: runtime,
        }
    }

    /// `clientConfig` for a path.
    pub(crate) fn at(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca})
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its authority, as a `caBundle`.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// Requests of the reviews that came to a path.
    pub(crate) fn requests(&self, path: &str) -> Vec<Value> {
        let calls = self.calls.lock().expect("no thread panicked with it");
        let here = calls.iter().filter(|(p, _)| p == path);
        here.map(|(_, review)| review["request"].clone()).collect()
    }
}

struct Hook {
    answers: Box<Answers>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hook {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_string();
        let body = request.into_body().collect().await.expect("a whole body");
        let review: Value = serde_json::from_slice(&body.to_bytes()).expect("a review in JSON");
        let mut reply = (self.answers)(&path, &review);
        self.calls
            .lock()
            .expect("no thread panicked with it")
            .push((path, review.clone()));
        if let Reply::Late(time) = reply {
            tokio::time::sleep(time).await;
            reply = allowed();
        }
        let (code, body) = match reply {
            Reply::Raw(code, body) => (code, body),
            Reply::Response(mut response) => {
                if response.get("uid").is_none() {
                    response["uid"] = review["request"]["uid"].clone();
                }
                let answer = json!({
                    "kind": "AdmissionReview",
                    "apiVersion": review["apiVersion"],
                    "response": response,
                });
                (200, answer.to_string())
            }
            Reply::Late(_) => unreachable!("answered above"),
        };
        let response = Response::builder().status(code).body(Full::from(body));
        Ok(response.expect("a valid response"))
    }
}
