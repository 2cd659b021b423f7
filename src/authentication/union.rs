//! Asks the authenticators in order: front proxy, client certificate, bearer token, anonymous.

use std::sync::Arc;

use async_trait::async_trait;

use crate::authentication::jwt::Jwt;
use crate::authentication::{
    AUTHENTICATED, Authenticated, Authenticator, Refusal, Refused, TokenAuthenticator, bearer,
};
use crate::request::{RequestContext, UserInfo};

/// Whether and where nobody may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Credentials are required.
    #[default]
    Off,
    /// Everywhere.
    On,
    /// On these exact paths only.
    OnPaths(Vec<String>),
}

/// The authenticator of requests.
pub struct RequestAuthenticator {
    /// By client certificates and front-proxy headers, in the order to ask.
    pub by_connection: Vec<Arc<dyn Authenticator>>,
    /// By bearer token.
    pub tokens: Option<Arc<dyn TokenAuthenticator>>,
    /// Without credentials.
    pub anonymous: Anonymous,
}

#[async_trait]
impl Authenticator for RequestAuthenticator {
    fn at_once(&self, ctx: &RequestContext) -> Option<Arc<Authenticated>> {
        // Whatever is not known at once may be the one that counts, so only the first is asked.
        let found = self.by_connection.first()?.at_once(ctx)?;
        found.user.in_group(AUTHENTICATED).then_some(found)
    }

    async fn authenticate(
        &self,
        ctx: &mut RequestContext,
    ) -> Result<Option<Authenticated>, Refused> {
        let mut refusals = Vec::new();
        for authenticator in &self.by_connection {
            match authenticator.authenticate(ctx).await {
                Ok(Some(found)) => return Ok(Some(found.in_authenticated_group())),
                Ok(None) => {}
                Err(refused) => refusals.push(refused),
            }
        }
        if let Some(tokens) = &self.tokens {
            match by_token(&**tokens, ctx).await {
                Ok(Some(found)) => return Ok(Some(found.in_authenticated_group())),
                Ok(None) => {}
                Err(refused) => refusals.push(refused),
            }
        }
        if !refusals.is_empty() {
            return Err(Refused::all(refusals));
        }
        let allowed = match &self.anonymous {
            Anonymous::Off => false,
            Anonymous::On => true,
            Anonymous::OnPaths(paths) => paths.iter().any(|path| path == ctx.uri.path()),
        };
        Ok(allowed.then(|| Authenticated::new(UserInfo::anonymous(), "anonymous")))
    }
}

async fn by_token(
    tokens: &dyn TokenAuthenticator,
    ctx: &mut RequestContext,
) -> Result<Option<Authenticated>, Refused> {
    let token = match bearer::from_header(ctx) {
        Some(token) => token,
        None => match bearer::from_websocket(ctx)
            .map_err(|reason| Refused::of(Refusal::Malformed, reason))?
        {
            Some(token) => token,
            None => return Ok(None),
        },
    };
    match tokens.authenticate_token(&token, &[]).await {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => Err(unknown(&token)),
        Err(refused) => Err(Refused::of(
            refused.class,
            format!("[invalid bearer token, {}]", refused.reason),
        )),
    }
}

/// A token that no authenticator knows: what can be told from its looks.
fn unknown(token: &str) -> Refused {
    match Jwt::parse(token) {
        Some(jwt) => {
            let issuer = jwt.text("/iss");
            Refused::of(
                Refusal::UnknownIssuer,
                format!("invalid bearer token: its issuer {issuer:?} is not one of this server's"),
            )
        }
        None => Refused::of(Refusal::UnknownToken, "invalid bearer token"),
    }
}

/// Asks several token authenticators in order; the first that knows the token answers.
pub struct TokenUnion {
    members: Vec<Arc<dyn TokenAuthenticator>>,
}

impl TokenUnion {
    /// In the order to ask.
    pub fn new(members: Vec<Arc<dyn TokenAuthenticator>>) -> Self {
        TokenUnion { members }
    }
}

#[async_trait]
impl TokenAuthenticator for TokenUnion {
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let mut refusals = Vec::new();
        for member in &self.members {
            match member.authenticate_token(token, audiences).await {
                Ok(Some(found)) => return Ok(Some(found.in_authenticated_group())),
                Ok(None) => {}
                Err(refused) => refusals.push(refused),
            }
        }
        match refusals.is_empty() {
            true => Ok(None),
            false => Err(Refused::all(refusals)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authentication::token_file::TokenFile;
    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue, Method, Uri};

    #[tokio::test]
    async fn order_and_anonymous() {
        let file = TokenFile::parse("t,alice,1", Vec::new()).expect("a token file");
        let mut union = RequestAuthenticator {
            by_connection: Vec::new(),
            tokens: Some(Arc::new(TokenUnion::new(vec![Arc::new(file)]))),
            anonymous: Anonymous::On,
        };
        let cases = [
            (Anonymous::On, Some("Bearer t"), "/", Ok(Some("alice"))),
            (
                Anonymous::On,
                Some("Bearer x"),
                "/",
                Err("invalid bearer token"),
            ),
            (
                Anonymous::On,
                Some("Basic x"),
                "/",
                Ok(Some("system:anonymous")),
            ),
            (Anonymous::On, None, "/", Ok(Some("system:anonymous"))),
            (Anonymous::Off, None, "/", Ok(None)),
            (
                Anonymous::OnPaths(vec!["/livez".into()]),
                None,
                "/livez",
                Ok(Some("system:anonymous")),
            ),
            (
                Anonymous::OnPaths(vec!["/livez".into()]),
                None,
                "/api",
                Ok(None),
            ),
        ];
        for (anonymous, header, path, expected) in cases {
            union.anonymous = anonymous;
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(header));
            }
            let mut ctx = RequestContext::new(Method::GET, Uri::from_static(path), headers, None);
            let found = union.authenticate(&mut ctx).await;
            let found = match &found {
                Ok(found) => Ok(found.as_ref().map(|a| a.user.username.as_str())),
                Err(refused) => Err(refused.reason.as_str()),
            };
            assert_eq!(found, expected, "{header:?} {path}");
        }
    }
}
