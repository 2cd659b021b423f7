//! Sorting etcd's failures into what a caller can act on.
//!
//! etcd tells its errors by gRPC code and text; the texts are stable since 3.0 and are what
//! kube-apiserver matches, too. What was lost on the way counts as uncertain for a write, unless
//! the connection was never made.

use std::error::Error as _;

use crate::storage::{Error, Failure};

/// What kind of call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Nothing is changed by it, or nothing that matters.
    Read,
    /// A write: what happened to it must not be guessed.
    Write,
}

impl Call {
    /// The error of a call that was not answered.
    pub(super) fn timed_out(self) -> Error {
        match self {
            Self::Write => Error::Uncertain(Failure::Timeout),
            Self::Read => unavailable(Failure::Timeout, "etcd did not answer in time"),
        }
    }

    /// The error of a call of which nobody knows what became of it.
    fn lost(self, failure: Failure, reason: &str) -> Error {
        match self {
            Self::Write => Error::Uncertain(failure),
            Self::Read => unavailable(failure, reason),
        }
    }
}

/// gRPC codes (tonic is no dependency of ours, so its type has no name here).
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const DATA_LOSS: i32 = 15;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

const LEASE_GONE: &str = "requested lease not found";

/// Sorts a failure.
pub(super) fn classify(error: &etcd_client::Error, call: Call) -> Error {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let mut text = status.message().to_owned();
            append_sources(&mut text, status.source());
            classify_status(status.code() as i32, &text, call)
        }
        etcd_client::Error::TransportError(error) => {
            let mut text = error.to_string();
            append_sources(&mut text, error.source());
            lost(&text, call)
        }
        etcd_client::Error::IoError(error) => lost(&error.to_string(), call),
        other => Error::Other {
            reason: other.to_string(),
        },
    }
}

/// Sorts by gRPC code and text.
pub(super) fn classify_status(code: i32, text: &str, call: Call) -> Error {
    by_text(text, call).unwrap_or_else(|| match code {
        code::PERMISSION_DENIED | code::UNAUTHENTICATED => Error::PermissionDenied,
        code::DEADLINE_EXCEEDED | code::CANCELLED => call.timed_out(),
        code::DATA_LOSS => Error::Corrupt {
            reason: text.to_owned(),
        },
        // etcd's own errors have been told apart above: the rest are transport failures, which
        // tonic gives any of these codes.
        code::UNAVAILABLE | code::UNKNOWN | code::INTERNAL => lost(text, call),
        _ => Error::Other {
            reason: text.to_owned(),
        },
    })
}

fn by_text(text: &str, call: Call) -> Option<Error> {
    let says = |part: &str| text.contains(part);
    Some(if says("required revision has been compacted") {
        // etcd does not say which; zero means unknown.
        Error::Compacted {
            compact_revision: 0,
        }
    } else if says("required revision is a future revision") {
        Error::FutureRevision {
            wanted: 0,
            current: 0,
        }
    } else if says("database space exceeded") {
        Error::NoSpace
    } else if says("request is too large") || says("message larger than max") {
        Error::TooLarge
    } else if says("no leader") {
        // Refused before it was proposed.
        unavailable(Failure::NoLeader, text)
    } else if says("too many requests") {
        unavailable(Failure::Overloaded, text)
    } else if says("not capable") || says("corrupt cluster") {
        Error::Corrupt {
            reason: text.to_owned(),
        }
    } else if says("permission denied")
        || says("authentication failed")
        || says("invalid auth token")
        || says("user name is empty")
    {
        Error::PermissionDenied
    } else if says("leader changed") || says("leader failure") || says("due to connection lost") {
        call.lost(Failure::NoLeader, text)
    } else if says("request timed out") {
        call.timed_out()
    } else if says("server stopped") || says("raft: stopped") {
        call.lost(Failure::Unreachable, text)
    } else if says(LEASE_GONE) {
        Error::Other {
            reason: LEASE_GONE.to_owned(),
        }
    } else {
        return None;
    })
}

/// The connection failed: before anything was sent, or who knows when.
fn lost(text: &str, call: Call) -> Error {
    let never_sent = ["tcp connect error", "onnection refused", "dns error"];
    let never_sent = never_sent.iter().any(|part| text.contains(part));
    match never_sent {
        true => unavailable(Failure::Unreachable, text),
        false => call.lost(Failure::Unreachable, text),
    }
}

/// Whether a put failed because its lease was gone.
pub(super) fn is_lease_gone(error: &Error) -> bool {
    matches!(error, Error::Other { reason } if reason == LEASE_GONE)
}

fn unavailable(failure: Failure, reason: &str) -> Error {
    Error::Unavailable {
        failure,
        reason: reason.to_owned(),
    }
}

fn append_sources(text: &mut String, mut source: Option<&(dyn std::error::Error + 'static)>) {
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class of an error, short.
    fn class(error: &Error) -> String {
        match error {
            Error::Unavailable { failure, .. } => format!("unavailable: {}", failure.as_str()),
            Error::Uncertain(failure) => format!("uncertain: {}", failure.as_str()),
            Error::Compacted { .. } => "compacted".to_owned(),
            Error::FutureRevision { .. } => "future".to_owned(),
            Error::Corrupt { .. } => "corrupt".to_owned(),
            Error::Other { .. } => "other".to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn failures_are_sorted() {
        for (code, text, read, write) in [
            (
                11,
                "etcdserver: mvcc: required revision has been compacted",
                "compacted",
                "compacted",
            ),
            (
                11,
                "etcdserver: mvcc: required revision is a future revision",
                "future",
                "future",
            ),
            (
                8,
                "etcdserver: mvcc: database space exceeded",
                "NoSpace",
                "NoSpace",
            ),
            (
                3,
                "etcdserver: request is too large",
                "TooLarge",
                "TooLarge",
            ),
            (
                8,
                "grpc: received message larger than max (3 vs. 2)",
                "TooLarge",
                "TooLarge",
            ),
            (
                14,
                "etcdserver: no leader",
                "unavailable: no-leader",
                "unavailable: no-leader",
            ),
            (
                14,
                "etcdserver: leader changed",
                "unavailable: no-leader",
                "uncertain: no-leader",
            ),
            (
                14,
                "etcdserver: request timed out, possibly due to previous leader failure",
                "unavailable: no-leader",
                "uncertain: no-leader",
            ),
            (
                14,
                "etcdserver: request timed out",
                "unavailable: timeout",
                "uncertain: timeout",
            ),
            (
                14,
                "etcdserver: server stopped",
                "unavailable: unreachable",
                "uncertain: unreachable",
            ),
            (
                14,
                "tcp connect error: Connection refused (os error 111)",
                "unavailable: unreachable",
                "unavailable: unreachable",
            ),
            (
                14,
                "error reading a body from connection",
                "unavailable: unreachable",
                "uncertain: unreachable",
            ),
            (
                2,
                "transport error: broken pipe",
                "unavailable: unreachable",
                "uncertain: unreachable",
            ),
            (
                4,
                "context deadline exceeded",
                "unavailable: timeout",
                "uncertain: timeout",
            ),
            (
                7,
                "etcdserver: permission denied",
                "PermissionDenied",
                "PermissionDenied",
            ),
            (
                16,
                "etcdserver: invalid auth token",
                "PermissionDenied",
                "PermissionDenied",
            ),
            (15, "etcdserver: corrupt cluster", "corrupt", "corrupt"),
            (5, "etcdserver: requested lease not found", "other", "other"),
        ] {
            let got = class(&classify_status(code, text, Call::Read));
            assert_eq!(got, read, "read: {text}");
            let got = class(&classify_status(code, text, Call::Write));
            assert_eq!(got, write, "write: {text}");
        }
    }
}
