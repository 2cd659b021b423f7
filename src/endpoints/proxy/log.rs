//! Logs of containers: asked of the kubelet, streamed on as plain text.

use axum::body::Body as AxumBody;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::dial::{Transports, Trust};
use super::forward::stream;
use super::location::Location;
use super::plain;
use crate::api::status::{Details, Status};
use crate::request::{ApiResponse, Body, RequestContext};
use crate::telemetry::Metrics;

/// Of an error's text, no more is read.
const ERROR_BYTES_MAX: usize = 50_000;

/// One log to fetch.
pub struct LogRequest<'a> {
    /// The kubelet and its path.
    pub location: Location,
    /// Name of the pod.
    pub pod: &'a str,
    /// The client does not mind whose certificate the kubelet shows.
    pub skip_verification: bool,
}

/// Streams a log.
pub(super) async fn log(
    transports: &Transports,
    ctx: &mut RequestContext,
    asked: &LogRequest<'_>,
    metrics: &Metrics,
) -> Result<ApiResponse, Status> {
    let mut to = asked.location.to.clone();
    let usage = match asked.skip_verification {
        true => "skip_tls_allowed",
        false => "enforce_tls",
    };
    metrics
        .kube_apiserver_pod_logs_insecure_backend_total
        .with_label_values(&[usage])
        .inc();
    if asked.skip_verification {
        to.trust = Trust::KubeletUnverified;
    }
    let host = match to.host.contains(':') {
        true => format!("[{}]:{}", to.host, to.port),
        false => format!("{}:{}", to.host, to.port),
    };
    let target = &asked.location.target;
    let request = Request::get(target.as_str())
        .header(HOST, &host)
        .header(USER_AGENT, concat!("verbatim/", env!("CARGO_PKG_VERSION")))
        .body(AxumBody::empty())
        .map_err(|_| Status::bad_request("the log cannot be asked for"))?;
    let failed = |why: &str| plain(format!("Get \"https://{host}{target}\": {why}"));

    let began = ctx.stages.begin("proxy");
    let answer = transports.send(&to, request).await;
    let outcome = if answer.is_ok() { "ok" } else { "error" };
    ctx.stages.end("proxy", began, outcome, "");
    let answer = answer.map_err(|error| {
        if error.inner().is_certificate() {
            metrics
                .kube_apiserver_pod_logs_backend_tls_failure_total
                .inc();
        }
        failed(&error.inner().to_string())
    })?;
    let status = answer.status();
    if status.is_redirection() && answer.headers().contains_key(http::header::LOCATION) {
        return Err(failed("redirects forbidden"));
    }
    if !(StatusCode::OK..=StatusCode::PARTIAL_CONTENT).contains(&status) {
        return Err(refused(answer, asked.pod).await);
    }
    let mut response = ApiResponse {
        status: StatusCode::OK,
        body: Body::Stream(stream(answer.into_body())),
        ..ApiResponse::default()
    };
    response
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// A kubelet's refusal as an API error.
async fn refused(answer: Response<Incoming>, pod: &str) -> Status {
    let code = answer.status().as_u16();
    let limited = http_body_util::Limited::new(answer.into_body(), ERROR_BYTES_MAX);
    let text = match limited.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    match code {
        500 => Status::internal(&text),
        400 => Status::bad_request(text),
        _ => generic(code, &text, pod),
    }
}

/// What upstream's client makes of a bare HTTP status.
fn generic(code: u16, text: &str, pod: &str) -> Status {
    let given = text.to_string();
    let (reason, message) = match code {
        401 => (
            "Unauthorized",
            "the server has asked for the client to provide credentials".into(),
        ),
        403 => ("Forbidden", given),
        404 => (
            "NotFound",
            "the server could not find the requested resource".into(),
        ),
        405 => (
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".into(),
        ),
        406 => ("NotAcceptable", given),
        409 => ("Conflict", "the server reported a conflict".into()),
        415 => ("UnsupportedMediaType", given),
        422 => (
            "Invalid",
            "the server rejected our request due to an error in our request".into(),
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".into(),
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request".into(),
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        ),
        500.. => (
            "InternalError",
            format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        ),
        _ => (
            "",
            format!("the server responded with the status code {code} but did not return more details"),
        ),
    };
    let mut status = Status::failure(code, reason, format!("{message} ( pods/log {pod})"));
    status.details = Some(Box::new(Details {
        name: pod.to_string(),
        kind: "pods/log".into(),
        ..Details::default()
    }));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        assert_eq!(
            generic(404, "x", "p").message,
            "the server could not find the requested resource ( pods/log p)"
        );
        assert_eq!(generic(502, "x", "p").reason, "InternalError");
    }
}
