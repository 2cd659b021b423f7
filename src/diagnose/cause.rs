//! `Cause`: what became of a request and why, in a closed vocabulary of classes.

use serde::Serialize;

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// The event says so itself.
    Certain,
    /// The evidence points there.
    Likely,
    /// It cannot be told.
    Unknown,
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $runbook:literal;)*) => {
        /// Classes of causes. Each has a word and a page in `runbooks/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Class { $($(#[$doc])* $name,)* }

        /// All of them.
        pub const CLASSES: &[Class] = &[$(Class::$name,)*];

        impl Class {
            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $(Class::$name => $word,)* }
            }

            /// The page that says how to see it, fix it and tell that it is over, without `.md`;
            /// empty where there is nothing to do.
            pub fn runbook(self) -> &'static str {
                match self { $(Class::$name => $runbook,)* }
            }
        }
    };
}

classes! {
    /// It cannot be told.
    Unknown = "unknown", "unknown";
    /// Nothing went wrong.
    Success = "success", "";
    /// Nothing went wrong, but it took long.
    Slow = "slow", "timeout";
    /// The request itself is wrong.
    BadRequest = "bad-request", "invalid";
    /// Authentication refused the credentials.
    Unauthorized = "unauthorized", "unauthorized";
    /// No authorizer allowed it.
    Forbidden = "forbidden", "forbidden";
    /// The Node authorizer or NodeRestriction kept a node to its own.
    NodeRefused = "node-refused", "forbidden";
    /// The caller may not act as somebody else.
    ImpersonationRefused = "impersonation-refused", "forbidden";
    /// A role or binding would give more than its author has.
    EscalationRefused = "escalation-refused", "forbidden";
    /// An admission plugin refused it.
    AdmissionDenied = "admission-denied", "admission-denied";
    /// An admission policy refused it.
    PolicyDenied = "policy-denied", "admission-denied";
    /// An admission webhook refused it.
    WebhookDenied = "webhook-denied", "admission-denied";
    /// A quota is used up.
    QuotaExceeded = "quota-exceeded", "admission-denied";
    /// The namespace is missing or being deleted.
    NamespaceGone = "namespace-gone", "admission-denied";
    /// There is no such object.
    NotFound = "not-found", "not-found";
    /// Nothing is served at this path.
    UnknownResource = "unknown-resource", "not-found";
    /// The resource does not serve this method.
    MethodNotAllowed = "method-not-allowed", "not-found";
    /// No media type suits both sides.
    MediaType = "media-type", "media-type";
    /// An object of that name exists.
    AlreadyExists = "already-exists", "conflict";
    /// Somebody else wrote the object in between.
    Conflict = "conflict", "conflict";
    /// Another field manager owns the fields.
    ApplyConflict = "apply-conflict", "conflict";
    /// The object is not the one that the client meant.
    PreconditionFailed = "precondition-failed", "conflict";
    /// The asked version or continue token is too old.
    Gone = "gone", "gone";
    /// The body is too large.
    TooLarge = "too-large", "too-large";
    /// The object is invalid.
    Invalid = "invalid", "invalid";
    /// Too many requests at once.
    Throttled = "throttled", "throttled";
    /// A disruption budget allows no eviction now.
    DisruptionBudget = "disruption-budget", "throttled";
    /// The watch cache is being filled.
    Initializing = "initializing", "throttled";
    /// The store cannot be reached.
    StoreUnreachable = "store-unreachable", "etcd-unreachable";
    /// The store has no leader.
    StoreNoLeader = "store-no-leader", "etcd-no-leader";
    /// The store did not answer in time.
    StoreTimeout = "store-timeout", "etcd-timeout";
    /// The store refuses more requests.
    StoreOverloaded = "store-overloaded", "etcd-timeout";
    /// The store is full.
    StoreNoSpace = "store-no-space", "etcd-nospace";
    /// The object is larger than the store takes.
    StoreTooLarge = "store-too-large", "too-large";
    /// The store refused our credentials.
    StorePermissionDenied = "store-permission-denied", "etcd-permission-denied";
    /// What is stored cannot be read.
    StoreCorrupt = "store-corrupt", "etcd-corrupt";
    /// The store failed otherwise.
    StoreFailed = "store-failed", "etcd-unreachable";
    /// The client asked for a version that this server has not seen.
    FutureVersion = "future-version", "timeout";
    /// An admission webhook did not answer in time.
    WebhookTimeout = "webhook-timeout", "webhook-timeout";
    /// An admission webhook could not be asked.
    WebhookFailed = "webhook-failed", "webhook-timeout";
    /// The deadline passed elsewhere.
    Timeout = "timeout", "timeout";
    /// The client went away.
    ClientGone = "client-gone", "timeout";
    /// An authorizer failed.
    AuthorizerFailed = "authorizer-failed", "server-error";
    /// A handler panicked.
    Panic = "panic", "server-error";
    /// What a request is proxied to does not answer.
    BackendUnavailable = "backend-unavailable", "server-error";
    /// The server failed otherwise.
    Internal = "internal", "server-error";
}

impl Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What kind.
    pub class: Class,
    /// Which one of its kind: the refusal of a credential, the plugin, the webhook, the limit.
    pub detail: String,
    /// How sure.
    pub certainty: Certainty,
    /// Stage of the pipeline where it was decided; empty when unknown.
    pub stage: String,
    /// One or two sentences.
    pub text: String,
    /// What to do, sentences and commands.
    pub fix: Vec<String>,
}

impl Cause {
    /// The event says so itself.
    pub fn certain(class: Class, stage: &str, text: impl Into<String>) -> Self {
        Cause {
            class,
            detail: String::new(),
            certainty: Certainty::Certain,
            stage: stage.into(),
            text: text.into(),
            fix: Vec::new(),
        }
    }

    /// The evidence points there.
    pub fn likely(class: Class, stage: &str, text: impl Into<String>) -> Self {
        Cause {
            certainty: Certainty::Likely,
            ..Cause::certain(class, stage, text)
        }
    }

    /// It cannot be told.
    pub fn unknown(text: impl std::fmt::Display) -> Self {
        Cause {
            certainty: Certainty::Unknown,
            ..Cause::certain(Class::Unknown, "", format!("unknown: {text}"))
        }
    }

    /// Which one of its kind.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds something to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_page_and_a_word_of_its_own() {
        let mut words = std::collections::HashSet::new();
        for class in CLASSES {
            assert!(words.insert(class.as_str()), "{class:?}");
            if *class == Class::Success {
                continue;
            }
            let page = format!("runbooks/{}.md", class.runbook());
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&page);
            assert!(path.exists(), "{class:?} names {page}, which is not there");
        }
    }
}
