//! `RequestContext`: everything known about one request, in one typed place.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::AsHeaderName;
use http::{HeaderMap, Method, Uri, Version};
use rustls_pki_types::CertificateDer;
use smallvec::SmallVec;

use crate::base::tree::Value;
use crate::request::{RequestInfo, StageTrace, UserInfo};

/// Audit level, ordered as in `audit.k8s.io/v1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    /// No event.
    #[default]
    None,
    /// Metadata only.
    Metadata,
    /// Metadata and request body.
    Request,
    /// Metadata, request and response bodies.
    RequestResponse,
}

impl AuditLevel {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditLevel::None => "None",
            AuditLevel::Metadata => "Metadata",
            AuditLevel::Request => "Request",
            AuditLevel::RequestResponse => "RequestResponse",
        }
    }
}

/// What one audit policy says about one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditDecision {
    /// How much to record.
    pub level: AuditLevel,
    /// Stages not to emit, as a set of `audit::Stage` bits.
    pub omit_stages: u8,
    /// Leave `metadata.managedFields` out of bodies.
    pub omit_managed_fields: bool,
    /// Index of the rule that matched.
    pub rule: Option<usize>,
    /// Name of that rule, if it has one.
    pub rule_name: Option<Arc<str>>,
    /// The percentage of matching requests that the rule keeps, where it does not keep all.
    pub sampled_percent: Option<f64>,
}

/// What the audit filter decided and what later stages add for the event.
#[derive(Clone, Debug, Default)]
pub struct AuditState {
    /// The highest level that any policy asks for: what to capture of the bodies.
    pub level: AuditLevel,
    /// What each policy in force says, in the recorder's order.
    pub decisions: SmallVec<[AuditDecision; 1]>,
    /// Which set of policies `decisions` belongs to; it changes with every hot reload.
    pub policy_generation: u64,
    /// Annotations; set once per key (a second, different value is dropped and logged).
    pub annotations: Vec<(Cow<'static, str>, String)>,
    /// JSON text of the request object, captured right after decode when the level asks for it.
    pub request_object: Option<Bytes>,
    /// JSON text of the response object, when the level asks for it.
    pub response_object: Option<Bytes>,
    /// The `Status` body that was answered, if the answer was one.
    pub response_status: Option<Value>,
    /// Object name from the body, where the URL has none.
    pub object_name: Option<String>,
    /// Object namespace from the body, where the URL has none.
    pub object_namespace: Option<String>,
    /// UID from the body.
    pub object_uid: Option<String>,
    /// resourceVersion from the body.
    pub object_resource_version: Option<String>,
    /// `dryRun=All` was asked.
    pub dry_run: bool,
    /// The write changed nothing and was not stored.
    pub no_op: bool,
    /// What is behind an error answer, see `Status::because`. For the record only.
    pub because: Option<Box<str>>,
    /// An ID of our own, where the client chose the audit ID: it can repeat that, but not this.
    pub request_id: Option<Box<str>>,
    /// Field manager of a write.
    pub field_manager: Option<String>,
    /// Code of an answer given before the audit filter that is audited all the same (a bad
    /// `timeout` parameter).
    pub refused_early: Option<u16>,
    /// The audit filter has seen the request and its last event is still to come.
    pub open: bool,
    /// `authenticationMetadata.impersonationConstraint`: the mode that allowed an impersonation.
    pub impersonation_constraint: Option<&'static str>,
}

impl AuditState {
    /// Adds an annotation; the first value of a key stays. Nothing is kept for an event that is known not
    /// to come.
    pub fn annotate(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        if self.level == AuditLevel::None && !self.decisions.is_empty() {
            return;
        }
        let (key, value) = (key.into(), value.into());
        match self.annotations.iter().find(|(k, _)| *k == key) {
            None => self.annotations.push((key, value)),
            Some((_, first)) if *first == value => {}
            Some((_, first)) => {
                tracing::warn!(%key, %first, second = %value, "audit annotation is set already")
            }
        }
    }
}

/// One request on its way. Owned by the connection task and lent down the filter chain, so no
/// field needs a lock.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Audit ID: the client's `Audit-ID` header or a new UUIDv4.
    pub audit_id: Arc<str>,
    /// When the request arrived.
    pub received_at: DateTime<Utc>,
    /// When a non-long-running request must be answered.
    pub deadline: Option<Instant>,
    /// HTTP method.
    pub method: Method,
    /// URI as received (path and query).
    pub uri: Uri,
    /// Headers as received; authentication removes credentials.
    pub headers: HeaderMap,
    /// Parsed path and verb.
    pub info: RequestInfo,
    /// HTTP version of the connection.
    pub http_version: Version,
    /// Client address.
    pub peer: Option<SocketAddr>,
    /// Verified client certificate chain, leaf first. Empty when none was presented.
    pub client_certificates: Arc<[CertificateDer<'static>]>,
    /// SHA-256 of the leaf, where the connection has computed it.
    pub certificate_digest: Option<[u8; 32]>,
    /// Who the request acts as; after impersonation the impersonated user. `None` before authentication.
    pub user: Option<Arc<UserInfo>>,
    /// Who authenticated, when `user` is impersonated.
    pub impersonator: Option<Arc<UserInfo>>,
    /// How the user was authenticated (`x509`, `token-file`, `service-account`, `anonymous`, …).
    pub authenticated_by: Option<&'static str>,
    /// The stages so far.
    pub stages: StageTrace,
    /// For the audit event.
    pub audit: AuditState,
    /// Warning header texts, in order, without duplicates.
    pub warnings: Vec<String>,
}

impl RequestContext {
    /// A context for a request that has just arrived.
    pub fn new(method: Method, uri: Uri, headers: HeaderMap, peer: Option<SocketAddr>) -> Self {
        RequestContext {
            audit_id: Arc::from(""),
            received_at: Utc::now(),
            deadline: None,
            info: RequestInfo::default(),
            method,
            uri,
            headers,
            http_version: Version::HTTP_11,
            peer,
            client_certificates: Arc::from([]),
            certificate_digest: None,
            user: None,
            impersonator: None,
            authenticated_by: None,
            stages: StageTrace::start(),
            audit: AuditState::default(),
            warnings: Vec::new(),
        }
    }

    /// Adds a `Warning` header text unless it is there already.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        // What does not fit into one header line cannot be sent.
        let fits = !text.contains(char::is_control);
        if fits && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// The user; anonymous before authentication has run.
    pub fn user(&self) -> Arc<UserInfo> {
        self.user
            .clone()
            .unwrap_or_else(|| Arc::new(UserInfo::anonymous()))
    }

    /// The raw query string, empty when there is none.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or("")
    }

    /// First value of a query parameter, decoded.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes())
            .find(|(k, _)| k == name)
            .map(|(_, v)| v)
    }

    /// A header as text, if it is there and is text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
