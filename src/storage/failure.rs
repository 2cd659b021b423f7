//! `Failure`: the classes of storage failures, a closed vocabulary.
//!
//! Each backend sorts its failures where it meets them; from there the class travels in the
//! [`Error`], in the stage trace and in the record, and `why` and the runbooks speak of the same
//! classes. Nobody reads message texts to find out what happened.

use crate::storage::Error;

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or the connection was lost.
    Unreachable,
    /// The cluster has no leader, or is just electing one.
    NoLeader,
    /// No answer in time: overloaded, stopped or a slow disk.
    Timeout,
    /// The store refuses more requests for now.
    Overloaded,
    /// Out of space (etcd: NOSPACE alarm).
    NoSpace,
    /// The value is larger than the store takes.
    TooLarge,
    /// The asked revision is compacted.
    Compacted,
    /// The asked revision is in the future.
    FutureRevision,
    /// The credentials were refused.
    PermissionDenied,
    /// Stored data is unreadable, or the store says that it is corrupt.
    Corrupt,
    /// The watch cache is still being filled.
    Initializing,
    /// A write lost against another one. Part of the protocol, no fault.
    Conflict,
    /// This server closed the store, or an earlier failure did.
    Closed,
    /// Anything else.
    Other,
}

/// All classes.
pub const FAILURES: [Failure; 14] = [
    Failure::Unreachable,
    Failure::NoLeader,
    Failure::Timeout,
    Failure::Overloaded,
    Failure::NoSpace,
    Failure::TooLarge,
    Failure::Compacted,
    Failure::FutureRevision,
    Failure::PermissionDenied,
    Failure::Corrupt,
    Failure::Initializing,
    Failure::Conflict,
    Failure::Closed,
    Failure::Other,
];

impl Failure {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Unreachable => "unreachable",
            Failure::NoLeader => "no-leader",
            Failure::Timeout => "timeout",
            Failure::Overloaded => "overloaded",
            Failure::NoSpace => "no-space",
            Failure::TooLarge => "too-large",
            Failure::Compacted => "compacted",
            Failure::FutureRevision => "future-revision",
            Failure::PermissionDenied => "permission-denied",
            Failure::Corrupt => "corrupt",
            Failure::Initializing => "initializing",
            Failure::Conflict => "conflict",
            Failure::Closed => "closed",
            Failure::Other => "other",
        }
    }

    /// The class of a reason text, `class` or `class: details`.
    pub fn of_reason(reason: &str) -> Option<Failure> {
        let word = reason.split(':').next().unwrap_or_default().trim();
        FAILURES.into_iter().find(|f| f.as_str() == word)
    }
}

impl Error {
    /// The class of this error.
    pub fn failure(&self) -> Failure {
        match self {
            Error::KeyExists { .. } | Error::Conflict { .. } => Failure::Conflict,
            Error::Compacted { .. } => Failure::Compacted,
            Error::FutureRevision { .. } => Failure::FutureRevision,
            Error::TooLarge => Failure::TooLarge,
            Error::NoSpace => Failure::NoSpace,
            Error::Unavailable { failure, .. } | Error::Uncertain(failure) => *failure,
            Error::PermissionDenied => Failure::PermissionDenied,
            Error::Corrupt { .. } => Failure::Corrupt,
            Error::Initializing { .. } => Failure::Initializing,
            Error::Other { .. } => Failure::Other,
        }
    }

    /// `class` or `class: details`, as stage reasons have it.
    pub fn because(&self) -> String {
        let class = self.failure().as_str();
        match self {
            Error::Unavailable { reason, .. }
            | Error::Corrupt { reason }
            | Error::Other { reason } => {
                format!("{class}: {reason}")
            }
            Error::Uncertain(_) => format!("{class}: the write may or may not have happened"),
            Error::FutureRevision { wanted, current } => {
                format!("{class}: {wanted} was asked for, the store is at {current}")
            }
            Error::Compacted { compact_revision } if *compact_revision > 0 => {
                format!("{class}: the oldest kept is {compact_revision}")
            }
            _ => class.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_reasons() {
        for failure in FAILURES {
            assert_eq!(Failure::of_reason(failure.as_str()), Some(failure));
            let error = Error::Unavailable {
                failure,
                reason: "tcp connect error: refused".into(),
            };
            assert_eq!(Failure::of_reason(&error.because()), Some(failure));
            assert_eq!(
                Failure::of_reason(&Error::Uncertain(failure).because()),
                Some(failure)
            );
        }
        assert_eq!(Failure::of_reason("something else"), None);
    }
}
