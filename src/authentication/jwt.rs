//! JSON Web Tokens: taking apart, verifying, signing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authentication::keys::{PublicKey, SigningKey};
use crate::base::tree::{Value, json};

/// Tokens longer than this are not looked at.
const TOKEN_MAX_BYTES: usize = 64 * 1024;

/// A token taken apart; nothing in it is to be believed before [`Jwt::verify`].
pub struct Jwt<'a> {
    header: Value,
    /// The claims.
    pub claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// Takes a compact token apart; `None` when it is not one.
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        claims.is_object().then_some(())?;
        Some(Jwt {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims,
            signed,
            signature: decode(signature)?,
        })
    }

    /// A claim that is text.
    pub fn text(&self, pointer: &str) -> &str {
        self.claims
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// A claim that is a time in seconds.
    pub fn seconds(&self, pointer: &str) -> Option<i64> {
        let value = self.claims.pointer(pointer)?;
        value.as_i64().or_else(|| value.as_f64().map(|f| f as i64))
    }

    /// The audiences: one text or a list.
    pub fn audiences(&self) -> Vec<String> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many
                .iter()
                .filter_map(|v| v.as_str().map(str::to_string))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the header names a key that is not among `keys`.
    pub fn names_unknown_key(&self, keys: &[PublicKey]) -> bool {
        let id = self.header.get("kid").and_then(Value::as_str);
        id.is_some_and(|id| !keys.iter().any(|key| key.id == id))
    }

    /// Whether one of `keys` signed it: those with the header's key ID, or all when it names none.
    pub fn verify(&self, keys: &[PublicKey]) -> bool {
        let algorithm = self.header.get("alg").and_then(Value::as_str);
        let id = self.header.get("kid").and_then(Value::as_str);
        let known = id.is_some_and(|id| keys.iter().any(|key| key.id == id));
        keys.iter()
            .filter(|key| !known || Some(key.id.as_str()) == id)
            .filter(|key| Some(key.algorithm.name()) == algorithm)
            .any(|key| key.verify(self.signed.as_bytes(), &self.signature))
    }
}

/// A signed compact token with `claims`.
pub fn sign(key: &SigningKey, claims: &Value) -> Option<String> {
    let public = key.public();
    let header = json!({"alg": public.algorithm.name(), "kid": public.id});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = key.sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let pem = SigningKey::generate_pem().expect("a random key");
        let key = SigningKey::from_pem(&pem).expect("a private key");
        let token = sign(&key, &json!({"aud": "a", "exp": 5})).expect("a token");
        let jwt = Jwt::parse(&token).expect("a token");
        assert!(jwt.verify(&[key.public().clone()]));
        assert_eq!(
            (jwt.audiences(), jwt.seconds("/exp")),
            (vec!["a".into()], Some(5))
        );
        let other = SigningKey::generate_pem().expect("a random key");
        assert!(!jwt.verify(&PublicKey::from_pem(&other).expect("a key")));
        for bad in ["a.b.c", "", "a", "eyJhbGciOiAibm9uZSJ9.e30."] {
            let is_good = Jwt::parse(bad).is_some_and(|jwt| jwt.verify(&[key.public().clone()]));
            assert!(!is_good, "{bad}");
        }
    }
}
