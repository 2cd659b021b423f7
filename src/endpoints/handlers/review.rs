//! Reviews and tokens: resources that are answered, not stored.

use std::sync::Arc;

use http::StatusCode;

use crate::api::managed_fields;
use crate::api::names::GroupVersionKind;
use crate::api::options::{WriteOptions, WriteVerb};
use crate::api::resource::Review;
use crate::api::status::Status;
use crate::authentication::token_request::TokenIssuer;
use crate::authentication::{TokenAuthenticator, reviews as identity};
use crate::authorization::{AuthorizerChain, reviews as access};
use crate::base::tree::{Value, json};
use crate::endpoints::handlers::body::{self, Expected};
use crate::endpoints::handlers::create::note_options;
use crate::endpoints::{Endpoints, render};
use crate::registry::Target;
use crate::request::negotiate::Negotiated;
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

/// Life of a token whose request names none.
const TOKEN_SECONDS: u32 = 3600;

/// What `serviceaccounts/token` takes.
const TOKEN_REQUEST: Expected<'static> = Expected {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    older_versions: &[],
    custom: false,
    definitions: None,
};

/// Answers a POST of a review.
pub async fn create(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
    kind: Review,
) -> Result<ApiResponse, Status> {
    let expected = Expected::of(&target.resource);
    let (negotiated, mut review, options) = posted(endpoints, request, target, &expected).await?;
    let ctx = &mut request.ctx;
    admitted(endpoints, ctx, target, &expected, &mut review, &options).await?;
    answer(&endpoints.reviewers, ctx, target, kind, &mut review).await?;
    render::object(ctx, target, negotiated, StatusCode::CREATED, &review)
}

/// Answers a POST of an object that a mounted part of the server fills in.
pub async fn mounted(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let expected = Expected::of(&target.resource);
    let (negotiated, mut review, options) = posted(endpoints, request, target, &expected).await?;
    let ctx = &mut request.ctx;
    admitted(endpoints, ctx, target, &expected, &mut review, &options).await?;
    let mount = endpoints.mount_of_row(&ctx.info)?;
    mount.review(ctx, &mut review).await?;
    render::object(ctx, target, negotiated, StatusCode::CREATED, &review)
}

/// Answers a POST of a token request.
pub async fn token_request(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
) -> Result<ApiResponse, Status> {
    let expected = &TOKEN_REQUEST;
    let (negotiated, mut asked, options) = posted(endpoints, request, target, expected).await?;
    let ctx = &mut request.ctx;
    if asked["spec"]["expirationSeconds"].is_null() {
        asked["spec"]["expirationSeconds"] = json!(TOKEN_SECONDS);
    }
    admitted(endpoints, ctx, target, expected, &mut asked, &options).await?;
    let managed = managed_fields::take(&mut asked);
    let issuer = endpoints.reviewers.issuer.as_ref();
    let issuer = issuer.ok_or_else(Status::no_such_resource)?;
    issuer
        .issue(ctx, &target.namespace, &target.name, &mut asked)
        .await?;
    managed_fields::put(&mut asked, managed);
    render::object(ctx, target, negotiated, StatusCode::CREATED, &asked)
}

/// Negotiates, reads and decodes.
async fn posted(
    endpoints: &Endpoints,
    request: &mut ApiRequest,
    target: &Target,
    expected: &Expected<'_>,
) -> Result<(Negotiated, Value, WriteOptions), Status> {
    let negotiated = render::negotiate_review(&request.ctx, target)?;
    body::content_encoding(&request.ctx, target.resource.custom)?;
    let bytes = body::read(request).await?;
    let ctx = &mut request.ctx;
    let options = WriteOptions::from_query(ctx.uri.query().unwrap_or(""), WriteVerb::Create)?;
    note_options(ctx, &options);
    let table = endpoints.registry.table().load();
    let validation = options.field_validation;
    let value = match target.subresource.as_str() {
        "" => body::object(ctx, &table, target, &bytes, validation)?,
        _ => body::foreign(ctx, &table, expected, &bytes, validation)?,
    };
    body::note_request(ctx, &value);
    Ok((negotiated, value, options))
}

/// Records who set what, then asks admission.
async fn admitted(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    expected: &Expected<'_>,
    value: &mut Value,
    options: &WriteOptions,
) -> Result<(), Status> {
    let kind = GroupVersionKind::new(
        expected.group.to_string(),
        expected.version.to_string(),
        expected.kind.to_string(),
    );
    if !target.resource.mounted {
        endpoints
            .registry
            .track_posted(ctx, &kind, &target.subresource, value, options);
    }
    endpoints
        .registry
        .admit_posted(ctx, target, value, options)
        .await
}

async fn answer(
    reviewers: &Reviewers,
    ctx: &RequestContext,
    target: &Target,
    kind: Review,
    review: &mut Value,
) -> Result<(), Status> {
    let user = ctx.user();
    let chain = &*reviewers.authorizer;
    match kind {
        Review::Token => {
            let tokens = reviewers.tokens.as_ref();
            let tokens = tokens.ok_or_else(Status::no_such_resource)?;
            identity::token_review(&**tokens, &reviewers.api_audiences, review).await
        }
        Review::SelfSubject => {
            identity::self_subject_review(&user, review);
            Ok(())
        }
        Review::SubjectAccess => access::subject_access_review(chain, review).await,
        Review::LocalSubjectAccess => {
            access::local_subject_access_review(chain, &target.namespace, review).await
        }
        Review::SelfSubjectAccess => access::self_subject_access_review(chain, &user, review).await,
        Review::SelfSubjectRules => {
            // The answer is a new object, which nobody wrote.
            managed_fields::take(review);
            access::self_subject_rules_review(chain, &user, review)
        }
    }
}
