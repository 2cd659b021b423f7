//! `--token-auth-file`: static tokens in a CSV file (`token,user,uid,"group1,group2"`).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::authentication::{Authenticated, Refused, TokenAuthenticator, common_audiences};
use crate::request::UserInfo;

/// Static tokens, kept as keyed digests.
pub struct TokenFile {
    key: hmac::Key,
    users: HashMap<[u8; 8], Vec<Entry>>,
    api_audiences: Vec<String>,
}

struct Entry {
    digest: hmac::Tag,
    user: Authenticated,
}

/// A token file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token file line {line}: {problem}")]
pub struct TokenFileError {
    /// Line, counted from one.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl TokenFile {
    /// Parses the text of a token file. Tokens are good for `api_audiences`.
    pub fn parse(text: &str, api_audiences: Vec<String>) -> Result<Self, TokenFileError> {
        let mut file = TokenFile::empty(api_audiences);
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let columns = split_csv(line).map_err(|problem| TokenFileError {
                line: number + 1,
                problem,
            })?;
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(TokenFileError {
                    line: number + 1,
                    problem: format!(
                        "must have at least 3 columns (token, user name, user uid), found {}",
                        columns.len()
                    ),
                });
            };
            if token.is_empty() {
                tracing::warn!(line = number + 1, "empty token in token file, skipped");
                continue;
            }
            let groups = rest.first().map_or("", String::as_str);
            let user = UserInfo {
                username: name.clone(),
                uid: uid.clone(),
                groups: groups
                    .split(',')
                    .filter(|g| !g.is_empty())
                    .map(str::to_string)
                    .collect(),
                ..UserInfo::default()
            };
            file.insert(token, user);
        }
        Ok(file)
    }

    /// Knows no token yet.
    pub fn empty(api_audiences: Vec<String>) -> Self {
        TokenFile {
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            users: HashMap::new(),
            api_audiences,
        }
    }

    /// Adds a token (the loopback token of the server itself is added this way).
    pub fn insert(&mut self, token: &str, user: UserInfo) {
        let digest = hmac::sign(&self.key, token.as_bytes());
        let entry = Entry {
            digest,
            user: Authenticated::new(user, "token-file").in_authenticated_group(),
        };
        self.users.entry(prefix(&digest)).or_default().push(entry);
    }
}

fn prefix(digest: &hmac::Tag) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&digest.as_ref()[..8]);
    out
}

#[async_trait]
impl TokenAuthenticator for TokenFile {
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let digest = hmac::sign(&self.key, token.as_bytes());
        let Some(entries) = self.users.get(&prefix(&digest)) else {
            return Ok(None);
        };
        // A later line with the same token wins, as upstream overwrites.
        let found = entries
            .iter()
            .rev()
            .find(|e| bool::from(e.digest.as_ref().ct_eq(digest.as_ref())));
        let Some(entry) = found else {
            return Ok(None);
        };
        let common = common_audiences(audiences, &self.api_audiences);
        if common.is_empty() && !self.api_audiences.is_empty() {
            return Ok(None);
        }
        Ok(Some(Authenticated {
            audiences: Arc::from(common),
            ..entry.user.clone()
        }))
    }
}

/// One CSV record: fields may be quoted, quotes are doubled inside.
fn split_csv(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next() {
                    None => return Err("a quoted field does not end".into()),
                    Some('"') if chars.peek() == Some(&'"') => {
                        chars.next();
                        field.push('"');
                    }
                    Some('"') => break,
                    Some(c) => field.push(c),
                }
            }
            match chars.next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some(',') => fields.push(field),
                Some(c) => return Err(format!("unexpected {c:?} behind a quoted field")),
            }
            continue;
        }
        loop {
            match chars.next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some(',') => break,
                Some('"') => return Err("a quote inside an unquoted field".into()),
                Some(c) => field.push(c),
            }
        }
        fields.push(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "admin-token,tokenadmin,u1,system:masters\n\nalice-token,alice,u2\ncarol-token,carol,u4,\"ops,audit\"\n";

    #[tokio::test]
    async fn tokens() {
        let file = TokenFile::parse(FILE, vec!["api".into()]).expect("a token file");
        let cases = [
            (
                "admin-token",
                Some((
                    "tokenadmin",
                    "u1",
                    vec!["system:masters", "system:authenticated"],
                )),
            ),
            (
                "alice-token",
                Some(("alice", "u2", vec!["system:authenticated"])),
            ),
            (
                "carol-token",
                Some(("carol", "u4", vec!["ops", "audit", "system:authenticated"])),
            ),
            ("ADMIN-TOKEN", None),
            ("", None),
        ];
        for (token, expected) in cases {
            let found = file.authenticate_token(token, &[]).await.expect("no error");
            let found = found.as_ref().map(|a| {
                let groups: Vec<&str> = a.user.groups.iter().map(String::as_str).collect();
                (a.user.username.as_str(), a.user.uid.as_str(), groups)
            });
            assert_eq!(found, expected, "{token}");
        }
        let other = file.authenticate_token("alice-token", &["x".into()]).await;
        assert!(other.expect("no error").is_none(), "other audiences");
    }

    #[test]
    fn bad_files() {
        for text in ["a,b", "a,\"b,c", "a,b,c,\"d\"e"] {
            assert!(TokenFile::parse(text, Vec::new()).is_err(), "{text}");
        }
    }
}
