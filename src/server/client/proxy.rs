//! A connector that goes through an HTTP proxy where one is given (`proxy-url`): CONNECT, then the
//! bytes as they are.

use std::future::Future;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::Service;

/// Longest answer to CONNECT.
const ANSWER_MAX_BYTES: usize = 8 * 1024;

/// Connects to a URL's host, or to the proxy first.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Host and port of the proxy.
    pub(super) proxy: Option<(String, u16)>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxy = self.proxy.clone();
        Box::pin(async move {
            let (host, port) = address(&uri)?;
            let stream = match proxy {
                None => TcpStream::connect((host.as_str(), port)).await?,
                Some((proxy_host, proxy_port)) => {
                    let stream = TcpStream::connect((proxy_host.as_str(), proxy_port)).await?;
                    tunnel(stream, &host, port).await?
                }
            };
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// Host and port of a URL; IPv6 addresses lose their brackets.
pub(super) fn address(uri: &Uri) -> Result<(String, u16), Error> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        let text = format!("{uri} names no host");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let default = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    Ok((host.to_string(), uri.port_u16().unwrap_or(default)))
}

async fn tunnel(mut stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, Error> {
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_string(),
    };
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER_MAX_BYTES {
            return Err(Error::other("the proxy's answer does not end"));
        }
        answer.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(stream),
        _ => Err(Error::other(format!("the proxy answered {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn goes_through_a_proxy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = vec![0; 1024];
            let length = stream.read(&mut head).await.expect("a request");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")
                .await
                .expect("writes");
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let mut connector = Connector {
            proxy: Some(("127.0.0.1".into(), port)),
        };
        let uri = Uri::from_static("https://audit.test/path");
        let mut stream = connector.call(uri).await.expect("connects").into_inner();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        assert_eq!(text, "hello");
        let asked = proxy.await.expect("ends");
        assert!(
            asked.starts_with("CONNECT audit.test:443 HTTP/1.1\r\n"),
            "{asked}"
        );
    }
}
