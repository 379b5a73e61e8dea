//! Holds the arrows between the rooms (docs/architecture.md): a room may name only the rooms listed for it.
//!
//! The check reads the sources as text: every path that starts at the crate root (`crate::room`, in the binary
//! `aqlprobe::room`, also inside a `{…}` group) counts, wherever it stands. Comments do not.
#![allow(clippy::unwrap_used, reason = "a test: a file that cannot be read must fail it")]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What a room may name, as prefixes of paths from the crate root.
const ARROWS: &[(&str, &[&str])] = &[
    ("aql", &[]),
    ("faults", &[]),
    ("pci", &[]),
    ("kfd", &[]),
    ("kernels", &[]),
    ("bootstrap", &[]),
    ("hsa", &["aql"]),
    ("hsa/embedded.rs", &["aql", "runtime"]),
    ("audit", &["pci", "kfd"]),
    ("report", &["pci", "kfd", "audit"]),
    ("rocr", &["faults", "hsa", "pci", "kfd"]),
    ("verify", &["faults", "hsa", "aql", "pci", "kfd", "kernels", "report", "rocr"]),
    ("latency", &["bootstrap", "hsa", "aql", "kernels", "report", "faults", "verify::supervision"]),
    ("model", &["aql", "faults", "pci", "kfd", "hsa::sys"]),
    ("runtime", &["aql", "faults", "pci", "hsa::sys", "model"]),
    ("compare", &["bootstrap", "report"]),
    ("fleet", &["report"]),
    ("guest", &["pci", "report"]),
    ("guest/run.rs", &["pci", "report", "runtime::device"]),
    ("guest/init/fuzz.rs", &["pci", "report", "model::endpoint_registers", "runtime::device"]),
    ("cli/endpoint.rs", &["faults", "model::target", "model::vfio_user", "pci", "report"]),
    (
        "cli",
        &["faults", "latency", "verify", "report", "audit", "hsa", "pci", "kfd", "kernels", "rocr", "guest", "compare", "fleet"],
    ),
    ("main.rs", &[]),
    ("lib.rs", &[]),
];

/// One path that leaves its room against the arrows.
#[derive(Debug, PartialEq, Eq)]
struct Trespass {
    file: PathBuf,
    path: String,
}

impl fmt::Display for Trespass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} names {}", self.file.display(), self.path)
    }
}

/// The entry for a file: its own, if it has one, else its room's.
fn allowed(file: &Path) -> Option<(&'static str, &'static [&'static str])> {
    let name = file.to_string_lossy();
    let room = name.split(['/', '.']).next().unwrap_or_default();
    let entry = |wanted: &str| ARROWS.iter().find(|(room, _)| *room == wanted).copied();
    entry(&name)
        .or_else(|| entry(room))
        .map(|(_, prefixes)| (ARROWS.iter().find(|(known, _)| *known == room).map_or("", |(known, _)| known), prefixes))
}

/// The source without comments and string literals' contents do not matter here: a path in a string is not a path.
fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every path from the crate root, two segments deep.
fn root_paths(source: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for root in ["crate::", "aqlprobe::"] {
        for (at, _) in source.match_indices(root) {
            if source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                continue;
            }
            collect(&source[at + root.len()..], &mut paths);
        }
    }
    paths
}

fn collect(rest: &str, paths: &mut BTreeSet<String>) {
    let rest = rest.trim_start();
    let Some(group) = rest.strip_prefix('{') else {
        paths.insert(first_segments(rest));
        return;
    };
    let mut depth = 0_usize;
    let mut item = String::new();
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                collect(&std::mem::take(&mut item), paths);
                continue;
            }
            _ => {}
        }
        item.push(character);
    }
    if !item.trim().is_empty() {
        collect(&item, paths);
    }
}

fn first_segments(path: &str) -> String {
    let end =
        path.find(|character: char| !(character.is_alphanumeric() || character == '_' || character == ':')).unwrap_or(path.len());
    path[..end].trim_end_matches(':').split("::").take(2).collect::<Vec<_>>().join("::")
}

/// Whether `path` is `prefix` or lies below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn trespasses(file: &Path, source: &str) -> Vec<Trespass> {
    let Some((room, prefixes)) = allowed(file) else {
        return vec![Trespass { file: file.to_owned(), path: "a room that docs/architecture.md does not have".to_owned() }];
    };
    root_paths(&without_comments(source))
        .into_iter()
        .filter(|path| path.starts_with(|first: char| first.is_lowercase()))
        .filter(|path| !is_below(path, room) && !prefixes.iter().any(|prefix| is_below(path, prefix)))
        .map(|path| Trespass { file: file.to_owned(), path })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_room_names_a_room_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 10, "the sources were not found under {}", root.display());
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| trespasses(file.strip_prefix(&root).unwrap(), &fs::read_to_string(file).unwrap()))
        .map(|trespass| trespass.to_string())
        .collect();
    assert!(found.is_empty(), "against the arrows of docs/architecture.md:\n{}", found.join("\n"));
}

#[test]
fn an_import_against_an_arrow_is_found_in_every_spelling() {
    let named =
        |file: &str, source: &str| trespasses(Path::new(file), source).into_iter().map(|found| found.path).collect::<Vec<_>>();
    assert_eq!(named("verify/case.rs", "use crate::runtime::abi;"), ["runtime::abi"]);
    assert_eq!(named("verify/case.rs", "use crate::{hsa::Api, model};"), ["model"]);
    assert_eq!(named("verify/case.rs", "fn f() { crate::model::gpu::Gpu::start() }"), ["model::gpu"]);
    assert_eq!(named("cli/verify.rs", "use aqlprobe::{report, runtime::{self, bed}};"), ["runtime"]);
    assert_eq!(named("model/gpu.rs", "use crate::hsa::{Api, sys};"), ["hsa"]);
    assert_eq!(named("hsa/api.rs", "use crate::runtime::abi;"), ["runtime::abi"]);
    assert_eq!(named("attic/old.rs", ""), ["a room that docs/architecture.md does not have"]);
}

#[test]
fn an_import_along_an_arrow_passes() {
    assert_eq!(trespasses(Path::new("verify/case.rs"), "use crate::hsa::Api;\nuse crate::verify::x; // crate::model"), []);
    assert_eq!(trespasses(Path::new("hsa/embedded.rs"), "use crate::runtime::abi;"), []);
    assert_eq!(trespasses(Path::new("model/gpu.rs"), "use crate::hsa::sys::amd_queue_t;"), []);
    assert_eq!(trespasses(Path::new("pci/dump.rs"), "use super::config::ConfigSpace;"), []);
}
