//! Who a request is from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An authenticated identity. Field names are those of `authentication.k8s.io/v1` UserInfo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// User name, for example `system:serviceaccount:ns:name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// UID; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups in the order the authenticator gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Extra attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// `system:anonymous` in group `system:unauthenticated`.
    pub fn anonymous() -> Self {
        UserInfo {
            username: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..UserInfo::default()
        }
    }

    /// The server itself: `system:apiserver` in `system:authenticated` and `system:masters`.
    pub fn apiserver() -> Self {
        UserInfo {
            username: "system:apiserver".into(),
            groups: vec!["system:authenticated".into(), "system:masters".into()],
            ..UserInfo::default()
        }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// `namespace` and `name` when the user is a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.username
            .strip_prefix("system:serviceaccount:")?
            .split_once(':')
    }
}
