//! ARCHITECTURE.md and the code say the same: filter order, module levels, and the few rules that
//! rot when nobody looks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there")
}

/// Every source file with its path below `src`.
fn sources() -> Vec<(String, String)> {
    rust_files(&root().join("src"))
}

/// Every Rust file below a folder, with its path from there.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    fn visit(dir: &Path, base: &Path, out: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                visit(&path, base, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(base).expect("below the folder");
                let text = fs::read_to_string(&path).expect("sources are text");
                out.push((name.display().to_string(), text));
            }
        }
    }
    let mut out = Vec::new();
    visit(folder, folder, &mut out);
    out.sort();
    out
}

/// The file without comments and without its tests.
fn code(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs")
        || name.contains("/tests/")
        || name.ends_with("testing.rs")
        || name.ends_with("conformance.rs")
}

#[test]
fn the_documented_filter_order_is_the_chain_s() {
    let document = document();
    let section = document
        .split("## The way of a request")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the section is there");
    let documented: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(documented, verbatim::filters::chain::ORDER);
}

#[test]
fn modules_import_downwards_only() {
    let document = document();
    let section = document
        .split("## Levels")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the section is there");
    let mut levels: HashMap<&str, usize> = HashMap::new();
    for line in section.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, level, modules, _] = cells[..]
            && let Ok(level) = level.parse()
        {
            levels.extend(modules.split_whitespace().map(|module| (module, level)));
        }
    }
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some((module, _)) = name.split_once('/') else {
            continue;
        };
        let own = levels.get(module);
        let own = *own.unwrap_or_else(|| panic!("{module} has no level in ARCHITECTURE.md"));
        if is_test_file(&name) {
            continue;
        }
        let code = code(&text);
        for part in code.split("crate::").skip(1) {
            let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_');
            let imported = &part[..end.unwrap_or(part.len())];
            let above = levels.get(imported).is_some_and(|level| *level >= own);
            if imported != module && above {
                wrong.push(format!("{name} imports {imported}"));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn nothing_is_left_undone() {
    let forbidden = [
        ".unwrap()",
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        "#[allow(",
    ];
    let mut found = Vec::new();
    for (name, text) in sources() {
        let code = code(&text);
        for word in forbidden {
            if code.contains(word) {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Threads of users that are answered: each has a test whose name begins `thread_NN`.
const THREADS: [u32; 28] = [
    1, 2, 4, 5, 6, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 31, 33, 34, 35,
    36, 37, 38,
];

#[test]
fn every_answered_thread_has_a_test() {
    let mut named = std::collections::BTreeSet::new();
    for folder in ["src", "tests"] {
        for (_, text) in rust_files(&root().join(folder)) {
            for name in text.split("fn thread_").skip(1) {
                // A test may answer several: `thread_01_02_…`.
                let numbers = name.split('_').map_while(|part| part.parse::<u32>().ok());
                named.extend(numbers);
            }
        }
    }
    let missing = THREADS.into_iter().filter(|t| !named.contains(t));
    let missing: Vec<u32> = missing.collect();
    assert!(
        missing.is_empty(),
        "no test is named after threads {missing:?}"
    );
}
