//! `Refused`: why credentials were not accepted, in a closed vocabulary.
//!
//! Made by the authenticators, read by the record. A client gets a bare 401.

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was sent that this server understands, and anonymous requests are off.
    NoCredentials,
    /// A bearer token that nobody knows.
    UnknownToken,
    /// A token that is not one.
    Malformed,
    /// A token of an issuer that this server does not trust.
    UnknownIssuer,
    /// A token signed with a key that this server does not have.
    UnknownKey,
    /// The signature does not fit.
    BadSignature,
    /// The token has run out.
    Expired,
    /// The token's time has not come.
    NotYetValid,
    /// The token is for somebody else.
    WrongAudience,
    /// The token's account, secret, pod or node is gone, or it was revoked otherwise.
    Revoked,
    /// The client certificate has run out.
    CertificateExpired,
    /// The client certificate's time has not come.
    CertificateNotYetValid,
    /// The client certificate was made by an authority that this server does not trust.
    CertificateUnknownAuthority,
    /// The client certificate is not for clients.
    CertificateWrongPurpose,
    /// The client certificate was revoked.
    CertificateRevoked,
    /// The client certificate is unusable otherwise.
    CertificateInvalid,
    /// A proxy that may not speak for users.
    FrontProxy,
    /// An authenticator outside (webhook, issuer) refused or failed.
    Remote,
    /// What the credential is bound to could not be looked up.
    LookupFailed,
    /// Anything else.
    Other,
}

/// All of them.
pub const REFUSALS: [Refusal; 20] = [
    Refusal::NoCredentials,
    Refusal::UnknownToken,
    Refusal::Malformed,
    Refusal::UnknownIssuer,
    Refusal::UnknownKey,
    Refusal::BadSignature,
    Refusal::Expired,
    Refusal::NotYetValid,
    Refusal::WrongAudience,
    Refusal::Revoked,
    Refusal::CertificateExpired,
    Refusal::CertificateNotYetValid,
    Refusal::CertificateUnknownAuthority,
    Refusal::CertificateWrongPurpose,
    Refusal::CertificateRevoked,
    Refusal::CertificateInvalid,
    Refusal::FrontProxy,
    Refusal::Remote,
    Refusal::LookupFailed,
    Refusal::Other,
];

impl Refusal {
    /// The word in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::NoCredentials => "no-credentials",
            Refusal::UnknownToken => "unknown-token",
            Refusal::Malformed => "malformed",
            Refusal::UnknownIssuer => "unknown-issuer",
            Refusal::UnknownKey => "unknown-key",
            Refusal::BadSignature => "bad-signature",
            Refusal::Expired => "expired",
            Refusal::NotYetValid => "not-yet-valid",
            Refusal::WrongAudience => "wrong-audience",
            Refusal::Revoked => "revoked",
            Refusal::CertificateExpired => "certificate-expired",
            Refusal::CertificateNotYetValid => "certificate-not-yet-valid",
            Refusal::CertificateUnknownAuthority => "certificate-unknown-authority",
            Refusal::CertificateWrongPurpose => "certificate-wrong-purpose",
            Refusal::CertificateRevoked => "certificate-revoked",
            Refusal::CertificateInvalid => "certificate-invalid",
            Refusal::FrontProxy => "front-proxy",
            Refusal::Remote => "remote",
            Refusal::LookupFailed => "lookup-failed",
            Refusal::Other => "other",
        }
    }

    /// The class of a reason text, `class` or `class: details`.
    pub fn of_reason(reason: &str) -> Option<Refusal> {
        let word = reason.split(':').next().unwrap_or_default().trim();
        REFUSALS.into_iter().find(|r| r.as_str() == word)
    }

    /// How much it says about what went wrong. An unknown front proxy says the least: every client
    /// certificate looks like one.
    fn weight(self) -> u8 {
        match self {
            Refusal::FrontProxy | Refusal::Other => 0,
            Refusal::NoCredentials | Refusal::UnknownToken => 1,
            _ => 2,
        }
    }
}

/// Why credentials were refused. For the record only; clients get a bare 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// The class.
    pub class: Refusal,
    /// For example `token is expired`, `unknown signing key`. Also what a TokenReview says, unless
    /// `is_silent`.
    pub reason: String,
    /// Upstream says nothing of it in a TokenReview.
    pub is_silent: bool,
    /// An audit annotation to set.
    pub annotation: Option<(&'static str, String)>,
}

impl Refused {
    /// For `reason`, without a class.
    pub fn new(reason: impl Into<String>) -> Self {
        Refused::of(Refusal::Other, reason)
    }

    /// For `reason`.
    pub fn of(class: Refusal, reason: impl Into<String>) -> Self {
        Refused {
            class,
            reason: reason.into(),
            is_silent: false,
            annotation: None,
        }
    }

    /// With an audit annotation.
    #[must_use]
    pub fn annotated(mut self, key: &'static str, value: String) -> Self {
        self.annotation = Some((key, value));
        self
    }

    /// For a reason that stays in the record: upstream takes such a token for nobody's.
    pub fn silently(class: Refusal, reason: impl Into<String>) -> Self {
        Refused {
            is_silent: true,
            ..Refused::of(class, reason)
        }
    }

    /// One refusal out of several, as upstream aggregates errors. Its class is that of the one that
    /// says most.
    pub fn all(refusals: Vec<Refused>) -> Self {
        let told: Vec<&Refused> = refusals.iter().filter(|r| !r.is_silent).collect();
        let is_silent = told.is_empty();
        let mut reasons: Vec<&str> = match is_silent {
            true => refusals.iter().map(|r| r.reason.as_str()).collect(),
            false => told.iter().map(|r| r.reason.as_str()).collect(),
        };
        reasons.dedup();
        let reason = match reasons.as_slice() {
            [one] => one.to_string(),
            many => format!("[{}]", many.join(", ")),
        };
        // The first of those that say most.
        let says_most = refusals.iter().rev().max_by_key(|r| r.class.weight());
        Refused {
            class: says_most.map_or(Refusal::Other, |r| r.class),
            reason,
            is_silent,
            annotation: refusals.iter().find_map(|r| r.annotation.clone()),
        }
    }

    /// `class: reason`, as the record has it.
    pub fn because(&self) -> String {
        format!("{}: {}", self.class.as_str(), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_refusals_are_one() {
        let proxy = || Refused::of(Refusal::FrontProxy, "p");
        let expired = || Refused::of(Refusal::CertificateExpired, "e");
        let silent = || Refused::silently(Refusal::UnknownIssuer, "i");
        for (refusals, class, reason, is_silent) in [
            (
                vec![proxy(), expired()],
                Refusal::CertificateExpired,
                "[p, e]",
                false,
            ),
            (
                vec![expired(), silent()],
                Refusal::CertificateExpired,
                "e",
                false,
            ),
            (vec![silent()], Refusal::UnknownIssuer, "i", true),
        ] {
            let all = Refused::all(refusals);
            assert_eq!(
                (all.class, all.reason.as_str(), all.is_silent),
                (class, reason, is_silent)
            );
            assert_eq!(Refusal::of_reason(&all.because()), Some(class));
        }
    }
}
