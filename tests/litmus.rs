//! The model of the disk against what real kernels leave behind, and against what others found
//! out about them.

#[path = "litmus/ace.rs"]
mod ace;
#[path = "litmus/lists.rs"]
mod lists;
#[path = "litmus/mutations.rs"]
mod mutations;
#[path = "litmus/real.rs"]
mod real;
#[path = "litmus/xfstests.rs"]
mod xfstests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crashpoint::disk::profile::Profile;
use crashpoint::litmus::{Program, explore};

/// The folder of programs and observations.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litmus")
}

/// The program of a file.
fn program(name: &str) -> Program {
    let text = std::fs::read_to_string(folder().join(format!("{name}.litmus"))).expect("a program");
    Program::parse(&text).expect("it parses")
}

/// A program on one line.
fn inline(text: &str) -> Program {
    Program::parse(&text.replace("; ", "\n")).expect("it parses")
}

/// The states of a program, each as one line.
fn allowed(program: &Program, profile: &Profile, tear: bool) -> BTreeSet<String> {
    let states = explore(program, profile, tear).expect("it runs");
    states.into_iter().map(|state| state.state.join("; ")).collect()
}
