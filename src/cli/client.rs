//! A small HTTPS client for the hand tools.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::server::client::{Target, tls_config};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Path of our group.
pub const BASE: &str = "/apis/audit.verbatim.dev/v1alpha1";

/// The client.
pub struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    server: String,
    token: Option<String>,
}

impl Client {
    /// Makes a client; connects when asked something.
    pub fn new(target: Target) -> anyhow::Result<Self> {
        let tls = tls_config(&target).context("TLS")?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        let connector = match target.tls_server_name {
            Some(name) => {
                let name = ServerName::try_from(name).context("tls-server-name")?;
                connector
                    .with_server_name_resolver(FixedServerNameResolver::new(name))
                    .enable_http1()
                    .build()
            }
            None => connector.enable_http1().build(),
        };
        Ok(Client {
            http: HyperClient::builder(TokioExecutor::new()).build(connector),
            server: target.server,
            token: target.token,
        })
    }

    /// Gets JSON. Refusals and errors become sentences that say what to do next.
    pub async fn get(&self, path_and_query: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path_and_query, Bytes::new()).await
    }

    /// Posts JSON text and answers JSON.
    pub async fn post_bytes(&self, path: &str, body: Bytes) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, body).await
    }

    async fn ask(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let uri: Uri = format!("{}{path_and_query}", self.server)
            .parse()
            .with_context(|| format!("{:?} is not a URL", self.server))?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header(
                "user-agent",
                concat!("verbatim/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).context("the request")?;
        let answer = tokio::time::timeout(TIMEOUT, self.http.request(request)).await;
        let answer = answer
            .map_err(|_| anyhow!("{} did not answer within {TIMEOUT:?}", self.server))?
            .map_err(|e| anyhow!(self.connection_problem(&e)))?;
        let (head, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .context("reading the answer")?
            .to_bytes();
        let audit_id = head.headers.get("audit-id").and_then(|v| v.to_str().ok());
        if head.status.is_success() {
            return serde_json::from_slice(&body).context("the answer is not JSON");
        }
        bail!(problem(head.status, &body, audit_id.unwrap_or_default()))
    }

    fn connection_problem(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = cause.to_string();
            source = cause.source();
        }
        let hint = match text.to_lowercase() {
            t if t.contains("refused") => "is the server running? start it with: verbatim serve",
            t if t.contains("unknownissuer") || t.contains("unknown issuer") => {
                "its certificate is signed by another authority: use the kubeconfig of this server, or --certificate-authority FILE"
            }
            t if t.contains("notvalidforname") || t.contains("not valid for") => {
                "its certificate is for another name: use the name in the kubeconfig"
            }
            t if t.contains("dns") || t.contains("lookup") => {
                "check the host name in --server or the kubeconfig"
            }
            _ => "check --server and the kubeconfig",
        };
        format!("cannot connect to {}: {text}\n  {hint}", self.server)
    }
}

fn problem(status: StatusCode, body: &[u8], audit_id: &str) -> String {
    let tree: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = match tree["message"].as_str() {
        Some(message) => message.to_string(),
        None => String::from_utf8_lossy(body).trim().to_string(),
    };
    let hint = match status {
        StatusCode::UNAUTHORIZED => {
            "the server does not know these credentials: check the kubeconfig's user, or pass --token".to_string()
        }
        StatusCode::FORBIDDEN => format!(
            "you may not read the record; somebody who may can run: verbatim why {audit_id}\n  or read one namespace that you may see: --namespace NAME"
        ),
        StatusCode::NOT_FOUND if message.contains("the server could not find") || tree.is_null() => {
            "this server keeps no searchable record: is it verbatim?".to_string()
        }
        _ => return message,
    };
    format!("{message}\n  {hint}")
}

/// Percent-encodes a query parameter.
pub fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
