//! TokenReview and SelfSubjectReview, answered in place.
//!
//! Called by the registry when one of them is created; nothing is stored.

use crate::api::status::Status;
use crate::authentication::TokenAuthenticator;
use crate::base::tree::{Value, json};
use crate::request::UserInfo;

/// Answers a TokenReview.
pub async fn token_review(
    tokens: &dyn TokenAuthenticator,
    api_audiences: &[String],
    review: &mut Value,
) -> Result<(), Status> {
    let token = review
        .pointer("/spec/token")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_string();
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked: Vec<String> = review
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_string))
        .collect();
    let wanted: &[String] = if asked.is_empty() {
        api_audiences
    } else {
        &asked
    };
    // Spelled as requests are authenticated, so that both share what the cache remembers.
    let for_this_api = wanted == api_audiences;
    let audiences: &[String] = if for_this_api { &[] } else { wanted };
    review["status"] = match tokens.authenticate_token(&token, audiences).await {
        Ok(Some(found)) => {
            let mut status = json!({"authenticated": true, "user": &*found.user});
            let good_for: Vec<&String> = found
                .audiences
                .iter()
                .filter(|a| wanted.contains(a))
                .collect();
            if !good_for.is_empty() {
                status["audiences"] = json!(good_for);
            }
            status
        }
        Ok(None) => json!({"user": {}, "error": "invalid bearer token"}),
        Err(refused) if refused.is_silent => {
            json!({"user": {}, "error": "invalid bearer token"})
        }
        Err(refused) => {
            json!({"user": {}, "error": format!("[invalid bearer token, {}]", refused.reason)})
        }
    };
    Ok(())
}

/// Answers a SelfSubjectReview for `user`. What the client sent is not looked at.
pub fn self_subject_review(user: &UserInfo, review: &mut Value) {
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    review["metadata"] = json!({"creationTimestamp": now});
    review["status"] = json!({"userInfo": user});
    if let Some(members) = review.as_object_mut() {
        members.remove("spec");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::token_file::TokenFile;

    #[tokio::test]
    async fn reviews() {
        let audiences = vec!["api".to_string()];
        let file = TokenFile::parse("t,alice,u2", audiences.clone()).expect("a token file");
        let cases = [
            (
                json!({"token": "t"}),
                json!({"audiences": ["api"], "authenticated": true,
                "user": {"username": "alice", "uid": "u2", "groups": ["system:authenticated"]}}),
            ),
            (
                json!({"token": "t", "audiences": ["x"]}),
                json!({"user": {}, "error": "invalid bearer token"}),
            ),
            (
                json!({"token": "x"}),
                json!({"user": {}, "error": "invalid bearer token"}),
            ),
        ];
        for (spec, status) in cases {
            let mut review = json!({"spec": spec});
            let done = token_review(&file, &audiences, &mut review).await;
            assert_eq!((done, &review["status"]), (Ok(()), &status));
        }
        let mut empty = json!({"spec": {}});
        assert!(token_review(&file, &audiences, &mut empty).await.is_err());
    }
}
