//! What can go wrong with a call, in classes, and the texts for it.

use std::error::Error;
use std::io;

use http::StatusCode;
use rustls::{AlertDescription, CertificateError};

use crate::api::field::go_quote;

/// Why a webhook could not be asked. The class is the start of the reason of its stage; the texts are
/// what Go's client says, which operators know and search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// No answer in time.
    Timeout,
    /// Nobody listens there.
    ConnectionRefused,
    /// The connection broke, or there is no way there.
    Connection,
    /// There is no such service or host.
    Resolve,
    /// No trust, or no TLS.
    Tls,
    /// An answer with an error code.
    HttpStatus,
    /// An answer that is no valid review.
    BadAnswer,
    /// The webhook is configured so that it cannot be called.
    Configuration,
}

impl Class {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Class::Timeout => "timeout",
            Class::ConnectionRefused => "connection-refused",
            Class::Connection => "connection",
            Class::Resolve => "resolve",
            Class::Tls => "tls",
            Class::HttpStatus => "http-status",
            Class::BadAnswer => "bad-answer",
            Class::Configuration => "configuration",
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: Class,
    /// As the client sees it, behind `failed calling webhook "x": `.
    pub(super) text: String,
    /// Code for the metrics.
    pub(super) code: u16,
}

impl Failure {
    /// A failure that upstream counts as 503.
    pub(super) fn new(class: Class, text: impl Into<String>) -> Self {
        Failure {
            class,
            text: text.into(),
            code: 503,
        }
    }

    /// `Post "URL": …`, from what the transport said.
    pub(super) fn of_transport(url: &str, error: &(dyn Error + 'static)) -> Self {
        let (class, text) = describe(error);
        Failure::new(
            class,
            format!("failed to call webhook: Post {}: {text}", go_quote(url)),
        )
    }

    /// No answer in time.
    pub(super) fn timeout(url: &str) -> Self {
        Failure::new(
            Class::Timeout,
            format!(
                "failed to call webhook: Post {}: context deadline exceeded",
                go_quote(url)
            ),
        )
    }

    /// An answer with another code than success.
    pub(super) fn of_status(code: StatusCode, body: &str) -> Self {
        Failure {
            class: Class::HttpStatus,
            text: format!("failed to call webhook: {}", generic_text(code, body)),
            code: code.as_u16(),
        }
    }
}

/// A connection could not be made: Go's text for it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct DialError {
    pub(super) class: Class,
    pub(super) text: String,
}

impl DialError {
    /// From the error of connecting to `address`.
    pub(super) fn connect(address: &str, error: &io::Error) -> Self {
        let (class, what) = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                (Class::ConnectionRefused, "connect: connection refused")
            }
            io::ErrorKind::ConnectionReset => {
                (Class::Connection, "connect: connection reset by peer")
            }
            io::ErrorKind::NetworkUnreachable => {
                (Class::Connection, "connect: network is unreachable")
            }
            io::ErrorKind::HostUnreachable => (Class::Connection, "connect: no route to host"),
            io::ErrorKind::TimedOut => (Class::Timeout, "connect: connection timed out"),
            _ => {
                let text = format!("dial tcp {address}: {error}");
                return DialError {
                    class: Class::Connection,
                    text,
                };
            }
        };
        DialError {
            class,
            text: format!("dial tcp {address}: {what}"),
        }
    }
}

/// Walks the causes to the one that says most.
fn describe(error: &(dyn Error + 'static)) -> (Class, String) {
    let mut cause = Some(error);
    let mut last = error.to_string();
    while let Some(current) = cause {
        if let Some(dial) = current.downcast_ref::<DialError>() {
            return (dial.class, dial.text.clone());
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return (Class::Tls, tls_text(tls));
        }
        if let Some(hyper) = current.downcast_ref::<hyper::Error>()
            && hyper.is_incomplete_message()
        {
            return (Class::Connection, "EOF".into());
        }
        if let Some(io) = current.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::UnexpectedEof => return (Class::Connection, "EOF".into()),
                io::ErrorKind::ConnectionReset => {
                    return (Class::Connection, "read: connection reset by peer".into());
                }
                _ => {}
            }
            // An io::Error hides what it wraps from `source`.
            if let Some(inner) = io.get_ref() {
                let inner: &(dyn Error + 'static) = inner;
                return describe(inner);
            }
        }
        last = current.to_string();
        cause = current.source();
    }
    (Class::Connection, last)
}

fn tls_text(error: &rustls::Error) -> String {
    const PREFIX: &str = "tls: failed to verify certificate: x509:";
    match error {
        rustls::Error::InvalidCertificate(problem) => {
            format!("{PREFIX} {}", certificate_text(problem))
        }
        rustls::Error::InvalidMessage(_) => {
            "http: server gave HTTP response to HTTPS client".into()
        }
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        other => format!("tls: {other}"),
    }
}

fn certificate_text(problem: &CertificateError) -> String {
    let time = |t: &rustls_pki_types::UnixTime| {
        let seconds = i64::try_from(t.as_secs()).unwrap_or(i64::MAX);
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        crate::api::time::format_seconds(time)
    };
    match problem {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".into(),
        CertificateError::Expired | CertificateError::NotValidYet => {
            "certificate has expired or is not yet valid".into()
        }
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is after {}",
            time(now),
            time(not_after)
        ),
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is before {}",
            time(now),
            time(not_before)
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => name_text(&expected.to_str(), presented),
        CertificateError::BadSignature => {
            "certificate signed by unknown authority (possibly because of \"x509: invalid signature: parent certificate cannot sign this kind of certificate\" while trying to verify candidate authority certificate)".into()
        }
        other => format!("{other}"),
    }
}

/// The certificate is for other names.
fn name_text(expected: &str, presented: &[String]) -> String {
    // rustls prints `DnsName("a")` and `IpAddress(…)`.
    let names = |start: &str| -> Vec<String> {
        let inside = presented.iter().filter_map(|name| {
            let inner = name
                .strip_prefix(start)?
                .strip_prefix('(')?
                .strip_suffix(')')?;
            Some(inner.trim_matches('"').to_string())
        });
        inside.collect()
    };
    if expected.parse::<std::net::IpAddr>().is_ok() {
        let addresses = names("IpAddress");
        if addresses.is_empty() {
            return format!(
                "cannot validate certificate for {expected} because it doesn't contain any IP SANs"
            );
        }
        return format!(
            "certificate is valid for {}, not {expected}",
            addresses.join(", ")
        );
    }
    let hosts = names("DnsName");
    if hosts.is_empty() {
        return format!("certificate is not valid for any names, but wanted to match {expected}");
    }
    format!(
        "certificate is valid for {}, not {expected}",
        hosts.join(", ")
    )
}

fn alert_text(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::UnrecognisedName => "unrecognized name",
        AlertDescription::InternalError => "internal error",
        _ => "alert",
    }
}

/// What apimachinery makes of an error code (`NewGenericServerResponse`).
fn generic_text(code: StatusCode, body: &str) -> String {
    let said = match body.trim() {
        "" => "unknown",
        text => text,
    };
    match code.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 | 415 => said.into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        406 if said == "unknown" => {
            "the server was unable to respond with a content type that the client supports".into()
        }
        406 => said.into(),
        409 => "the server reported a conflict".into(),
        422 => "the server rejected our request due to an error in our request".into(),
        429 => "the server has received too many requests and has asked us to try again later".into(),
        503 => "the server is currently unable to handle the request".into(),
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request".into(),
        code if code >= 500 => format!(
            "an error on the server ({}) has prevented the request from succeeding",
            go_quote(said)
        ),
        code => format!(
            "the server responded with the status code {code} but did not return more information"
        ),
    }
}
