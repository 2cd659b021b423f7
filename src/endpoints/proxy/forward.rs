//! Plain HTTP to pods, services and nodes: headers, redirects and links are rewritten so that a
//! browser stays below the proxy's URL.

use axum::body::Body as AxumBody;
use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::dial::Transports;
use super::html::{self, Links};
use super::location::Location;
use super::{append_forwarded_for, plain, remove_hop_by_hop};
use crate::api::status::Status;
use crate::request::{ApiRequest, ApiResponse, Body, ByteStream, Slices};

/// Headers of a backend that would open it to other origins' pages.
const CORS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

/// Forwards one request and streams the answer back.
pub(super) async fn forward(
    transports: &Transports,
    request: &mut ApiRequest,
    location: &Location,
) -> Result<ApiResponse, Status> {
    let path = location.target.split('?').next().unwrap_or("");
    if path.is_empty() && matches!(request.ctx.method, Method::GET | Method::HEAD) {
        return Ok(to_root(request));
    }
    let links = Links {
        prefix: prefix(request.ctx.uri.path(), path).to_string(),
        backend: authority(location),
        client: request.ctx.header("host").unwrap_or("").to_string(),
    };
    let outgoing = outgoing(request, location, &links)?;
    let began = request.ctx.stages.begin("proxy");
    let answer = transports.send(&location.to, outgoing).await;
    let stages = &mut request.ctx.stages;
    match answer {
        Ok(answer) => {
            stages.end("proxy", began, "ok", "");
            incoming(answer, &links).await
        }
        Err(error) => {
            stages.end("proxy", began, "error", error.to_string());
            Err(Status::service_unavailable(format!(
                "error trying to reach service: {}",
                error.inner()
            )))
        }
    }
}

/// The root without a slash is not where relative links of its page would lead from.
fn to_root(request: &ApiRequest) -> ApiResponse {
    let uri = &request.ctx.uri;
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = ApiResponse {
        status: StatusCode::MOVED_PERMANENTLY,
        ..ApiResponse::default()
    };
    if let Ok(value) = format!("{}/{query}", uri.path()).parse() {
        response.headers.insert(LOCATION, value);
    }
    response
}

/// What comes before the backend's own path in the request's path.
fn prefix<'a>(request_path: &'a str, backend_path: &str) -> &'a str {
    request_path
        .strip_suffix(backend_path)
        .unwrap_or(request_path)
}

/// `host:port` as a URL of the backend has it.
fn authority(location: &Location) -> String {
    let (host, port) = (&location.to.host, location.to.port);
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn outgoing(
    request: &mut ApiRequest,
    location: &Location,
    links: &Links,
) -> Result<Request<AxumBody>, Status> {
    let body = std::mem::take(&mut request.body);
    let ctx = &request.ctx;
    let uri = location.target.parse::<http::Uri>();
    let uri = uri.map_err(|_| Status::bad_request("the path cannot be proxied"))?;
    let forwarded_uri = ctx.uri.path().parse::<HeaderValue>();
    let mut headers = ctx.headers.clone();
    remove_hop_by_hop(&mut headers);
    append_forwarded_for(&mut headers, ctx);
    if let Ok(value) = forwarded_uri {
        headers.insert("x-forwarded-uri", value);
    }
    if !headers.contains_key(HOST)
        && let Ok(value) = links.backend.parse()
    {
        headers.insert(HOST, value);
    }
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = ctx.method.clone();
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

async fn incoming(answer: Response<Incoming>, links: &Links) -> Result<ApiResponse, Status> {
    let (mut parts, body) = answer.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    for name in CORS {
        parts.headers.remove(name);
    }
    let mut response = ApiResponse {
        status: parts.status,
        headers: parts.headers,
        body: Body::Empty,
    };
    if let Some(location) = text(&response, LOCATION) {
        if let Ok(value) = links.rewrite(&location).parse() {
            response.headers.insert(LOCATION, value);
        }
        response.body = Body::Stream(stream(body));
        return Ok(response);
    }
    let content_type = text(&response, CONTENT_TYPE).unwrap_or_default();
    let is_html = content_type.split(';').next().map(str::trim) == Some("text/html");
    let encoding = text(&response, http::header::CONTENT_ENCODING).unwrap_or_default();
    if !is_html || !html::understands(&encoding) {
        response.body = Body::Stream(stream(body));
        return Ok(response);
    }
    let limited = http_body_util::Limited::new(body, html::PAGE_BYTES_MAX);
    let page = limited.collect().await.map_err(|error| {
        tracing::warn!(%error, "an HTML page of a backend could not be read");
        plain("the page of the backend could not be read")
    })?;
    let page = html::rewrite_page(&page.to_bytes(), &encoding, links).map_err(plain)?;
    response.headers.remove(CONTENT_LENGTH);
    response.body = Body::Segments(vec![page]);
    Ok(response)
}

fn text(response: &ApiResponse, name: http::HeaderName) -> Option<String> {
    let value = response.headers.get(name)?;
    value.to_str().ok().map(str::to_string)
}

/// A body as bytes that go on as they come.
pub(super) fn stream(body: Incoming) -> ByteStream {
    let data = body.into_data_stream();
    Box::pin(data.map(|part| part.map(Slices::from).map_err(std::io::Error::other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let path = "/api/v1/namespaces/n/pods/p/proxy/a/b";
        assert_eq!(prefix(path, "/a/b"), "/api/v1/namespaces/n/pods/p/proxy");
        assert_eq!(prefix("/x/proxy/", "/"), "/x/proxy");
    }
}
