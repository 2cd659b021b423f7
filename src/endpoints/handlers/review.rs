//! Reviews and tokens: resources that are answered, not stored.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use crate::api::options::{WriteOptions, WriteVerb};
use crate::api::status::Status;
use crate::authentication::token_request::TokenIssuer;
use crate::authentication::{TokenAuthenticator, reviews as identity};
use crate::authorization::{AuthorizerChain, reviews as access};
use crate::endpoints::handlers::body::{self, Expected};
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::{Endpoints, render};
use crate::registry::Target;
use crate::request::{ApiRequest, ApiResponse, RequestContext};

/// Whom the reviews ask.
pub struct Reviewers {
    /// TokenReview.
    pub tokens: Option<Arc<dyn TokenAuthenticator>>,
    /// Audiences of a TokenReview that names none.
    pub api_audiences: Vec<String>,
    /// The access reviews.
    pub authorizer: Arc<AuthorizerChain>,
    /// TokenRequest.
    pub issuer: Option<TokenIssuer>,
}

/// What `serviceaccounts/token` takes.
const TOKEN_REQUEST: Expected<'static> = Expected {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    custom: false,
    definitions: None,
};

/// Answers a POST of a review or a token request.
pub async fn create(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let negotiated = render::negotiate_review(&request.ctx, target)?;
    body::content_encoding(&request.ctx, target.resource.custom)?;
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Create)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    let validation = options.field_validation;
    let mut review = match target.subresource.as_str() {
        "token" => body::foreign(ctx, &table, &TOKEN_REQUEST, &bytes, validation)?,
        _ => body::object(ctx, &table, target, &bytes, validation)?,
    };
    match target.resource.mounted {
        true => {
            let mount = endpoints.mount_of_row(&ctx.info)?;
            mount.review(ctx, &mut review).await?;
        }
        false => answer(&endpoints.reviewers, ctx, target, &mut review).await?,
    }
    render::object(ctx, target, negotiated, StatusCode::CREATED, &review)
}

async fn answer(
    reviewers: &Reviewers,
    ctx: &mut RequestContext,
    target: &Target,
    review: &mut Value,
) -> Result<(), Status> {
    let user = ctx.user();
    let chain = &*reviewers.authorizer;
    match (target.resource.plural.as_ref(), target.subresource.as_str()) {
        ("serviceaccounts", "token") => {
            let issuer = reviewers.issuer.as_ref();
            let issuer = issuer.ok_or_else(Status::no_such_resource)?;
            issuer
                .issue(ctx, &target.namespace, &target.name, review)
                .await
        }
        ("tokenreviews", "") => {
            let tokens = reviewers.tokens.as_ref();
            let tokens = tokens.ok_or_else(Status::no_such_resource)?;
            identity::token_review(&**tokens, &reviewers.api_audiences, review).await
        }
        ("selfsubjectreviews", "") => {
            identity::self_subject_review(&user, review);
            Ok(())
        }
        ("subjectaccessreviews", "") => access::subject_access_review(chain, review).await,
        ("localsubjectaccessreviews", "") => {
            access::local_subject_access_review(chain, &target.namespace, review).await
        }
        ("selfsubjectaccessreviews", "") => {
            access::self_subject_access_review(chain, &user, review).await
        }
        ("selfsubjectrulesreviews", "") => access::self_subject_rules_review(chain, &user, review),
        _ => Err(Status::no_such_resource()),
    }
}
