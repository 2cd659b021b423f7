//! `--runtime-config`: which group versions and resources are served.
//!
//! Precedence as in kube-apiserver: a resource's own key beats its group version's, that beats
//! `api/all`, `api/ga`, `api/beta` and `api/alpha`, those beat the row's default.

use std::collections::BTreeMap;

use crate::api::resource::Resource;
use crate::registry::table::groups;

/// A parsed `--runtime-config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    keys: BTreeMap<String, bool>,
}

/// A `--runtime-config` that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeConfigError {
    /// A value that is no boolean.
    #[error("invalid value of runtime-config key {key}: {value:?} is neither true nor false")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A key that names no group version.
    #[error("runtime-config key {0:?} is not <group>/<version>[/<resource>] or api/<level>")]
    Key(String),
}

impl RuntimeConfig {
    /// Parses `apps/v1=true,api/beta=false`. A key without a value means true.
    pub fn parse(text: &str) -> Result<Self, RuntimeConfigError> {
        let mut keys = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, "true"));
            let (key, value) = (key.trim(), value.trim());
            let on = match value {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
                "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
                _ => {
                    return Err(RuntimeConfigError::Value {
                        key: key.to_string(),
                        value: value.to_string(),
                    });
                }
            };
            check_key(key)?;
            keys.insert(key.to_string(), on);
        }
        Ok(RuntimeConfig { keys })
    }

    /// Whether a built-in row is served.
    pub fn serves(&self, resource: &Resource) -> bool {
        let gv = resource.group_version().to_string();
        let level = if resource.version.contains("alpha") {
            "api/alpha"
        } else if resource.version.contains("beta") {
            "api/beta"
        } else {
            "api/ga"
        };
        [
            &format!("{gv}/{}", resource.plural) as &str,
            &gv,
            level,
            "api/all",
        ]
        .iter()
        .find_map(|key| self.keys.get(*key).copied())
        .unwrap_or(resource.on_by_default)
    }
}

fn check_key(key: &str) -> Result<(), RuntimeConfigError> {
    let parts: Vec<&str> = key.split('/').collect();
    let known = match parts.as_slice() {
        ["api", level] => matches!(*level, "all" | "ga" | "beta" | "alpha" | "legacy"),
        ["v1"] | ["v1", _] => true,
        // A group without a dot can only be a built-in one; others may be custom resources.
        [group, _] | [group, _, _] => group.contains('.') || groups::is_builtin_group(group),
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(RuntimeConfigError::Key(key.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::table::builtin;

    fn serves(config: &str, gv: &str, plural: &str) -> bool {
        let config = RuntimeConfig::parse(config).expect("a valid runtime config");
        let row = builtin()
            .iter()
            .find(|r| r.group_version().to_string() == gv && r.plural == plural)
            .expect("a built-in row");
        config.serves(row)
    }

    #[test]
    fn precedence() {
        let beta = ("networking.k8s.io/v1beta1", "ipaddresses");
        assert!(!serves("", beta.0, beta.1));
        assert!(serves("api/beta=true", beta.0, beta.1));
        assert!(serves("api/all=true", beta.0, beta.1));
        assert!(!serves("api/all=true,api/beta=false", beta.0, beta.1));
        assert!(serves("networking.k8s.io/v1beta1", beta.0, beta.1));
        assert!(!serves(
            "networking.k8s.io/v1beta1=true,networking.k8s.io/v1beta1/ipaddresses=false",
            beta.0,
            beta.1
        ));
        assert!(serves("", "v1", "pods"));
        assert!(!serves("api/all=false", "apps/v1", "deployments"));
        assert!(serves("api/all=false,v1=true", "v1", "pods"));
        assert!(!serves("v1/pods=false", "v1", "pods"));
    }

    #[test]
    fn errors() {
        for bad in [
            "apps/v1=maybe",
            "nope/v1=true",
            "a/b/c/d=true",
            "api/some=true",
        ] {
            assert!(RuntimeConfig::parse(bad).is_err(), "{bad}");
        }
        assert!(RuntimeConfig::parse("x.test/v1=true").is_ok());
    }
}
