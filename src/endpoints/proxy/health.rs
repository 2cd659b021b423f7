//! Health of components beside this server, for ComponentStatus.

use std::time::Duration;

use axum::body::Body;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;

use super::dial::{Destination, Transports, Trust};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of an answer, no more is read.
const ANSWER_BYTES_MAX: usize = 10 * 1024;

/// Asks `https://127.0.0.1:port/healthz`. The texts are upstream's prober's.
pub(super) async fn healthz(transports: &Transports, port: u16) -> Result<String, String> {
    let url = format!("https://127.0.0.1:{port}/healthz");
    let asked = tokio::time::timeout(TIMEOUT, ask(transports, port)).await;
    let why = match asked {
        Ok(Ok((StatusCode::OK, text))) => return Ok(text),
        Ok(Ok((status, _))) => {
            let code = status.as_u16();
            return Err(format!("HTTP probe failed with statuscode: {code}"));
        }
        Ok(Err(why)) => why,
        Err(_) => {
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into()
        }
    };
    Err(format!("Get \"{url}\": {why}"))
}

async fn ask(transports: &Transports, port: u16) -> Result<(StatusCode, String), String> {
    let to = Destination {
        tls: true,
        host: "127.0.0.1".into(),
        port,
        trust: Trust::Anybody,
    };
    let request = Request::get("/healthz")
        .header(HOST, format!("127.0.0.1:{port}"))
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let answer = transports.send(&to, request).await;
    let answer = answer.map_err(|error| error.inner().to_string())?;
    let status = answer.status();
    let limited = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
    let body = limited.collect().await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok((status, text))
}
