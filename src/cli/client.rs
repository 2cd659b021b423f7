//! A small HTTPS client for the hand tools: JSON in, JSON out, and streams of JSON lines.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;

use crate::base::tree::Value;
use crate::cli::kubeconfig::Login;
use crate::server::client::{Connector, connector};

/// Longest wait for an answer. Summaries of millions of requests take a while.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Warnings remembered as shown.
const WARNED_MAX: usize = 100;

/// The client.
pub struct Client {
    http: HyperClient<HttpsConnector<Connector>, Full<Bytes>>,
    server: String,
    /// Credentials and impersonation.
    headers: Vec<(header::HeaderName, HeaderValue)>,
    /// Warnings that were shown.
    warned: Mutex<HashSet<String>>,
}

/// The server's refusal, with a sentence that says what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}{hint}", if hint.is_empty() { "" } else { "\n  " })]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// The server's words.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Client {
    /// Makes a client; connects when asked something.
    pub fn new(login: Login) -> anyhow::Result<Self> {
        let headers = headers(&login)?;
        let connector = connector(&login.target)?;
        Ok(Client {
            http: HyperClient::builder(TokioExecutor::new()).build(connector),
            server: login.target.server,
            headers,
            warned: Mutex::default(),
        })
    }

    /// Gets JSON.
    pub async fn get(&self, path_and_query: &str) -> anyhow::Result<Value> {
        let answer = self.send(Method::GET, path_and_query, Bytes::new());
        whole(answer.await?).await
    }

    /// Posts JSON and answers JSON.
    pub async fn post(&self, path_and_query: &str, body: &Value) -> anyhow::Result<Value> {
        let body = Bytes::from(body.to_string());
        self.post_bytes(path_and_query, body).await
    }

    /// Posts JSON text and answers JSON.
    pub async fn post_bytes(&self, path_and_query: &str, body: Bytes) -> anyhow::Result<Value> {
        whole(self.send(Method::POST, path_and_query, body).await?).await
    }

    /// Opens a stream of JSON lines.
    pub async fn stream(&self, path_and_query: &str) -> anyhow::Result<Lines> {
        let answer = self.send(Method::GET, path_and_query, Bytes::new()).await?;
        Ok(Lines {
            body: answer.into_body(),
            buffer: BytesMut::new(),
        })
    }

    /// Sends a request and answers a success; everything else is an error.
    async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        body: Bytes,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let uri: Uri = format!("{}{path_and_query}", self.server)
            .parse()
            .with_context(|| format!("{:?} is not a URL", self.server))?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("verbatim/", env!("CARGO_PKG_VERSION")),
            );
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).context("the request")?;
        let answer = tokio::time::timeout(TIMEOUT, self.http.request(request)).await;
        let answer = answer
            .map_err(|_| anyhow!("{} did not answer within {TIMEOUT:?}", self.server))?
            .map_err(|e| anyhow!(self.connection_problem(&e)))?;
        self.show_warnings(answer.headers());
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = body.collect().await.context("reading the answer")?;
        let audit_id = head.headers.get("audit-id").and_then(|v| v.to_str().ok());
        let audit_id = audit_id.unwrap_or_default();
        Err(refusal(head.status, &body.to_bytes(), audit_id).into())
    }

    /// Shows each warning of the server once, as kubectl does: that events may be missing, say.
    fn show_warnings(&self, headers: &HeaderMap) {
        for text in warnings(headers) {
            let mut warned = self.warned.lock();
            if !warned.contains(&text) {
                eprintln!("Warning: {text}");
                // Few differ; where many do, they are shown again.
                if warned.len() >= WARNED_MAX {
                    warned.clear();
                }
                warned.insert(text);
            }
        }
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

async fn whole(answer: http::Response<Incoming>) -> anyhow::Result<Value> {
    let body = tokio::time::timeout(TIMEOUT, answer.into_body().collect()).await;
    let body = body
        .map_err(|_| anyhow!("the answer did not end within {TIMEOUT:?}"))?
        .context("reading the answer")?;
    serde_json::from_slice(&body.to_bytes()).context("the answer is not JSON")
}

/// The texts of `Warning` headers of code 299, the only code that Kubernetes sends.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::WARNING).iter();
    let texts = values.filter_map(|value| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        let (_agent, quoted) = value.strip_prefix("299 ")?.split_once(' ')?;
        let mut chars = quoted.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => return Some(text),
                '\\' => text.push(chars.next()?),
                other => text.push(other),
            }
        }
    });
    texts.collect()
}

fn headers(login: &Login) -> anyhow::Result<Vec<(header::HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    let target = &login.target;
    let basic = target.basic.as_ref().map(|(name, password)| {
        let pair = STANDARD.encode(format!("{name}:{password}"));
        format!("Basic {pair}")
    });
    let bearer = target.token.as_ref().map(|token| format!("Bearer {token}"));
    if let Some(authorization) = bearer.or(basic) {
        let mut value = HeaderValue::from_str(&authorization).context("the token")?;
        value.set_sensitive(true);
        headers.push((header::AUTHORIZATION, value));
    }
    let acting = &login.acting_as;
    let groups = acting.groups.iter().map(|g| ("impersonate-group", g));
    let user = acting.user.iter().map(|u| ("impersonate-user", u));
    let uid = acting.uid.iter().map(|u| ("impersonate-uid", u));
    for (name, value) in user.chain(uid).chain(groups) {
        let value = HeaderValue::from_str(value).with_context(|| format!("--as: {value:?}"))?;
        headers.push((header::HeaderName::from_static(name), value));
    }
    Ok(headers)
}

fn refusal(status: StatusCode, body: &[u8], audit_id: &str) -> Refusal {
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
        _ => String::new(),
    };
    Refusal {
        code: status.as_u16(),
        message,
        hint,
    }
}

/// Percent-encodes a query parameter.
pub fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Percent-encodes a path segment.
pub fn encode_segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A stream of JSON lines.
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next line; `None` at the end of the stream.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line = self.buffer.split_to(end + 1);
                let value = serde_json::from_slice(&line).context("a line is not JSON")?;
                return Ok(Some(value));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the stream broke")?;
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_read_as_they_are_sent() {
        let mut headers = HeaderMap::new();
        for value in [
            "299 - \"plain\"",
            "299 - \"with \\\"quotes\\\" and \\\\\" \"Sun, 06 Nov 1994 08:49:37 GMT\"",
            "110 - \"Response is Stale\"",
            "299 - \"never ends",
            "299",
        ] {
            headers.append(header::WARNING, HeaderValue::from_static(value));
        }
        assert_eq!(warnings(&headers), ["plain", "with \"quotes\" and \\"]);
    }
}
