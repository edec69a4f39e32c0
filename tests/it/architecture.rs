//! The house rules of the source: imports point down, actix stays at the edge, files stay small.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The floors, from the top. A module imports from lower floors and from its own folder.
const FLOORS: &[&[&str]] = &[
    &["main", "lib", "cli", "app", "dev"],
    &["api", "worker"],
    &["accounts", "chat", "documents", "vectors", "workflow", "webhook"],
    &["tools"],
    &[
        "auth",
        "limiter",
        "metering",
        "export",
        "llm",
        "embedding",
        "retrieval",
        "jobs",
        "audit",
        "guard",
    ],
    &["store", "cluster", "net", "mail", "blob"],
    &["config", "telemetry", "runtime", "types", "text"],
];

/// Neighbours on one floor that may know each other, and why. One that is not needed any more
/// fails, too.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("cli", "app", "the command line starts what `app` puts together"),
    ("app", "dev", "`docent dev` is the app with a PostgreSQL of its own"),
    ("retrieval", "embedding", "a question is embedded before its neighbours are looked for"),
    ("telemetry", "config", "how log lines look is a setting"),
    ("config", "types", "some settings are secrets, which never print"),
];

/// Longer than a file should be, and why.
const LONG: &[(&str, &str)] = &[("src/store/schema.rs", "printed by the Diesel CLI")];
const MOST_LINES: usize = 400;

/// A source file without its tests and comments.
struct Source {
    path: String,
    module: String,
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    assert!(files.len() > 100, "the source is found");
    files.into_iter().map(|file| read(root, &file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let text = std::fs::read_to_string(file).unwrap();
    let path = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let module = path.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned();
    // By our style tests are the last thing in a file, or a file of their own.
    let code = if path.ends_with("/tests.rs") { "" } else { &text };
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap();
    let kept = code.lines().map(|line| line.split("//").next().unwrap());
    let code = kept.collect::<Vec<_>>().join("\n");
    Source { path, module, code, lines: text.lines().count() }
}

/// The modules that a piece of code reaches through `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(first_names(group));
        } else {
            found.insert(first_name(rest));
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each entry of a `{…}` group.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut entry) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.push(first_name(&std::mem::take(&mut entry))),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                entry.push(c);
            }
        }
    }
    names.push(first_name(&entry));
    names.retain(|name| !name.is_empty());
    names
}

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("{module} is on no floor: give it one"))
}

#[test]
fn imports_point_down() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for source in sources() {
        for import in imports(&source.code) {
            if import == source.module || floor(&import) > floor(&source.module) {
                continue;
            }
            let excepted =
                |(from, to, _): &&(&str, &str, &str)| (*from, *to) == (&source.module, &import);
            match EXCEPTIONS.iter().find(excepted) {
                Some(exception) => drop(used.insert(exception)),
                None => wrong.push(format!("{} imports {import}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception is not needed any more: {used:?}");
}

#[test]
fn the_reader_of_imports_reads_what_is_written() {
    let code =
        "use crate::{\n    llm::{ChatEvent, Wait},\n    net::Event,\n};\nuse crate::types::X;
        fn f() -> crate::store::Conn { pub(in crate::api) mycrate::no }";
    let found: Vec<String> = imports(code).into_iter().collect();
    assert_eq!(found, ["api", "llm", "net", "store", "types"]);
}

#[test]
fn actix_stays_at_the_edge() {
    let inside: Vec<String> = sources()
        .into_iter()
        .filter(|source| !["api", "app"].contains(&source.module.as_str()))
        .filter(|source| source.code.contains("actix"))
        .map(|source| source.path)
        .collect();
    assert_eq!(inside, Vec::<String>::new());
    assert!(sources().iter().any(|source| source.code.contains("actix_web")), "it is looked for");
}

#[test]
fn files_are_small_enough_to_be_read() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.lines > MOST_LINES)
        .filter(|source| !LONG.iter().any(|(path, _)| *path == source.path))
        .map(|source| format!("{}: {} lines", source.path, source.lines))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}
