//! Checks `runbooks/`: what the pages tell people to type must work.

use std::path::Path;

use crate::search::query;
use crate::telemetry;

/// The pages: name and text.
fn pages() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let entries = std::fs::read_dir(dir).expect("runbooks/");
    let mut pages: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.expect("a page").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("text");
            (name.into_owned(), text)
        })
        .collect();
    pages.sort();
    pages
}

/// Code of a page: the lines of its blocks, and its spans.
fn code(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut is_block = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            out.push(line.trim().to_string());
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    out.extend(prose.split('`').skip(1).step_by(2).map(str::to_string));
    out
}

/// The words of a command line.
fn words(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_whitespace() => out.push(String::new()),
            (_, c) => out.last_mut().expect("there is one").push(c),
        }
    }
    out.retain(|word| !word.is_empty());
    out
}

#[test]
fn every_command_in_a_runbook_parses() {
    let mut checked = 0;
    for (page, text) in pages() {
        for line in code(&text).iter().filter(|l| l.starts_with("verbatim ")) {
            // A word in prose, like `verbatim …`.
            if line.contains('…') {
                continue;
            }
            let words = words(line);
            if words.get(1).is_some_and(|w| w == "serve") {
                continue;
            }
            let parsed = super::command().try_get_matches_from(&words);
            if let Err(error) = parsed {
                panic!("{page}: {line}\n{error}");
            }
            if matches!(words[1].as_str(), "search" | "top" | "stats")
                && let Some(question) = words.get(2).filter(|w| !w.starts_with('-'))
                && let Err(error) = query::parse(question)
            {
                panic!("{page}: {line}\n{error}");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} commands were found");
}

#[test]
fn every_metric_in_a_runbook_exists() {
    let names = telemetry::family_names();
    let is_known = |word: &str| {
        let suffixes = ["", "_bucket", "_sum", "_count"];
        suffixes.iter().any(|suffix| {
            word.strip_suffix(suffix)
                .is_some_and(|name| names.contains(&name))
        })
    };
    // What etcd itself exports.
    let is_etcds = |word: &str| word.starts_with("etcd_disk_") || word.starts_with("etcd_server_");
    let is_metric = |word: &&str| {
        let starts = [
            "apiserver_",
            "authentication_",
            "authorization_",
            "etcd_",
            "verbatim_",
        ];
        starts.iter().any(|s| word.starts_with(s))
    };
    let mut checked = 0;
    for (page, text) in pages() {
        for line in code(&text) {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(is_metric) {
                assert!(
                    is_known(word) || is_etcds(word),
                    "{page}: there is no metric {word}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} metrics were found");
}

#[test]
fn every_page_is_in_the_table_and_has_its_parts() {
    let pages = pages();
    let (_, table) = pages
        .iter()
        .find(|(name, _)| name == "README.md")
        .expect("runbooks/README.md");
    for (name, text) in pages.iter().filter(|(name, _)| name != "README.md") {
        assert!(
            table.contains(&format!("({name})")),
            "{name} is not in the table"
        );
        for part in ["# ", "## See it", "## Fix it", "## Is it over?"] {
            assert!(text.contains(part), "{name} lacks {part:?}");
        }
    }
    for class in crate::diagnose::cause::CLASSES {
        let is_listed =
            class.runbook().is_empty() || table.contains(&format!("`{}`", class.as_str()));
        assert!(is_listed, "{class:?} is not in the table");
    }
}
