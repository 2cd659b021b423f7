//! `ApiRequest` and `ApiResponse`: what filters and handlers pass to each other.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::request::RequestContext;

/// A request on its way down the chain: the context and the unread body.
pub struct ApiRequest {
    /// Everything known about the request.
    pub ctx: RequestContext,
    /// The body, not yet read.
    pub body: axum::body::Body,
    /// hyper's upgrade handle, for exec, attach, port-forward and WebSocket watches.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
}

/// What stands behind the last filter.
#[async_trait]
pub trait Endpoint: Send + Sync {
    /// Answers a request that passed all filters.
    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse;
}

/// Bytes as they become ready; an error cuts the connection off.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// What runs on a connection once it has left HTTP; it ends when either side does, or when dropped.
pub type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer.
#[derive(Default)]
pub enum Body {
    /// No body.
    #[default]
    Empty,
    /// The whole body. Segments are sent as they are, without being joined.
    Segments(Vec<Bytes>),
    /// A body that is produced over time (watch, log, proxy).
    Stream(ByteStream),
    /// No body but another protocol, behind `101 Switching Protocols`.
    Switching(Tunnel),
}

/// An answer on its way up the chain.
#[derive(Default)]
pub struct ApiResponse {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Body,
}

impl ApiResponse {
    /// A whole body of one media type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        ApiResponse {
            status,
            headers,
            body: Body::Segments(vec![body.into()]),
        }
    }

    /// Plain text, with `X-Content-Type-Options: nosniff` as Go's `http.Error` sets it.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut response = Self::new(status, "text/plain; charset=utf-8", body);
        response.headers.insert(
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        );
        response
    }
}
