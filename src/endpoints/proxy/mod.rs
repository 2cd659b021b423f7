//! Connections that lead out of the server: to kubelets, pods, endpoints of services.
//!
//! [`Proxy`] is what the connect handler (`handlers/connect.rs`) asks; its parts, in the order of a
//! request: [`options`] (what the query asks), [`location`] (where that is), [`dial`] (TCP and TLS),
//! then [`forward`] (plain HTTP), [`upgrade`] (anything that leaves HTTP), or [`log`]. For kubelets that
//! speak only SPDY, [`translate`] and [`tunnel`] stand between them and WebSocket clients.
//!
//! # Invariants
//! - Credentials of a client never reach a backend: authentication has removed them from the headers.
//! - A kubelet sees the server's own client certificate; nobody else does.
//! - What is proxied is never buffered, except HTML whose links are rewritten (bounded).
//!
//! # Decisions
//! - One connection per request: long streams are the rule here, and a pooled connection that died
//!   would need retries that a POST does not allow.
//! - HTTP/1.1 to backends: upgrades do not exist in HTTP/2.

pub mod dial;
mod forward;
mod health;
mod html;
pub mod location;
mod log;
pub mod options;
mod spdy;
mod translate;
mod tunnel;
mod upgrade;

use std::time::Duration;

use http::HeaderMap;
use http::header::{CONNECTION, TE, UPGRADE};

use crate::api::status::Status;
use crate::request::{ApiRequest, ApiResponse, RequestContext};
use crate::telemetry::Metrics;
use dial::Transports;
use location::Location;

pub use log::LogRequest;
pub use translate::Streams;

/// `--kubelet-*`.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// Port of nodes whose status names none.
    pub port: u16,
    /// Types of node addresses, best first.
    pub preferred_addresses: Vec<String>,
    /// Longest wait for a connection.
    pub timeout: Duration,
}

/// Reaches kubelets and endpoints.
pub struct Proxy {
    kubelets: KubeletOptions,
    transports: Transports,
}

impl Proxy {
    /// Reaches kubelets as `kubelets` says, over `transports`.
    pub fn new(kubelets: KubeletOptions, transports: Transports) -> Self {
        Proxy {
            kubelets,
            transports,
        }
    }

    /// How kubelets are found.
    pub fn kubelets(&self) -> &KubeletOptions {
        &self.kubelets
    }

    /// Passes a request on that must become something else than HTTP.
    pub async fn upgrade(
        &self,
        request: &mut ApiRequest,
        location: &Location,
    ) -> Result<ApiResponse, Status> {
        if !is_upgrade(&request.ctx.headers) {
            return Err(Status::bad_request("Upgrade request required"));
        }
        upgrade::upgrade(&self.transports, request, location).await
    }

    /// Passes on exec or attach, translating WebSocket channels for kubelets that know only SPDY.
    pub async fn stream(
        &self,
        request: &mut ApiRequest,
        location: &Location,
        streams: Streams,
    ) -> Result<ApiResponse, Status> {
        if !location.speaks_websocket && translate::is_translatable(&request.ctx) {
            return translate::translate(&self.transports, request, location, streams).await;
        }
        self.upgrade(request, location).await
    }

    /// Passes on a port forward, unwrapping WebSocket messages for kubelets that know only SPDY.
    pub async fn port_forward(
        &self,
        request: &mut ApiRequest,
        location: &Location,
    ) -> Result<ApiResponse, Status> {
        if !location.speaks_websocket && tunnel::is_tunnel(&request.ctx) {
            return tunnel::tunnel(&self.transports, request, location).await;
        }
        self.upgrade(request, location).await
    }

    /// Passes any request on.
    pub async fn forward(
        &self,
        request: &mut ApiRequest,
        location: &Location,
    ) -> Result<ApiResponse, Status> {
        if is_upgrade(&request.ctx.headers) {
            return upgrade::upgrade(&self.transports, request, location).await;
        }
        forward::forward(&self.transports, request, location).await
    }

    /// Asks a component on this machine for its health; an error says what is wrong.
    pub async fn healthz(&self, port: u16) -> Result<String, String> {
        health::healthz(&self.transports, port).await
    }

    /// Streams a container's log.
    pub async fn log(
        &self,
        ctx: &mut RequestContext,
        asked: &LogRequest<'_>,
        metrics: &Metrics,
    ) -> Result<ApiResponse, Status> {
        log::log(&self.transports, ctx, asked, metrics).await
    }
}

/// Whether the client wants to leave HTTP.
fn is_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, "connection").any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Comma separated values of a header.
fn tokens<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .filter(|v| !v.is_empty())
}

/// Removes what is for the next hop only (RFC 9110 §7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const HOP_BY_HOP: [&str; 6] = [
        "proxy-connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "trailer",
        "transfer-encoding",
    ];
    let named: Vec<String> = tokens(headers, "connection").map(str::to_string).collect();
    for name in named {
        headers.remove(name.as_str());
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    headers.remove(TE);
    headers.remove(UPGRADE);
}

/// Appends the client's address to `X-Forwarded-For`.
fn append_forwarded_for(headers: &mut HeaderMap, ctx: &RequestContext) {
    let Some(peer) = ctx.peer else { return };
    let before: Vec<&str> = tokens(headers, "x-forwarded-for").collect();
    let mut all = before.join(", ");
    if !all.is_empty() {
        all.push_str(", ");
    }
    all.push_str(&peer.ip().to_canonical().to_string());
    if let Ok(value) = all.parse() {
        headers.insert("x-forwarded-for", value);
    }
}

/// An error of the connection, in the words of the client library that upstream uses.
fn plain(message: impl Into<String>) -> Status {
    Status::failure(500, "", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn hop_by_hop_headers_go() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let left: Vec<&str> = headers.keys().map(|k| k.as_str()).collect();
        assert_eq!(left, ["accept"]);
    }

    #[test]
    fn addresses_are_appended() {
        let peer = "192.0.2.9:1".parse().ok();
        let mut ctx = RequestContext::new(
            http::Method::GET,
            http::Uri::from_static("/"),
            HeaderMap::new(),
            peer,
        );
        ctx.headers
            .insert("x-forwarded-for", HeaderValue::from_static("198.51.100.1"));
        let mut headers = ctx.headers.clone();
        append_forwarded_for(&mut headers, &ctx);
        assert_eq!(headers["x-forwarded-for"], "198.51.100.1, 192.0.2.9");
    }
}
