//! Every function that the C library exports, and every system call, is treated in a way that is
//! written down: a door serves it, it is refused by name, or a list says why neither is needed.
//!
//! A newer C library or kernel may have more. Then the new names are printed; they are errors where
//! the environment has `CRASHPOINT_NEW_EXPORTS=error`, as in CI.

#[path = "exports/elf.rs"]
mod elf;
#[path = "exports/list.rs"]
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crashpoint::inner::process::doors::{Trap, Treatment, refused_symbols, symbols, system_calls};

use elf::{Export, exports};
use list::{Differences, compare};

const EXEMPT: &str = include_str!("exports/exempt.txt");
const EXEMPT_CALLS: &str = include_str!("exports/exempt_calls.txt");
const CALLS: &str = include_str!("exports/system_calls.txt");
const HEADER: &str = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";

/// The C library of this process.
fn library() -> BTreeMap<String, Export> {
    let maps = fs::read_to_string("/proc/self/maps").expect("the kernel shows it");
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let path = paths.find(|path| path.contains("/libc.so.6") || path.contains("/libc-2."));
    let image = fs::read(path.expect("glibc is mapped")).expect("its file can be read");
    exports(&image).expect("it is a shared library")
}

/// The numbers of the system calls by name: those of the list, and those of the system's header.
fn calls() -> BTreeMap<String, i64> {
    let header = fs::read_to_string(HEADER).unwrap_or_default();
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define __NR_"));
    let defined = defined.filter_map(|line| line.split_once(' '));
    let listed = CALLS.lines().filter_map(|line| line.split_once(' '));
    let listed = listed.map(|(number, name)| (name, number));
    let parsed =
        |(name, number): (&str, &str)| Some((name.to_owned(), number.trim().parse().ok()?));
    listed.chain(defined).filter_map(parsed).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

/// Fails for what is wrong anywhere, and for what a newer system may bring if that was asked for.
#[expect(clippy::print_stderr, reason = "what is new is shown, also if the test passes")]
fn report(what: &str, differences: &Differences) {
    assert!(differences.twice.is_empty(), "{what} listed twice: {:?}", differences.twice);
    for (found, names) in [("new", &differences.new), ("gone", &differences.gone)] {
        if !names.is_empty() {
            eprintln!("{what} {found}: {}", names.join(" "));
        }
    }
    let strict = std::env::var_os("CRASHPOINT_NEW_EXPORTS").is_some_and(|value| value == "error");
    let same = differences.new.is_empty() && differences.gone.is_empty();
    assert!(same || !strict, "{what} differ from tests/exports: {differences:?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts")]
fn every_export_of_the_c_library_is_classified() {
    let library = library();
    let (doors, refused) = (set(symbols()), set(refused_symbols()));
    let linked = library.iter().filter(|(_, export)| **export == Export::Linked);
    let linked = set(linked.map(|(name, _)| name.as_str()));
    let of = |kind| library.values().filter(|export| **export == kind).count();
    assert!(linked.len() > 1000, "{}", linked.len());
    eprintln!(
        "{} exports: {} private, {} for old binaries alone, {} to link: {} served, {} refused, {} exempt",
        library.len(),
        of(Export::Private),
        of(Export::Old),
        linked.len(),
        linked.intersection(&doors).count() - linked.intersection(&refused).count(),
        linked.intersection(&refused).count(),
        linked.difference(&doors).count(),
    );
    report("exports", &compare(&linked, &doors, EXEMPT));
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts")]
fn every_system_call_is_classified() {
    let calls = calls();
    let all = set(calls.keys().map(String::as_str));
    let rows: Vec<_> = system_calls().collect();
    let numbers: BTreeSet<i64> = rows.iter().map(|row| row.0).collect();
    let treated = calls.iter().filter(|(_, number)| numbers.contains(*number));
    let treated = set(treated.map(|(name, _)| name.as_str()));
    let refused = rows.iter().filter(|row| row.1 == Treatment::Refused).count();
    let inside = rows.iter().filter(|row| row.2 == Trap::Always).count();
    let on_disk = rows.iter().filter(|row| matches!(row.2, Trap::Descriptor(_))).count();
    eprintln!(
        "{} system calls: {} served, {refused} refused, {} exempt; inside the C library {inside} \
         are trapped always, {on_disk} on a simulated descriptor",
        all.len(),
        rows.len() - refused,
        all.len() - treated.len(),
    );
    report("system calls", &compare(&all, &treated, EXEMPT_CALLS));
}

#[test]
fn a_name_that_is_new_gone_or_listed_twice_is_found() {
    let found = set(["read", "strlen", "teleport"]);
    let list = "# Pure.\nstrlen gone\nread\n\n# Again.\nstrlen\n";
    let differences = compare(&found, &set(["read"]), list);
    assert_eq!(differences.new, ["teleport"]);
    assert_eq!(differences.gone, ["gone"]);
    assert_eq!(differences.twice, ["read", "strlen"]);
}

#[test]
fn a_name_needs_a_reason() {
    let compared = std::panic::catch_unwind(|| compare(&set(["read"]), &set([]), "read\n").new);
    let payload = compared.expect_err("the name has no reason");
    let text = payload.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains("without a reason"), "{text}");
}

#[test]
fn a_door_that_is_taken_away_is_missed() {
    let library = library();
    let linked = set(library.keys().map(String::as_str));
    for name in ["openat", "_Fork", "opendir", "setxattr"] {
        let mut doors = set(symbols());
        assert!(doors.remove(name), "{name}");
        assert!(compare(&linked, &doors, EXEMPT).new.contains(&name.to_owned()), "{name}");
    }
}

#[test]
fn the_table_of_symbols_is_read() {
    let library = library();
    for (name, export) in [
        ("open", Some(Export::Linked)),
        ("strlen", Some(Export::Linked)),
        ("environ", None),
        ("teleport", None),
    ] {
        assert_eq!(library.get(name).copied(), export, "{name}");
    }
    assert!(library.values().any(|export| *export == Export::Private));
    assert_eq!(exports(b"\x7fELF"), None);
}
