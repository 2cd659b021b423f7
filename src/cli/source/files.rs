//! Audit logs in files: imported into an index in a temporary folder, which answers as a server
//! would.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use http::{HeaderMap, Method, Uri};

use crate::api::status::Status;
use crate::audit::Recorder;
use crate::audit::metrics::Metrics as AuditMetrics;
use crate::base::tree::Value;
use crate::cli::client::Refusal;
use crate::diagnose::api::{Asked, RecordApi};
use crate::request::{ApiRequest, Body, RequestContext, RequestInfo};
use crate::search::api::{EventsApi, WatchLimits};
use crate::search::import::{ImportOptions, Input, Summary, import};
use crate::search::{Hub, Index, IndexOptions};
use crate::telemetry::Metrics;

/// Problems that are told.
const PROBLEMS_SHOWN: usize = 3;

/// The files' record.
pub struct Files {
    api: RecordApi,
    _folder: Folder,
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("verbatim-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Files {
    /// Imports the files; says on standard error what could not be read.
    pub async fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let root = folder.0.join("index");
        let inputs: Vec<Input> = paths
            .iter()
            .map(|path| Input::of(&path.to_string_lossy()))
            .collect();
        let import_root = root.clone();
        let work = move || {
            let mut progress = |_: &_| {};
            import(
                &import_root,
                &inputs,
                ImportOptions::default(),
                &mut progress,
            )
        };
        let summary = tokio::task::spawn_blocking(work).await?;
        let summary = summary.context("reading the files")?;
        tell(&summary);
        if summary.events == 0 {
            bail!("there are no audit events in the files");
        }
        let index = Index::open_still(&root, IndexOptions::default());
        let index = index.context("opening the temporary index")?;
        Ok(Files {
            api: api(index, &folder.0),
            _folder: folder,
        })
    }

    /// Gets JSON.
    pub async fn get(&self, path_and_query: &str) -> anyhow::Result<Value> {
        let ctx = context(Method::GET, path_and_query)?;
        let mut request = ApiRequest::new(ctx, axum::body::Body::empty());
        let response = self.api.handle(&mut request).await;
        let Body::Segments(body) = response.body else {
            bail!("files do not answer with streams");
        };
        let tree: Value = serde_json::from_slice(&body.concat()).context("the answer")?;
        if response.status.is_success() {
            return Ok(tree);
        }
        let message = tree["message"].as_str().unwrap_or_default().to_string();
        Err(refused(response.status.as_u16(), message).into())
    }

    /// Posts JSON and answers JSON.
    pub async fn post(&self, path_and_query: &str, body: &Value) -> anyhow::Result<Value> {
        let ctx = context(Method::POST, path_and_query)?;
        let mut object = body.clone();
        let answered = self.api.summarize(&ctx, &mut object).await;
        answered.map_err(|status: Status| refused(status.code, status.message))?;
        Ok(object)
    }
}

fn refused(code: u16, message: String) -> Refusal {
    Refusal {
        code,
        message,
        hint: String::new(),
    }
}

fn api(index: std::sync::Arc<Index>, folder: &Path) -> RecordApi {
    let metrics = Metrics::new(&[]);
    // Nothing is recorded here, and no log grows.
    let hub = Hub::new(&folder.join("no.log"), &metrics);
    let recorder = Recorder::new(None, Vec::new(), AuditMetrics::of(&metrics));
    let events = EventsApi::new(index, hub, recorder, WatchLimits::default());
    RecordApi::new(events, Asked::default())
}

fn context(method: Method, path_and_query: &str) -> anyhow::Result<RequestContext> {
    let uri: Uri = path_and_query.parse().context("the path")?;
    let mut ctx = RequestContext::new(method, uri, HeaderMap::new(), None);
    let query = ctx.uri.query().unwrap_or_default().to_string();
    let parsed = RequestInfo::parse(&ctx.method, ctx.uri.path(), &query);
    ctx.info = match parsed {
        Ok(info) => info,
        Err(_) => bail!("{path_and_query:?} is no path of the API"),
    };
    Ok(ctx)
}

/// Says what was read, and what could not be.
fn tell(summary: &Summary) {
    for problem in summary.problems.iter().take(PROBLEMS_SHOWN) {
        eprintln!("{problem}");
    }
    if summary.bad > PROBLEMS_SHOWN as u64 {
        let more = summary.bad - PROBLEMS_SHOWN as u64;
        eprintln!("{more} more lines are no audit events");
    }
    if std::io::stderr().is_terminal() {
        eprintln!("{} events in {} files", summary.events, summary.files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_answer_as_a_server_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/x/pods/p","verb":"delete","user":{"username":"alice"},"objectRef":{"resource":"pods","namespace":"x","name":"p","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z","stageTimestamp":"2026-01-01T00:00:01.700000Z"}"#;
        std::fs::write(&path, format!("{event}\nno event\n")).expect("writes");
        let files = Files::read(&[path]).await.expect("reads");
        let folder = files._folder.0.clone();
        let base = "/apis/audit.verbatim.dev/v1alpha1";
        let path = format!("{base}/auditevents?query=verb:delete&limit=5&continue=");
        let list = files.get(&path).await.expect("a list");
        assert_eq!(list["items"][0]["user"]["username"], "alice", "{list}");
        let why = files.get(&format!("{base}/explanations/a-1")).await;
        assert_eq!(why.expect("an explanation")["code"], 200);
        let missing = files.get(&format!("{base}/explanations/a-2")).await;
        let missing = missing.expect_err("no such request");
        assert_eq!(missing.downcast_ref::<Refusal>().map(|r| r.code), Some(404));
        let summary = crate::base::tree::json!({"kind": "AuditSummary", "spec": {"by": ["user"]}});
        let summary = files
            .post(&format!("{base}/auditsummaries"), &summary)
            .await;
        let summary = summary.expect("a summary");
        assert_eq!(
            summary["status"]["groups"][0]["key"]["user"], "alice",
            "{summary}"
        );
        drop(files);
        assert!(!folder.exists());
    }
}
