//! The model of the disk against what real kernels leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crashpoint::disk::profile::Profile;
use crashpoint::litmus::{Program, explore};

/// One line of `truth.jsonl`.
struct Seen {
    fs: String,
    program: String,
    torn: bool,
    states: BTreeSet<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litmus")
}

fn truth() -> Vec<Seen> {
    let text = std::fs::read_to_string(folder().join("truth.jsonl")).expect("the observations");
    let read = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |key: &str| value[key].as_str().expect("a text").to_owned();
        let lines = |state: &serde_json::Value| {
            let lines = state["state"].as_array().expect("lines").iter();
            lines.map(|line| line.as_str().expect("a line")).collect::<Vec<_>>().join("; ")
        };
        Seen {
            fs: text("fs"),
            program: text("program"),
            torn: value["torn"].as_bool().expect("a flag"),
            states: value["states"].as_array().expect("states").iter().map(lines).collect(),
        }
    };
    text.lines().map(read).collect()
}

fn profile(fs: &str) -> Profile {
    let name = match fs {
        "ext4,dioread_lock" => "ext4-dioread-lock",
        "ext4,nodelalloc" => "ext4-nodelalloc",
        "ext4,data=writeback" => "ext4-writeback",
        "ext4,data=journal" => "ext4-journal",
        other => other,
    };
    Profile::by_name(name).expect("a profile for each file system")
}

fn program(name: &str) -> Program {
    let text = std::fs::read_to_string(folder().join(format!("{name}.litmus"))).expect("a program");
    Program::parse(&text).expect("it parses")
}

fn allowed(program: &Program, profile: &Profile, tear: bool) -> BTreeSet<String> {
    let states = explore(program, profile, tear).expect("it runs");
    states.into_iter().map(|state| state.state.join("; ")).collect()
}

#[test]
fn every_state_that_a_real_kernel_left_is_allowed() {
    let mut missing = Vec::new();
    let mut extra: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for seen in truth() {
        let allowed = allowed(&program(&seen.program), &profile(&seen.fs), seen.torn);
        for state in seen.states.difference(&allowed) {
            missing.push(format!("{} {} torn={}: {state}", seen.fs, seen.program, seen.torn));
        }
        for state in allowed.difference(&seen.states).filter(|_| !seen.torn) {
            extra.entry((seen.program.clone(), seen.fs.clone())).or_default().push(state.clone());
        }
    }
    for ((program, fs), states) in &extra {
        for state in states {
            println!("extra {program:20} {fs:20} {state}");
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
