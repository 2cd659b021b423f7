//! PodSecurity: namespaces say by their labels what pods in them may do.

mod checks;

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::{forbidden, is_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::field::{FieldErrors, Path};
use crate::api::names::{GroupKind, GroupResource};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::Value;
use checks::{Minor, Violation, violations};

const PREFIX: &str = "pod-security.kubernetes.io/";
const LATEST: Minor = Minor::MAX;
/// Existing pods that are checked when a namespace's level is raised.
const EXISTING_MAX: usize = 3000;

/// The plugin.
pub(super) struct PodSecurity(pub(super) Arc<dyn Objects>);

/// How much is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LevelVersion {
    level: Level,
    minor: Minor,
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    enforce: LevelVersion,
    audit: LevelVersion,
    warn: LevelVersion,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }
}

impl std::fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.minor {
            LATEST => write!(f, "{}:latest", self.level.name()),
            minor => write!(f, "{}:v1.{minor}", self.level.name()),
        }
    }
}

impl LevelVersion {
    fn violations(self, pod: &Value) -> Vec<Violation> {
        match self.level {
            Level::Privileged => Vec::new(),
            level => violations(pod, level == Level::Restricted, self.minor),
        }
    }
}

impl Policy {
    /// The policy of a namespace's labels, and what is wrong with them.
    fn of(namespace: &Value) -> (Self, FieldErrors) {
        let labels = &namespace["metadata"]["labels"];
        let mut errors = FieldErrors::default();
        // A stored level that cannot be read must not open the namespace.
        let enforce = read(labels, "enforce", Level::Restricted, &mut errors);
        let audit = read(labels, "audit", Level::Privileged, &mut errors);
        let mut warn = read(labels, "warn", Level::Privileged, &mut errors);
        let says_warn = labels.get(format!("{PREFIX}warn")).is_some();
        if !says_warn && enforce.level > warn.level {
            warn = enforce;
        }
        let policy = Policy {
            enforce,
            audit,
            warn,
        };
        (policy, errors)
    }

    fn is_open(&self) -> bool {
        [self.enforce, self.audit, self.warn]
            .iter()
            .all(|mode| mode.level == Level::Privileged)
    }
}

fn read(labels: &Value, mode: &str, if_bad: Level, errors: &mut FieldErrors) -> LevelVersion {
    let metadata = Path::ROOT.field("metadata");
    let path = metadata.field("labels");
    let mut found = LevelVersion {
        level: Level::Privileged,
        minor: LATEST,
    };
    let key = format!("{PREFIX}{mode}");
    if let Some(value) = labels.get(&key).and_then(Value::as_str) {
        found.level = Level::parse(value).unwrap_or_else(|| {
            let why = "must be one of privileged, baseline, restricted";
            errors.invalid_str(&path.key(&key), value, why);
            if_bad
        });
    }
    let key = format!("{PREFIX}{mode}-version");
    if let Some(value) = labels.get(&key).and_then(Value::as_str) {
        found.minor = parse_version(value).unwrap_or_else(|| {
            let why = "must be \"latest\" or \"v1.x\"";
            errors.invalid_str(&path.key(&key), value, why);
            LATEST
        });
    }
    found
}

fn parse_version(text: &str) -> Option<Minor> {
    if text == "latest" {
        return Some(LATEST);
    }
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor == "0" || !minor.starts_with('0');
    let digits = !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| minor.parse().ok())?
}

fn details(found: &[Violation]) -> String {
    let texts: Vec<String> = found
        .iter()
        .map(|v| format!("{} ({})", v.reason, v.detail))
        .collect();
    texts.join(", ")
}

impl PodSecurity {
    async fn policy(&self, admission: &Admission<'_>) -> Result<(Policy, FieldErrors), Status> {
        let resource = GroupResource::new("", "namespaces");
        let name = admission.namespace;
        let found = match self.0.get_cached(&resource, "", name).await? {
            None => self.0.get(&resource, "", name).await?,
            some => some,
        };
        let found = found.ok_or_else(|| Status::not_found(&resource, name))?;
        Ok(Policy::of(&found))
    }

    /// Enforces, warns and annotates for the pod, or the template of pods, at `path` of the object.
    /// Templates of workloads are never refused.
    async fn check(
        &self,
        admission: &mut Admission<'_>,
        path: &str,
        is_pod: bool,
    ) -> Result<(), Status> {
        let (policy, errors) = self.policy(admission).await?;
        if !errors.is_empty() {
            let text = format!("Failed to parse policy: {}", errors.to_aggregate());
            let key = "pod-security.kubernetes.io/error";
            admission.ctx.audit.annotate(key, text);
        }
        if is_pod {
            let key = "pod-security.kubernetes.io/enforce-policy";
            admission
                .ctx
                .audit
                .annotate(key, policy.enforce.to_string());
        }
        if policy.is_open() {
            return Ok(());
        }
        let violations = |admission: &Admission<'_>, mode: LevelVersion| {
            let pod = admission.object.pointer(path);
            pod.map_or_else(Vec::new, |pod| mode.violations(pod))
        };
        let audited = violations(admission, policy.audit);
        if !audited.is_empty() {
            let text = format!(
                "would violate PodSecurity \"{}\": {}",
                policy.audit,
                details(&audited)
            );
            let key = "pod-security.kubernetes.io/audit-violations";
            admission.ctx.audit.annotate(key, text);
        }
        if is_pod {
            let found = violations(admission, policy.enforce);
            if !found.is_empty() {
                let why = format!(
                    "violates PodSecurity \"{}\": {}",
                    policy.enforce,
                    details(&found)
                );
                return Err(forbidden(admission, &why));
            }
        }
        let found = violations(admission, policy.warn);
        if !found.is_empty() {
            let text = format!(
                "would violate PodSecurity \"{}\": {}",
                policy.warn,
                details(&found)
            );
            admission.ctx.warn(text);
        }
        Ok(())
    }

    async fn check_namespace(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let (policy, errors) = Policy::of(admission.object);
        let old = admission.old_object.map(Policy::of);
        let old_errors = old.as_ref().map(|(_, errors)| errors.to_aggregate());
        let is_new = old_errors.is_none_or(|old| old != errors.to_aggregate());
        if !errors.is_empty() && is_new {
            let name = text(admission.object, "/metadata/name");
            return Err(Status::invalid(
                &GroupKind::new("", "Namespace"),
                name,
                &errors,
            ));
        }
        let Some((old, _)) = old else {
            return Ok(());
        };
        let raised = policy.enforce != old.enforce
            && policy.enforce.level != Level::Privileged
            && (policy.enforce.level > old.enforce.level
                || policy.enforce.minor != old.enforce.minor);
        match raised {
            true => self.warn_of_existing(admission, policy.enforce).await,
            false => Ok(()),
        }
    }

    async fn warn_of_existing(
        &self,
        admission: &mut Admission<'_>,
        enforce: LevelVersion,
    ) -> Result<(), Status> {
        let namespace = text(admission.object, "/metadata/name").to_string();
        let resource = GroupResource::new("", "pods");
        let pods = self.0.list_cached(&resource, &namespace).await?;
        let mut groups: Vec<(String, String, usize)> = Vec::new();
        for pod in pods.iter().take(EXISTING_MAX) {
            let found = enforce.violations(pod);
            if found.is_empty() {
                continue;
            }
            let reasons: Vec<&str> = found.iter().map(|v| v.reason.as_str()).collect();
            let reasons = reasons.join(", ");
            match groups.iter_mut().find(|(known, ..)| *known == reasons) {
                Some((_, _, count)) => *count += 1,
                None => groups.push((reasons, text(pod, "/metadata/name").to_string(), 1)),
            }
        }
        if pods.len() > EXISTING_MAX {
            let total = pods.len();
            admission.ctx.warn(format!(
                "new PodSecurity enforce level only checked against the first {EXISTING_MAX} of {total} existing pods"
            ));
        }
        if groups.is_empty() {
            return Ok(());
        }
        admission.ctx.warn(format!(
            "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
        ));
        for (reasons, pod, count) in groups {
            let who = match count {
                1 => pod,
                2 => format!("{pod} (and 1 other pod)"),
                count => format!("{pod} (and {} other pods)", count - 1),
            };
            admission.ctx.warn(format!("{who}: {reasons}"));
        }
        Ok(())
    }
}

#[async_trait]
impl AdmissionPlugin for PodSecurity {
    fn stage(&self) -> &'static str {
        "admission/PodSecurity"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if is_of(admission, "", "namespaces") {
            return self.check_namespace(admission).await;
        }
        let row = (&*admission.resource.group, &*admission.resource.plural);
        if row == ("", "pods") {
            let evaluated = matches!(admission.subresource, "" | "ephemeralcontainers" | "resize");
            let significant = admission
                .old_object
                .is_none_or(|old| is_significant(admission.object, old));
            if !evaluated || !significant {
                return Ok(());
            }
            return self.check(admission, "", true).await;
        }
        if !admission.subresource.is_empty() {
            return Ok(());
        }
        let template = match row {
            ("", "podtemplates") => "/template",
            ("", "replicationcontrollers")
            | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
            | ("batch", "jobs") => "/spec/template",
            ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
            _ => return Ok(()),
        };
        let is_there = admission.object.pointer(template);
        match is_there.is_some_and(Value::is_object) {
            true => self.check(admission, template, false).await,
            false => Ok(()),
        }
    }
}

/// Whether an update changes what the checks look at and a pod's update may change.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let image = |container| (text(container, "/name"), text(container, "/image"));
    [
        "/spec/initContainers",
        "/spec/containers",
        "/spec/ephemeralContainers",
    ]
    .iter()
    .any(|list| items(pod, list).map(image).ne(items(old, list).map(image)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;
    use crate::base::tree::json;

    #[tokio::test]
    async fn namespaces_decide() {
        let namespace =
            |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(PodSecurity(FakeObjects::with(&[
            (
                "",
                "namespaces",
                namespace(
                    "base",
                    json!({"pod-security.kubernetes.io/enforce": "baseline"}),
                ),
            ),
            ("", "namespaces", namespace("open", json!({}))),
            (
                "",
                "namespaces",
                namespace("bad", json!({"pod-security.kubernetes.io/audit": "nope"})),
            ),
        ])));
        let pod = |namespace: &str| {
            json!({"metadata": {"namespace": namespace, "name": "p"},
            "spec": {"hostPID": true, "containers": [{"name": "c"}]}})
        };
        let create = Write::create("", "pods");
        assert!(create.run(&plugin, pod("open")).await.is_ok());
        let refused = create
            .run(&plugin, pod("base"))
            .await
            .expect_err("baseline");
        assert_eq!(
            refused.message,
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
        );
        // Labels that were stored before they were checked.
        let audited = create.run_audited(&plugin, pod("bad")).await;
        let annotations = audited.expect("is not enforced").1;
        let why = "Failed to parse policy: metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"nope\": must be one of privileged, baseline, restricted";
        let expected = ("pod-security.kubernetes.io/error".into(), why.to_string());
        assert!(annotations.contains(&expected), "{annotations:?}");
        let unchanged = Write::update("", "pods", pod("base"));
        assert!(unchanged.run(&plugin, pod("base")).await.is_ok());
        let deployment =
            json!({"metadata": {"namespace": "base", "name": "d"}, "spec": {"template": pod("")}});
        assert!(
            Write::create("apps", "deployments")
                .run(&plugin, deployment)
                .await
                .is_ok()
        );
        for (labels, message) in [
            (
                json!({"pod-security.kubernetes.io/enforce": "nope"}),
                "Namespace \"x\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"nope\": must be one of privileged, baseline, restricted",
            ),
            (
                json!({"pod-security.kubernetes.io/enforce-version": "v9"}),
                "Namespace \"x\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: \"v9\": must be \"latest\" or \"v1.x\"",
            ),
        ] {
            let create = Write::create("", "namespaces");
            let refused = create.run(&plugin, namespace("x", labels)).await;
            assert_eq!(refused.expect_err("bad label").message, message);
        }
    }
}
