//! Plugins about certificates: who may approve, sign and attest, and for whom.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::admission::plugins::{forbidden, is_of, is_subresource_of, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::status::Status;
use crate::authorization::{Authorizer, Verdict};
use crate::base::tree::Value;
use crate::request::{Attributes, UserInfo};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// Whether `user` may do `verb` for a signer, by its name or by its domain.
async fn may(authorizer: &dyn Authorizer, user: &UserInfo, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or("");
    let wildcard = format!("{domain}/*");
    for name in [signer, wildcard.as_str()] {
        let attributes = Attributes::resource(user, verb, GROUP, "signers", "", name);
        if authorizer.authorize(&attributes).await.verdict == Verdict::Allow {
            return true;
        }
    }
    false
}

async fn require(
    authorizer: &dyn Authorizer,
    admission: &Admission<'_>,
    verb: &str,
    signer: &str,
    why: String,
) -> Result<(), Status> {
    match may(authorizer, admission.user, verb, signer).await {
        true => Ok(()),
        false => Err(forbidden(admission, &why)),
    }
}

/// Only those who may approve for the signer change `/approval`.
pub(super) struct CertificateApproval(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for CertificateApproval {
    fn stage(&self) -> &'static str {
        "admission/CertificateApproval"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_subresource_of(admission, GROUP, REQUESTS, "approval") {
            return Ok(());
        }
        let old = admission.old_object.unwrap_or(&Value::Null);
        let signer = text(old, "/spec/signerName");
        let why = format!("user not permitted to approve requests with signerName \"{signer}\"");
        require(&*self.0, admission, "approve", signer, why).await
    }
}

/// Only those who may sign for the signer change certificate or conditions.
pub(super) struct CertificateSigning(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for CertificateSigning {
    fn stage(&self) -> &'static str {
        "admission/CertificateSigning"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Update
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_subresource_of(admission, GROUP, REQUESTS, "status") {
            return Ok(());
        }
        let old = admission.old_object.unwrap_or(&Value::Null);
        let part = |object: &Value, key: &str| object["status"][key].clone();
        let unchanged = ["certificate", "conditions"]
            .iter()
            .all(|key| part(admission.object, key) == part(old, key));
        if unchanged {
            return Ok(());
        }
        let signer = text(old, "/spec/signerName");
        let why = format!("user not permitted to sign requests with signerName \"{signer}\"");
        require(&*self.0, admission, "sign", signer, why).await
    }
}

/// Only those who may attest for the signer publish trust bundles of it.
pub(super) struct ClusterTrustBundleAttest(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for ClusterTrustBundleAttest {
    fn stage(&self) -> &'static str {
        "admission/ClusterTrustBundleAttest"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, GROUP, "clustertrustbundles") {
            return Ok(());
        }
        let signer = text(admission.object, "/spec/signerName");
        let same_spec = admission
            .old_object
            .is_some_and(|old| old["spec"] == admission.object["spec"]);
        if signer.is_empty() || same_spec {
            return Ok(());
        }
        let why = format!("user not permitted to attest for signerName \"{signer}\"");
        require(&*self.0, admission, "attest", signer, why).await
    }
}

/// Nobody gets a client certificate for `system:masters`.
pub(super) struct CertificateSubjectRestriction;

#[async_trait]
impl AdmissionPlugin for CertificateSubjectRestriction {
    fn stage(&self) -> &'static str {
        "admission/CertificateSubjectRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let is_client =
            text(admission.object, "/spec/signerName") == "kubernetes.io/kube-apiserver-client";
        if !is_of(admission, GROUP, REQUESTS) || !is_client {
            return Ok(());
        }
        let organizations = organizations_of(text(admission.object, "/spec/request"));
        match organizations.iter().any(|o| o == "system:masters") {
            false => Ok(()),
            true => Err(forbidden(
                admission,
                "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
            )),
        }
    }
}

/// Organizations in the subject of a base64 PEM request; none if it cannot be read.
fn organizations_of(request: &str) -> Vec<String> {
    let pem = STANDARD.decode(request).unwrap_or_default();
    let Ok((_, block)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return Vec::new();
    };
    let Ok((_, parsed)) = X509CertificationRequest::from_der(&block.contents) else {
        return Vec::new();
    };
    let subject = &parsed.certification_request_info.subject;
    subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok().map(str::to_string))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::authorization::{AlwaysAllow, AlwaysDeny};
    use crate::base::tree::json;

    #[tokio::test]
    async fn approval_needs_permission() {
        let object = json!({"metadata": {"name": "r"}, "spec": {"signerName": "a.b/c"}});
        let write = Write {
            subresource: "approval",
            ..Write::update(GROUP, REQUESTS, object.clone())
        };
        let allowed: Arc<dyn AdmissionPlugin> =
            Arc::new(CertificateApproval(Arc::new(AlwaysAllow)));
        assert!(write.run(&allowed, object.clone()).await.is_ok());
        let denied: Arc<dyn AdmissionPlugin> = Arc::new(CertificateApproval(Arc::new(AlwaysDeny)));
        let refused = write.run(&denied, object).await.expect_err("no permission");
        assert_eq!(
            refused.message,
            "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: user not permitted to approve requests with signerName \"a.b/c\""
        );
    }

    #[tokio::test]
    async fn masters_are_refused() {
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(CertificateSubjectRestriction);
        for (organization, good) in [("dev", true), ("system:masters", false)] {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
            params
                .distinguished_name
                .push(rcgen::DnType::OrganizationName, organization);
            let request = params.serialize_request(&key).expect("a request");
            let pem = request.pem().expect("PEM");
            let object = json!({"metadata": {"name": "r"}, "spec": {
                "signerName": "kubernetes.io/kube-apiserver-client",
                "request": STANDARD.encode(pem)}});
            let done = Write::create(GROUP, REQUESTS).run(&plugin, object).await;
            assert_eq!(done.is_ok(), good);
        }
    }
}
