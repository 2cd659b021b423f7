//! 401: why the credentials were refused. The client was told nothing; the record knows.

use super::Answer;
use crate::authentication::Refusal;
use crate::diagnose::cause::{Cause, Class};

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let reason = answer
        .trace
        .stage("authentication")
        .map_or("", |s| s.reason.as_str());
    let Some(refusal) = Refusal::of_reason(reason) else {
        let why = match reason {
            "" => "the record does not say why",
            reason => reason,
        };
        return Cause::unknown(format!("the credentials were refused: {why}"));
    };
    let details = reason.split_once(": ").map_or("", |(_, details)| details);
    let text = match details {
        "" => format!("the credentials were refused: {}", in_words(refusal)),
        details => format!(
            "the credentials were refused: {} ({details})",
            in_words(refusal)
        ),
    };
    let cause = match refusal {
        Refusal::Other => Cause::likely(Class::Unauthorized, "authentication", text),
        _ => Cause::certain(Class::Unauthorized, "authentication", text),
    };
    cause
        .detail(refusal.as_str())
        .fix(what_to_do(refusal))
        .fix("verbatim search 'code:401' --from -1h shows from where else this comes")
}

fn in_words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoCredentials => "none were sent that this server understands",
        Refusal::UnknownToken => "nobody knows the bearer token",
        Refusal::Malformed => "the token is not well-formed",
        Refusal::UnknownIssuer => "the token was issued by somebody this server does not trust",
        Refusal::UnknownKey => "the token is signed with a key that this server does not have",
        Refusal::BadSignature => "the token's signature is wrong",
        Refusal::Expired => "the token has expired",
        Refusal::NotYetValid => "the token is not valid yet",
        Refusal::WrongAudience => "the token is for another audience",
        Refusal::Revoked => "the token was revoked, or what it is bound to is gone",
        Refusal::CertificateExpired => "the client certificate has expired",
        Refusal::CertificateNotYetValid => "the client certificate is not valid yet",
        Refusal::CertificateUnknownAuthority => {
            "the client certificate was made by an unknown authority"
        }
        Refusal::CertificateWrongPurpose => "the certificate is not one for clients",
        Refusal::CertificateRevoked => "the client certificate was revoked",
        Refusal::CertificateInvalid => "the client certificate is not valid",
        Refusal::FrontProxy => "the front proxy may not speak for users",
        Refusal::Remote => "an authenticator outside this server refused or failed",
        Refusal::LookupFailed => "what the credential is bound to could not be looked up",
        Refusal::Other => "an authenticator refused them",
    }
}

fn what_to_do(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NoCredentials => {
            "check the user entry of the client's kubeconfig: kubectl config view --minify"
        }
        Refusal::UnknownToken | Refusal::Malformed => {
            "get a new token, for example: kubectl create token SERVICEACCOUNT"
        }
        Refusal::UnknownIssuer | Refusal::UnknownKey | Refusal::BadSignature => {
            "the token comes from another cluster, or the signing key was changed: get one from this server, or add the key to --service-account-key-file"
        }
        Refusal::Expired => {
            "get a new token: kubectl create token SERVICEACCOUNT; programs in pods must read the token file again"
        }
        Refusal::NotYetValid | Refusal::CertificateNotYetValid => {
            "compare the clocks of the client, the issuer and this server"
        }
        Refusal::WrongAudience => {
            "ask for a token with this server's audience: kubectl create token SERVICEACCOUNT --audience AUDIENCE"
        }
        Refusal::Revoked => {
            "the service account, Secret, pod or node was deleted or made anew: get a new token for the one that exists"
        }
        Refusal::CertificateExpired | Refusal::CertificateRevoked => {
            "renew the client certificate (kubeadm certs renew, or a CertificateSigningRequest)"
        }
        Refusal::CertificateUnknownAuthority => {
            "use a certificate signed by an authority in --client-ca-file; one of another cluster is no good here"
        }
        Refusal::CertificateWrongPurpose | Refusal::CertificateInvalid => {
            "make a client certificate: extended key usage clientAuth, user name as common name"
        }
        Refusal::FrontProxy => {
            "the proxy needs a certificate of --requestheader-client-ca-file and a name in --requestheader-allowed-names"
        }
        Refusal::Remote => "look at the authentication webhook or issuer and at this server's log",
        Refusal::LookupFailed => "look at the store: verbatim search 'code:>=500' --from -1h",
        Refusal::Other => "check the client's credentials: kubectl config view --minify",
    }
}
