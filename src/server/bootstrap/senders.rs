//! Roles of those who send audit events here: for each cluster a role that may post to `/audit/NAME`,
//! bound to the user `audit-sender:NAME`, whose client certificate [`crate::server::senders`] makes.

use super::{ensure, object};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::rbac::GROUP;
use crate::base::tree::json;
use crate::search::ingest::LISTS_PATH;

/// The user that a cluster's API server sends as.
pub fn user_of(cluster: &str) -> String {
    format!("audit-sender:{cluster}")
}

/// Makes what is missing.
pub(super) async fn ensure_roles(objects: &dyn Objects, clusters: &[String]) -> Result<(), Status> {
    for cluster in clusters {
        let name = format!("verbatim:audit-sender:{cluster}");
        let version = format!("{GROUP}/v1");
        let mut role = object(&version, "ClusterRole", "", &name);
        role["rules"] = json!([{
            "nonResourceURLs": [format!("{LISTS_PATH}/{cluster}")],
            "verbs": ["post"],
        }]);
        ensure(objects, &GroupResource::new(GROUP, "clusterroles"), role).await?;
        let mut binding = object(&version, "ClusterRoleBinding", "", &name);
        binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name});
        binding["subjects"] =
            json!([{"apiGroup": GROUP, "kind": "User", "name": user_of(cluster)}]);
        let bindings = GroupResource::new(GROUP, "clusterrolebindings");
        ensure(objects, &bindings, binding).await?;
    }
    Ok(())
}
