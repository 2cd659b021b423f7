//! Remembers good tokens for ten seconds, keyed by a digest of token and audiences.
//!
//! Refusals are not remembered: a token that becomes good is good at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dashmap::DashMap;
use ring::hmac;

use crate::authentication::{Authenticated, Refused, TokenAuthenticator};

/// How long a good token stays good without looking again.
const SUCCESS_TTL: Duration = Duration::from_secs(10);

/// Entries kept; beyond it expired ones are dropped, then all.
const ENTRIES_MAX: usize = 32_768;

/// A caching token authenticator.
pub struct TokenCache {
    inner: Arc<dyn TokenAuthenticator>,
    key: hmac::Key,
    entries: DashMap<[u8; 32], (Instant, Authenticated)>,
}

impl TokenCache {
    /// Before `inner`.
    pub fn new(inner: Arc<dyn TokenAuthenticator>) -> Self {
        TokenCache {
            inner,
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            entries: DashMap::new(),
        }
    }

    fn digest(&self, token: &str, audiences: &[String]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(token.len() as u64).to_le_bytes());
        context.update(token.as_bytes());
        for audience in audiences {
            context.update(&(audience.len() as u64).to_le_bytes());
            context.update(audience.as_bytes());
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    fn make_room(&self, now: Instant) {
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        self.entries.retain(|_, (until, _)| *until > now);
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
        }
    }
}

#[async_trait]
impl TokenAuthenticator for TokenCache {
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let now = Instant::now();
        let digest = self.digest(token, audiences);
        if let Some(entry) = self.entries.get(&digest) {
            let (until, found) = entry.value();
            if *until > now {
                return Ok(Some(found.clone()));
            }
        }
        let found = self.inner.authenticate_token(token, audiences).await?;
        match &found {
            Some(authenticated) => {
                self.make_room(now);
                let entry = (now + SUCCESS_TTL, authenticated.clone());
                self.entries.insert(digest, entry);
            }
            None => {
                self.entries.remove(&digest);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::UserInfo;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counting(AtomicUsize);

    #[async_trait]
    impl TokenAuthenticator for Counting {
        async fn authenticate_token(
            &self,
            token: &str,
            _: &[String],
        ) -> Result<Option<Authenticated>, Refused> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let good = Authenticated::new(UserInfo::anonymous(), "test");
            Ok((token == "good").then_some(good))
        }
    }

    #[tokio::test]
    async fn only_success_is_remembered() {
        let inner = Arc::new(Counting(AtomicUsize::new(0)));
        let cache = TokenCache::new(Arc::clone(&inner) as Arc<dyn TokenAuthenticator>);
        for (token, audience, calls) in [
            ("good", "a", 1),
            ("good", "a", 1),
            ("good", "b", 2),
            ("bad", "a", 3),
            ("bad", "a", 4),
        ] {
            let _ = cache
                .authenticate_token(token, &[audience.to_string()])
                .await;
            assert_eq!(inner.0.load(Ordering::Relaxed), calls);
        }
    }
}
