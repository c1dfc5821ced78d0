//! The public interface: the names that `src/lib.rs` exports. A change shows here in review.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use expect_test::expect_file;

/// The names that a source file exports by `pub use`, without those for our own tests.
fn exported(text: &str) -> BTreeSet<String> {
    let text = text.split("pub mod inner").next().unwrap_or_default();
    let uses = text.split("pub use ").skip(1);
    uses.flat_map(|rest| {
        let tree = rest.split(';').next().unwrap_or_default();
        let names = tree.split_once('{').map_or_else(
            || tree.rsplit("::").next().unwrap_or_default(),
            |(_, names)| names.trim_end().trim_end_matches('}'),
        );
        names.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    })
    .filter(|name| !name.is_empty())
    .collect()
}

fn lib() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    fs::read_to_string(path).expect("lib.rs")
}

#[test]
fn the_public_names_are_these() {
    let names: Vec<String> = exported(&lib()).into_iter().collect();
    expect_file!["public.txt"].assert_eq(&(names.join("\n") + "\n"));
}

#[test]
fn modules_are_private_but_for_the_disk_alone_and_ours() {
    let text = lib();
    let modules = text.lines().filter_map(|line| line.trim().strip_prefix("pub mod "));
    let names: Vec<&str> = modules.map(|rest| rest.trim_end_matches([' ', '{', ';'])).collect();
    assert_eq!(names, ["simulated_disk", "inner"]);
    assert!(!text.split("pub mod inner").next().unwrap_or_default().contains("::*"));
}

#[test]
fn exported_names_are_found() {
    let text =
        "pub use a::B;\npub use c::{\n    D, E,\n};\npub mod inner {\n    pub use x::*;\n}\n";
    let names: Vec<String> = exported(text).into_iter().collect();
    assert_eq!(names, ["B", "D", "E"]);
}
