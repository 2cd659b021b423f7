//! Imports of real files.

use std::io::Write;

use super::*;
use crate::search::{Index, Search};

fn line(n: u32) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id-{n}","stage":"ResponseComplete","requestURI":"/api","verb":"get","user":{{"username":"u"}},"requestReceivedTimestamp":"2026-01-0{}T00:00:00.000000Z","stageTimestamp":"2026-01-0{}T00:00:00.00000{}Z"}}"#,
        1 + n % 5,
        1 + n % 5,
        n % 10,
    )
}

fn run(root: &Path, inputs: &[&Path]) -> Summary {
    let inputs: Vec<Input> = inputs.iter().map(|p| Input::Path(p.into())).collect();
    let mut calls = 0;
    let summary = import(root, &inputs, ImportOptions::default(), &mut |_| calls += 1);
    assert!(calls > 0);
    summary.expect("imports")
}

async fn count(root: &Path) -> usize {
    let index = Index::open_still(root, IndexOptions::default()).expect("opens");
    let search = Search {
        limit: 1000,
        ..Search::default()
    };
    index.search(search).await.expect("searches").hits.len()
}

#[tokio::test]
async fn files_folders_and_gzip_are_imported_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("index");
    let logs = dir.path().join("logs");
    fs::create_dir_all(logs.join("deeper")).expect("makes");
    let lines = |range: std::ops::Range<u32>| -> String { range.map(|n| line(n) + "\n").collect() };
    fs::write(logs.join("audit.log"), lines(0..10) + "not an event\n").expect("writes");
    let gz = File::create(logs.join("audit-2026-01-01T00-00-00.000.log.gz")).expect("makes");
    let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
    gz.write_all(lines(8..20).as_bytes()).expect("writes");
    gz.finish().expect("writes");
    let list = format!(
        "{{\n \"kind\": \"EventList\",\n \"items\": [\n {},\n {}\n ]\n}}\n",
        line(20),
        line(21)
    );
    fs::write(logs.join("deeper/list.json"), list).expect("writes");
    fs::write(logs.join("audit.log.chain"), "sidecar").expect("writes");

    let summary = run(&root, &[&logs]);
    assert_eq!(
        (summary.files, summary.events, summary.duplicates),
        (3, 22, 2)
    );
    assert_eq!(summary.bad, 1);
    let problem = summary.problems[0].to_string();
    assert!(problem.contains("audit.log:11: is not JSON"), "{problem}");
    assert_eq!(count(&root).await, 22);

    let again = run(&root, &[&logs]);
    assert_eq!((again.events, again.duplicates), (0, 24));
    assert_eq!(count(&root).await, 22);
    assert_eq!(again.first, summary.first);
}

#[test]
fn what_cannot_be_read_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("index");
    let missing = [Input::Path(dir.path().join("missing.log"))];
    let error = import(&root, &missing, ImportOptions::default(), &mut |_| {});
    assert!(matches!(error, Err(ImportError::Open { .. })));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("makes");
    let error = import(
        &root,
        &[Input::Path(empty)],
        ImportOptions::default(),
        &mut |_| {},
    );
    assert!(matches!(error, Err(ImportError::NoFiles(_))));
    // Cut off in the middle of the compressed file: what is before it is taken.
    let path = dir.path().join("cut.log.gz");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    for n in 0..50 {
        writeln!(gz, "{}", line(n)).expect("writes");
    }
    let bytes = gz.finish().expect("finishes");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    let summary = run(&root, &[&path]);
    assert!(summary.events > 10 && summary.bad == 1, "{summary:?}");
}

#[tokio::test]
async fn a_cluster_can_be_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("index");
    let path = dir.path().join("audit.log");
    fs::write(&path, line(1) + "\n").expect("writes");
    let options = ImportOptions {
        cluster: Some("prod".into()),
        ..ImportOptions::default()
    };
    import(&root, &[Input::Path(path)], options, &mut |_| {}).expect("imports");
    let index = Index::open_still(&root, IndexOptions::default()).expect("opens");
    let search = Search {
        query: "cluster:prod".into(),
        limit: 10,
        ..Search::default()
    };
    let page = index.search(search).await.expect("searches");
    assert!(
        String::from_utf8_lossy(&page.hits[0].event)
            .contains(r#""audit.verbatim.dev/cluster":"prod""#)
    );
}
