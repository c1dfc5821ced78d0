//! The rules of the house that no lint knows: what each source file begins with and how long it
//! may be, that saved cases read back, and that the README's commands exist.

use std::fs;
use std::path::{Path, PathBuf};

use crashpoint::inner::case::Case;

/// The most lines of a source file.
const LINES: usize = 800;
/// The most columns of a line.
const COLUMNS: usize = 100;
/// Folders that hold nothing of ours.
const FOREIGN: [&str; 2] = ["target", ".git"];

/// All files below the workspace whose name ends like this, in order.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !FOREIGN.contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// What `find` says of each file with this extension, with the file's name.
fn complaints(extension: &str, find: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let of = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("text");
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display();
        find(&text).into_iter().map(|what| format!("{name}: {what}")).collect::<Vec<_>>()
    };
    files(extension).iter().flat_map(of).collect()
}

#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn untidy(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push("the first line does not say what the file is for".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES {
        found.push(format!("{lines} lines, more than {LINES}"));
    }
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        // Neither texts nor the tables of a comment can be wrapped.
        let fixed = line.contains('"') || line.starts_with("//! |") || text.contains("expect![[");
        if columns > COLUMNS && !fixed {
            found.push(format!("line {}: {columns} columns, more than {COLUMNS}", index + 1));
        }
    }
    found
}

#[test]
fn each_source_file_says_what_it_is_for_and_stays_small() {
    assert!(files("rs").len() > 50, "the files are found");
    none(&complaints("rs", untidy));
}

#[test]
fn what_is_untidy_is_found() {
    let wide = format!("//! Wide.\n{}\n", "x".repeat(COLUMNS + 1));
    let long = format!("//! Long.\n{}", "\n".repeat(LINES));
    for text in ["fn main() {}\n", &wide, &long] {
        assert_eq!(untidy(text).len(), 1, "{text}");
    }
    assert!(untidy("//! Fine.\n").is_empty());
}

#[test]
fn each_saved_case_reads_back_as_it_was_written() {
    none(&complaints("case", |text| match Case::parse(text) {
        Err(error) => vec![error.to_string()],
        Ok(case) if case.to_string() == text => Vec::new(),
        Ok(case) => vec![format!("is written as\n{case}")],
    }));
}

/// The commands of a page: lines of its shell blocks, first cells of its tables.
fn commands(page: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        // A row of a table begins with the command that it explains.
        if let Some((command, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            found.push(command.trim());
        }
        if line.starts_with("```") {
            inside = line.starts_with("```sh");
        } else if inside {
            found.push(line.split('#').next().unwrap_or_default().trim());
        }
    }
    found.retain(|line| !line.is_empty());
    found
}

#[test]
fn the_readme_names_commands_and_flags_that_exist() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.expect("the README");
    let known = crashpoint::inner::command::usage();
    let mut wrong = Vec::new();
    let commands = commands(&readme);
    assert!(!commands.is_empty(), "the commands are found");
    for command in commands {
        let ours = match command.split_once(" -- ") {
            Some((_, ours)) if command.starts_with("cargo run") => ours,
            _ => command.strip_prefix("crashpoint ").unwrap_or_default(),
        };
        let mut words = ours.split_whitespace();
        let verb = words.next().filter(|word| !word.starts_with('-'));
        let bare = ours.split_whitespace().map(|word| word.trim_matches(['[', ']']));
        let flags = bare.filter(|word| word.starts_with("--"));
        for word in verb.into_iter().chain(flags) {
            let name = word.split('=').next().unwrap_or_default();
            if !known.split([' ', ',', '\n', '[', ']']).any(|other| other == name) {
                wrong.push(format!("`{command}`: there is no `{name}`"));
            }
        }
    }
    none(&wrong);
}

/// Phrases that a native engineer words otherwise, each with the plain word.
const PHRASES: [(&str, &str); 10] = [
    ("hangs on", "depends on"),
    ("hang on", "depend on"),
    ("so many", "N, or this many"),
    ("is told", "is reported"),
    ("are told", "are reported"),
    ("whoever", "a noun"),
    ("in good order", "cleanly"),
    ("all the same", "anyway"),
    ("comes to an end", "ends"),
    ("goes on", "continues"),
];

/// The lines with such a phrase.
fn odd_phrases(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The list itself is no use of the phrases.
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.contains("(\"")) {
        let line = line.to_lowercase();
        let used = PHRASES.iter().filter(|(phrase, _)| line.contains(phrase));
        found.extend(
            used.map(|(phrase, plain)| format!("line {}: `{phrase}`: say {plain}", index + 1)),
        );
    }
    found
}

#[test]
fn no_text_has_the_worst_phrases() {
    none(&complaints("rs", odd_phrases));
    none(&complaints("md", odd_phrases));
}

#[test]
fn an_odd_phrase_is_found() {
    let [(first, _), (_, _), (third, _), ..] = PHRASES;
    let text = format!("//! Fine.\n// It {first} the seed,\n// and {third} more.\n");
    assert_eq!(odd_phrases(&text).len(), 2, "{text}");
}
