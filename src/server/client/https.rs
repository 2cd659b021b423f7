//! A client that posts JSON to the server of a kubeconfig: audit events, access reviews.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;

use super::proxy::{Connector, address};
use super::{ClientError, Target, tls_config};
use crate::audit::sink::webhook::Poster;
use crate::authorization::webhook::{ReviewClient, ReviewError};

/// Longest wait for an answer, as upstream's webhooks (contract/audit.md §9).
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is read: what a person needs to see what is wrong.
const ANSWER_MAX_BYTES: usize = 4 * 1024;
/// How much of a review's answer is read.
const REVIEW_MAX_BYTES: usize = 1024 * 1024;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a token's file is read again.
const TOKEN_INTERVAL: Duration = Duration::from_secs(60);

/// The client.
pub struct HttpsClient {
    http: Client<HttpsConnector<Connector>, Full<Bytes>>,
    url: Uri,
    credentials: Option<Credentials>,
    timeout: Duration,
}

enum Credentials {
    Fixed(HeaderValue),
    File(Mutex<TokenFile>),
}

struct TokenFile {
    path: PathBuf,
    header: HeaderValue,
    read_at: Instant,
}

impl HttpsClient {
    /// Makes a client; connects when something is posted.
    pub fn new(target: &Target) -> Result<Arc<Self>, ClientError> {
        Self::with_timeout(target, TIMEOUT)
    }

    /// With another limit on how long an answer may take.
    pub fn with_timeout(target: &Target, timeout: Duration) -> Result<Arc<Self>, ClientError> {
        let url: Uri = target
            .server
            .parse()
            .map_err(|_| ClientError::Name(target.server.clone(), "a URL"))?;
        let connector = connector(target)?;
        Ok(Arc::new(HttpsClient {
            http: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .build(connector),
            url,
            credentials: credentials(target)?,
            timeout,
        }))
    }

    /// The server's URL.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    fn authorization(&self) -> Option<HeaderValue> {
        match self.credentials.as_ref()? {
            Credentials::Fixed(header) => Some(header.clone()),
            Credentials::File(file) => {
                let mut file = file.lock();
                if file.read_at.elapsed() > TOKEN_INTERVAL {
                    file.read_at = Instant::now();
                    // A file that cannot be read is on its way to be replaced; the old token stays.
                    if let Ok(token) = std::fs::read_to_string(&file.path)
                        && let Ok(header) = bearer(token.trim())
                    {
                        file.header = header;
                    }
                }
                Some(file.header.clone())
            }
        }
    }

    async fn try_post(&self, body: Bytes) -> Result<(), String> {
        let (status, text) = self.exchange(&self.url, body, ANSWER_MAX_BYTES).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(refused(status, &text)),
        }
    }

    /// Posts, and answers status and body; a longer body than `answer_max` is left out.
    async fn exchange(
        &self,
        url: &Uri,
        body: Bytes,
        answer_max: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("verbatim/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = self.authorization() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let answer = self.http.request(request).await.map_err(|e| chain(&e))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, answer_max).collect().await;
        let body = body.map(|b| b.to_bytes()).unwrap_or_default();
        Ok((head.status, body))
    }
}

fn refused(status: StatusCode, text: &[u8]) -> String {
    format!("{status} {}", String::from_utf8_lossy(text).trim())
}

#[async_trait]
impl Poster for HttpsClient {
    async fn post(&self, body: Bytes) -> Result<(), String> {
        match tokio::time::timeout(self.timeout, self.try_post(body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }
}

#[async_trait]
impl ReviewClient for HttpsClient {
    async fn review(&self, body: Bytes, within: Duration) -> Result<Bytes, ReviewError> {
        let failed = |text: String, is_timeout, is_transient| ReviewError {
            text: format!("Post \"{}\": {text}", self.url),
            is_timeout,
            is_transient,
        };
        // As client-go tells the server how long it waits.
        let separator = if self.url.query().is_some() { '&' } else { '?' };
        let url = format!("{}{separator}timeout={}s", self.url, within.as_secs());
        let url: Uri = url
            .parse()
            .map_err(|_| failed("it is no URL".into(), false, false))?;
        let exchange = self.exchange(&url, body, REVIEW_MAX_BYTES);
        match tokio::time::timeout(within, exchange).await {
            Err(_) => Err(failed("context deadline exceeded".into(), true, false)),
            Ok(Err(text)) => {
                let is_reset = text.contains("connection reset");
                Err(failed(text, false, is_reset))
            }
            Ok(Ok((status, body))) if status.is_success() => Ok(body),
            Ok(Ok((status, body))) => {
                // What upstream's client tries again.
                let is_transient = matches!(
                    status,
                    StatusCode::INTERNAL_SERVER_ERROR
                        | StatusCode::TOO_MANY_REQUESTS
                        | StatusCode::GATEWAY_TIMEOUT
                );
                let text = &body[..body.len().min(ANSWER_MAX_BYTES)];
                let is_timeout = status == StatusCode::GATEWAY_TIMEOUT;
                Err(failed(refused(status, text), is_timeout, is_transient))
            }
        }
    }
}

fn credentials(target: &Target) -> Result<Option<Credentials>, ClientError> {
    let invalid = |_| ClientError::Name("the token".into(), "a header");
    if let Some(token) = &target.token {
        let mut header = bearer(token).map_err(invalid)?;
        header.set_sensitive(true);
        return Ok(Some(match &target.token_file {
            None => Credentials::Fixed(header),
            Some(path) => Credentials::File(Mutex::new(TokenFile {
                path: path.clone(),
                header,
                read_at: Instant::now(),
            })),
        }));
    }
    let Some((name, password)) = &target.basic else {
        return Ok(None);
    };
    let text = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let header = HeaderValue::try_from(text).map_err(invalid)?;
    Ok(Some(Credentials::Fixed(header)))
}

fn bearer(token: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    HeaderValue::try_from(format!("Bearer {token}"))
}

/// What connects to a target: its TLS settings, through its proxy if it has one.
pub fn connector(target: &Target) -> Result<HttpsConnector<Connector>, ClientError> {
    let proxy = target.proxy.as_deref().map(proxy_address).transpose()?;
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(target)?)
        .https_or_http();
    Ok(match &target.tls_server_name {
        Some(name) => {
            let parsed = ServerName::try_from(name.clone());
            let parsed =
                parsed.map_err(|_| ClientError::Name(name.clone(), "a TLS server name"))?;
            builder
                .with_server_name_resolver(FixedServerNameResolver::new(parsed))
                .enable_http1()
                .wrap_connector(Connector { proxy })
        }
        None => builder.enable_http1().wrap_connector(Connector { proxy }),
    })
}

fn proxy_address(text: &str) -> Result<(String, u16), ClientError> {
    let invalid = || ClientError::Name(text.to_string(), "an HTTP proxy (http://HOST:PORT)");
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    match uri.scheme_str() {
        Some("http") => address(&uri).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

/// An error with its causes.
fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
