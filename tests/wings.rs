//! The order of the wings: no import of `src/` points up, and no files import each other in a
//! circle. `ARCHITECTURE.md` says what each wing is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The wings from the bottom up, and within `process` its own.
const ORDER: [&str; 19] = [
    "base",
    "disk",
    "litmus",
    "sim",
    "oracle",
    "case",
    "log",
    "process::seam",
    "process::world",
    "process::threads",
    "process::doors",
    "host",
    "explore",
    "campaign",
    "shrink",
    "report",
    "nightly",
    "check",
    "command",
];

/// The source text of each module, by its path from the crate's root.
type Sources = BTreeMap<String, String>;

/// For each module, the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Sources::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).expect("below src").with_extension("");
            let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            let module = parts.join("::");
            let module = module.strip_suffix("::mod").unwrap_or(&module);
            if !["lib", "build"].contains(&module) {
                sources.insert(module.to_owned(), fs::read_to_string(&path).expect("text"));
            }
        }
    }
    sources
}

/// The code of a file, without comments, strings and its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut last = ' ';
        for (index, c) in line.char_indices() {
            if !in_string && line[index..].starts_with("//") {
                break;
            }
            if c == '"' && last != '\\' && last != '\'' {
                in_string = !in_string;
            } else if !in_string {
                code.push(c);
            }
            last = c;
        }
        code.push('\n');
    }
    code
}

/// The paths of a `use` tree such as `crate::a::{b, c::{d, e}}`.
fn flat(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim().to_owned()];
    };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (index, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&body[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&body[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(flat).map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// Every `crate::` and `super::` path of a file. Re-exports of a `mod.rs` from its own files are
/// none of them: they name what lies below.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code.to_owned();
    while let Some(start) = rest.find("use ") {
        let Some(end) = rest[start..].find(';') else { break };
        let tree = rest[start + 4..start + end].split_whitespace().collect::<Vec<_>>().join(" ");
        let before = rest[..start].chars().next_back();
        if before.is_none_or(|c| c.is_whitespace()) {
            paths.extend(flat(&tree));
        }
        rest.replace_range(start..=start + end, " ");
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = rest.split(|c| !is_word(c)).map(|word| word.trim_end_matches(':').to_owned());
    paths.extend(words);
    paths.retain(|path| path.starts_with("crate::") || path.starts_with("super::"));
    paths
}

/// The module that a path in `module` leads to.
fn module_of(path: &str, module: &str, sources: &Sources) -> Option<String> {
    let mut base: Vec<&str> = Vec::new();
    let mut parts: Vec<&str> = path.split("::").collect();
    if parts.first() == Some(&"super") {
        base = module.split("::").collect();
    }
    while parts.first().is_some_and(|first| ["crate", "super"].contains(first)) {
        if parts.remove(0) == "super" {
            base.pop();
        }
    }
    base.extend(parts);
    (1..=base.len()).rev().map(|n| base[..n].join("::")).find(|name| sources.contains_key(name))
}

fn imports(sources: &Sources) -> Imports {
    let of = |(module, text): (&String, &String)| {
        let paths = paths(&code(text));
        let modules = paths.iter().filter_map(|path| module_of(path, module, sources));
        (module.clone(), modules.filter(|other| other != module).collect())
    };
    sources.iter().map(of).collect()
}

/// The place of a module's wing in the order; `None` for the `mod.rs` of `process`, which lists
/// its own wings.
fn rank(module: &str) -> Option<usize> {
    let inside = |wing: &&str| {
        module.strip_prefix(*wing).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    ORDER.iter().position(inside)
}

/// The imports that point up.
fn upward(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (from, all) in imports {
        let pairs = all.iter().filter_map(|to| Some((to, rank(from)?, rank(to)?)));
        found.extend(
            pairs.filter(|(_, from, to)| from < to).map(|(to, ..)| format!("{from} -> {to}")),
        );
    }
    found
}

/// The modules that can be reached from each other.
fn circles(imports: &Imports) -> Vec<String> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut left: Vec<&String> = imports[from].iter().collect();
        while let Some(next) = left.pop() {
            if seen.insert(next.clone()) {
                left.extend(&imports[next]);
            }
        }
        seen
    };
    let reached: Imports = imports.keys().map(|from| (from.clone(), reach(from))).collect();
    let pairs = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| reached[*to].contains(*from))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect()
}

#[test]
fn no_import_points_up_and_no_files_form_a_circle() {
    let sources = sources();
    assert!(sources.len() > 100, "the files are found");
    let unknown: Vec<_> =
        sources.keys().filter(|module| rank(module).is_none() && *module != "process").collect();
    assert!(unknown.is_empty(), "no wing has {unknown:?}");
    let imports = imports(&sources);
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    assert!(arrows > 300, "the imports are found: {arrows}");
    assert_eq!(upward(&imports), [""; 0], "imports that point up");
    assert_eq!(circles(&imports), [""; 0], "imports that lie on a circle");
}

#[test]
fn an_import_that_points_up_and_a_circle_are_found() {
    let of = |pairs: &[(&str, &str)]| {
        let sources = pairs.iter().map(|(module, text)| ((*module).to_owned(), (*text).to_owned()));
        imports(&sources.collect())
    };
    let up = of(&[
        ("disk", ""),
        ("disk::tree", "//! Text.\nuse crate::{base::time, sim::engine::Engine as E};\n"),
        ("base::time", "fn a() {}\n"),
        ("sim::engine", ""),
    ]);
    assert_eq!(upward(&up), ["disk::tree -> sim::engine"]);
    let inline = of(&[("log", "fn a() {\n    crate::explore::b();\n}\n"), ("explore", "")]);
    assert_eq!(upward(&inline), ["log -> explore"]);
    let within = of(&[("process::seam", "use super::world::X;\n"), ("process::world", "")]);
    assert_eq!(upward(&within), ["process::seam -> process::world"]);
    let circle = of(&[
        ("disk::a", "use super::b::B;\n"),
        ("disk::b", "use super::{\n    c::{C, D},\n};\n"),
        ("disk::c", "use crate::disk::a::A;\n"),
        (
            "disk::d",
            "use super::a::A; // use crate::explore::X;\nconst S: &str = \"crate::log\";\n",
        ),
    ]);
    assert_eq!(upward(&circle), [""; 0]);
    let all = ["disk::a -> disk::b", "disk::b -> disk::c", "disk::c -> disk::a"];
    assert_eq!(circles(&circle), all);
    let tests = of(&[
        ("base::text", "#[cfg(test)]\nmod tests {\n    use crate::disk::X;\n}\n"),
        ("disk", ""),
    ]);
    assert_eq!(upward(&tests), [""; 0]);
}
