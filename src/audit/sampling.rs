//! Which requests a sampling rule keeps.
//!
//! The audit ID decides, so that all stages of one request are kept or none, here and on the servers
//! that it is passed on to. The key keeps clients, who may choose their Audit-ID, from choosing one
//! that is never recorded.

use ring::hmac;

/// Decides with a key.
#[derive(Debug)]
pub struct Sampler(hmac::Key);

impl Sampler {
    /// Servers that share `key` decide alike.
    pub fn new(key: &[u8]) -> Self {
        Sampler(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A key that nobody knows, new at each start.
    pub fn random() -> Self {
        Self::new(&rand::random::<[u8; 32]>())
    }

    /// Whether a request is among the `percent` that are kept.
    pub fn keeps(&self, audit_id: &str, percent: f64) -> bool {
        let tag = hmac::sign(&self.0, audit_id.as_bytes());
        let mut first = [0; 4];
        first.copy_from_slice(&tag.as_ref()[..4]);
        let share = f64::from(u32::from_be_bytes(first)) / f64::from(u32::MAX);
        share * 100.0 < percent || percent >= 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_the_same_one_each_time() {
        let sampler = Sampler::new(b"a key");
        let ids: Vec<String> = (0..10_000).map(|n| format!("id-{n}")).collect();
        let kept = |percent| ids.iter().filter(|id| sampler.keeps(id, percent)).count();
        assert!((800..1200).contains(&kept(10.0)), "{}", kept(10.0));
        assert_eq!((kept(100.0), kept(0.0)), (10_000, 0));
        assert_eq!(kept(10.0), kept(10.0));
        let other = Sampler::new(b"another");
        let differ = ids
            .iter()
            .filter(|id| sampler.keeps(id, 50.0) != other.keeps(id, 50.0));
        assert!(differ.count() > 1000, "clients cannot tell");
    }
}
