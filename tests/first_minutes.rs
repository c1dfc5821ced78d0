//! The first ten minutes of a new user: put a small store under test.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crashpoint::{Class, Entry, Error, KeyValue, Seed, Store, check_case, find, sim};

/// The store of the README; `SYNC` says whether `sync` does what it promises.
struct Lines<const SYNC: bool> {
    log: File,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<const SYNC: bool> crashpoint::Store for Lines<SYNC> {
    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path)?;
        File::open(dir)?.sync_all()?;
        let bytes = std::fs::read(&path)?;
        // A crash may leave zeros, and the front of a line.
        let written = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let whole = bytes[..written].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            log.set_len(whole as u64)?;
            log.sync_all()?;
        }
        let mut items = BTreeMap::new();
        for line in bytes[..whole].split(|&b| b == b'\n') {
            match line.splitn(3, |&b| b == b' ').collect::<Vec<_>>()[..] {
                [b"put", key, value] => drop(items.insert(key.to_vec(), value.to_vec())),
                [b"delete", key] => drop(items.remove(key)),
                _ => {}
            }
        }
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"put ", key, b" ", value, b"\n"].concat())?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"delete ", key, b"\n"].concat())?;
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        if SYNC {
            self.log.sync_data()?;
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}

#[test]
fn a_store_that_syncs_passes() {
    crashpoint::check_store::<Lines<true>>();
}

/// The text that the passing test of a sim left.
fn passed(sim: &str) -> String {
    let executable = std::env::current_exe().expect("the path of this test");
    let tagged = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let target = executable.ancestors().skip(1).find(tagged).expect("a target folder");
    std::fs::read_to_string(target.join(format!("crashpoint/{sim}.txt"))).expect("the text")
}

/// The numbers before and after ` recoveries of ` in a text.
fn spent(text: &str) -> Vec<(u64, u64)> {
    let number = |word: Option<&str>| word.and_then(|word| word.trim_matches(',').parse().ok());
    let parts = text.match_indices(" recoveries of ").map(|(at, found)| {
        let spent = number(text[..at].split(' ').next_back());
        (spent, number(text[at + found.len()..].split(' ').next()))
    });
    parts.filter_map(|(spent, of)| Some((spent?, of?))).collect()
}

#[test]
fn a_passing_test_spends_its_budget_and_says_what_it_left_out() {
    crashpoint::check_store::<Named<Lines<true>>>();
    let text = passed("spends");
    let parts = spent(&text);
    assert_eq!(parts.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [2400, 800, 800], "{text}");
    assert!(parts.iter().all(|(spent, of)| spent >= of || text.contains("ended early")), "{text}");
    assert!(parts[0].0 >= 2400, "{text}");
    for line in [
        "spends: no violation in 120 workloads without a crash",
        "not tested: errors of calls and full disks: none is listed as survived",
        "not tested: other seeds than 0x0000000000000001",
    ] {
        assert!(text.contains(line), "no line `{line}` in:\n{text}");
    }
}

/// The same store under a name of its own.
struct Named<S>(S);

impl<S: Store> Store for Named<S> {
    const NAME: &'static str = "spends";

    fn open(dir: &Path) -> Result<Self, Error> {
        S::open(dir).map(Self)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.delete(key)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.0.sync()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.0.scan()
    }
}

#[test]
fn a_store_that_does_not_fsync_fails_with_a_report() {
    let failed = std::panic::catch_unwind(crashpoint::check_store::<Lines<false>>);
    let payload = failed.expect_err("the fsync is missing");
    let report = payload.downcast_ref::<String>().expect("a report");
    assert!(report.contains("FAIL store on posix"), "{report}");
    assert_names(report, r#"self.log.write_all(&[b"put ", key, b" ", value, b"\n"].concat())?;"#);
    // A report names the user's file and line.
    let without_place = |line: &str| line.split("src/lib.rs:").next().unwrap_or(line).to_owned();
    let shown: Vec<String> = block("```text").lines().map(without_place).collect();
    assert!(shown.len() > 10, "the README's report is found");
    for line in shown {
        let found = report.lines().any(|own| own.starts_with(&line));
        assert!(found, "not in the report: {line}\n{report}");
    }
}

/// The first code block of the README that begins like this.
fn block(fence: &str) -> &'static str {
    let blocks = include_str!("../README.md").split_once(&format!("{fence}\n"));
    let block = blocks.and_then(|(_, rest)| rest.split_once("```"));
    block.expect("the README has such a block").0
}

#[test]
fn the_readme_shows_the_store_that_is_tested_here() {
    let own = include_str!("first_minutes.rs").replace("<const SYNC: bool>", "");
    let own = own.replace("<SYNC>", "");
    let own: Vec<&str> = own.lines().map(str::trim).collect();
    let code = block("```rust").lines().map(str::trim);
    for line in code.filter(|line| !line.starts_with("//") && !line.contains("crashpoint::Error;"))
    {
        // The calls of the tests come last.
        if line.starts_with("crashpoint::check_store") {
            break;
        }
        assert!(own.contains(&line), "this file has no line {line}");
    }
}

/// Checks that a report names a line of this file as the one that wrote the lost data.
fn assert_names(report: &str, code: &str) {
    let is_it = |line: &&str| line.trim() == code;
    let lines: Vec<usize> = (1..)
        .zip(include_str!("first_minutes.rs").lines())
        .filter_map(|(number, line)| is_it(&line).then_some(number))
        .collect();
    assert!(!lines.is_empty(), "no line is {code}");
    let named = |number: &usize| {
        report.lines().any(|line| line.ends_with(&format!("lost  tests/first_minutes.rs:{number}")))
    };
    assert!(lines.iter().any(named), "none of {lines:?} is named in:\n{report}");
}

/// Writes two files, and acknowledges each after it and its directory are synced.
fn write_two(dir: &Path, acks: &mut crashpoint::Acks) -> Result<(), Error> {
    for name in ["one", "two"] {
        let mut file = File::create(dir.join(name))?;
        file.write_all(b"content")?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        acks.durable(name);
    }
    Ok(())
}

/// The same without syncing the directory.
fn write_two_names_unsynced(dir: &Path, acks: &mut crashpoint::Acks) -> Result<(), Error> {
    for name in ["one", "two"] {
        let mut file = File::create(dir.join(name))?;
        file.write_all(b"content")?;
        file.sync_all()?;
        acks.durable(name);
    }
    Ok(())
}

fn look_for(dir: &Path, acked: &[String]) -> Result<(), Error> {
    for name in acked {
        let bytes = std::fs::read(dir.join(name)).map_err(|error| format!("{name}: {error}"))?;
        if bytes != b"content" {
            return Err(format!("{name} holds {} bytes", bytes.len()).into());
        }
    }
    Ok(())
}

#[test]
fn two_functions_are_enough() {
    crashpoint::check_pair(write_two, look_for);
}

#[test]
fn two_functions_find_a_missing_directory_sync() {
    let failed = std::panic::catch_unwind(|| {
        crashpoint::check_pair(write_two_names_unsynced, look_for);
    });
    let payload = failed.expect_err("the names are not synced");
    let report = payload.downcast_ref::<String>().expect("a report");
    assert!(report.contains("one: No such file or directory"), "{report}");
    assert_names(report, "let mut file = File::create(dir.join(name))?;");
}

/// Writes the name of its format into a new file, of which a crash may leave less.
struct Careless<const APART: bool, const SYNC: bool> {
    inner: Lines<SYNC>,
}

impl<const APART: bool, const SYNC: bool> Store for Careless<APART, SYNC> {
    const CREATED_APART: bool = APART;

    fn open(dir: &Path) -> Result<Self, Error> {
        let format = dir.join("format");
        if !format.exists() {
            std::fs::write(&format, "lines")?;
        }
        match &std::fs::read(&format)?[..] {
            b"lines" => Ok(Self { inner: Lines::open(dir)? }),
            other => Err(format!("a format of {} bytes", other.len()).into()),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.inner.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.inner.delete(key)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.inner.sync()
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        self.inner.scan()
    }
}

#[test]
fn a_store_that_is_created_apart_is_judged_only_after_its_creation() {
    let seen = |entry: Entry| find(&entry, "posix", Seed(1), 12);
    let in_place = seen(sim::<KeyValue<Careless<false, true>>>());
    assert_eq!(in_place.class, Some(Class::CreateInterrupted), "{}", in_place.report);
    let apart = seen(sim::<KeyValue<Careless<true, true>>>());
    assert_eq!(apart.class, None, "{}", apart.report);
    assert!(apart.states > 100, "{} states", apart.states);
    let entry = sim::<KeyValue<Careless<true, false>>>();
    let cut = seen(entry);
    assert_eq!(cut.class, Some(Class::LostWrite), "{}", cut.report);
    assert_eq!(check_case(&entry, &cut.case), Ok(()), "{}", cut.case);
}
