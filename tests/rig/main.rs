//! The rig: random litmus programs on the running kernel, compared with the profiles of the disk.
//!
//! `cargo test --test rig -- --ignored --nocapture`, as root, with FUSE, loop devices and the tools
//! of ext4, xfs and btrfs. `RIG_PROGRAMS` (default 20), `RIG_IMAGES` (of each program, default 40),
//! `RIG_SEED` and `RIG_FS` (`ext4,xfs,btrfs`) change what is drawn. `RIG_FILE` names one litmus
//! program to run instead.
//!
//! A program runs on a file system whose device reports completions late and out of order. An
//! image is what a power cut may leave: all writes that were complete before the last complete
//! flush began, and any of the writes that were sent since. Each image is mounted and read. A state
//! that was found and that the profile forbids is a bug of the model; so is a call with another
//! error. What the profile allows beyond is counted: few images are made of each program.
#![expect(clippy::print_stdout, reason = "the report of the rig")]
#![expect(
    clippy::disallowed_methods,
    reason = "it talks to the kernel, and its options are variables"
)]

mod chance;
mod device;
mod draw;
mod images;
mod real;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crashpoint::Profile;
use crashpoint::inner::litmus::{Program, explore};

use chance::Chance;
use device::{Device, Medium};
use images::{Found, Rig};

/// The file systems, each with the size of its medium: the smallest that its tool makes.
const FILE_SYSTEMS: &[(&str, &str)] = &[("ext4", "64M"), ("xfs", "320M"), ("btrfs", "128M")];

/// The standard output of a command with a path as its last argument.
fn output(command: &str, arguments: &[&str], path: &Path) -> Result<String, String> {
    let output = Command::new(command).args(arguments).arg(path).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().expect("a number"))
}

/// A medium with an empty file system.
fn formatted(fs: &str, size: &str, folder: &Path) -> Result<Medium, String> {
    let image = folder.join(format!("{fs}.image"));
    output("truncate", &["-s", size], &image)?;
    // The blocks of the model; on a small medium ext4 would choose smaller ones.
    let blocks: &[&str] = if fs == "ext4" { &["-q", "-b", "4096"] } else { &["-q"] };
    output(&format!("mkfs.{fs}"), blocks, &image)?;
    let medium = Medium::of(&image).map_err(|error| error.to_string())?;
    std::fs::remove_file(&image).map_err(|error| error.to_string())?;
    Ok(medium)
}

#[derive(Default)]
struct Totals {
    programs: u64,
    images: u64,
    states: usize,
    allowed: usize,
    missing: usize,
    differences: usize,
    unmountable: usize,
}

/// Compares one program with its profile, prints what is wrong, and counts.
fn compare(fs: &str, text: &str, found: &Found, totals: &mut Totals) {
    let program = Program::parse(text).expect("it was parsed before");
    let profile = Profile::by_name(fs).expect("a profile of this name");
    let states = explore(&program, &profile, false).expect("it ran before");
    let allowed: BTreeSet<String> = states.iter().map(|state| state.state.join("; ")).collect();
    let seen: BTreeSet<String> = found.states.keys().cloned().collect();
    let inline = text.trim().replace('\n', "; ");
    for missing in seen.difference(&allowed) {
        println!("{fs}: MISSING {missing}\n    of: {inline}");
        totals.missing += 1;
    }
    if let Some(difference) = &found.difference {
        println!("{fs}: DIFFERENT {difference}\n    of: {inline}");
        totals.differences += 1;
    }
    for refused in &found.unmountable {
        println!("{fs}: UNMOUNTABLE {refused}\n    of: {inline}");
    }
    totals.programs += 1;
    totals.images += found.images;
    totals.states += seen.len();
    totals.allowed += allowed.len();
    totals.unmountable += found.unmountable.len();
}

fn run(fs: &str, size: &str, folder: &Path) -> Result<Totals, String> {
    let medium = formatted(fs, size, folder)?;
    let seed = Chance(number("RIG_SEED", 1));
    let device = Device::new(medium.clone(), folder.join(format!("{fs}.device")), seed.derive(1))?;
    let mut rig = Rig::new(fs, medium, &device, folder.join(format!("{fs}.mount")))?;
    let given = std::env::var("RIG_FILE").ok().map(|path| {
        let text = std::fs::read_to_string(path).expect("the program of RIG_FILE");
        if text.contains('\n') && !text.contains("; ") { text } else { text.replace("; ", "\n") }
    });
    let mut totals = Totals::default();
    for index in 0..number("RIG_PROGRAMS", 20) {
        let text = match &given {
            Some(text) => text.clone(),
            None => draw::program(&mut seed.derive(1000 + index)),
        };
        let program = Program::parse(&text).map_err(|error| error.to_string())?;
        let mut chance = seed.derive(1_000_000 + index);
        let found = rig.observe(&program, number("RIG_IMAGES", 40), &mut chance)?;
        compare(fs, &text, &found, &mut totals);
        if given.is_some() {
            let mut states = String::new();
            found.states.iter().for_each(|(state, images)| {
                states.push_str(&format!("    {images:4} {state}\n"));
            });
            print!("{fs}: seen\n{states}");
        }
    }
    Ok(totals)
}

#[test]
#[ignore = "needs root, FUSE, loop devices and minutes; `.ci/full` runs it"]
fn the_profiles_allow_what_the_running_kernel_leaves() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: the rig needs root");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let named = std::env::var("RIG_FS").unwrap_or_else(|_| "ext4,xfs,btrfs".into());
    let mut wrong = 0;
    for (fs, size) in FILE_SYSTEMS.iter().filter(|(fs, _)| named.split(',').any(|n| n == *fs)) {
        match run(fs, size, folder.path()) {
            Ok(totals) => {
                println!(
                    "{fs}: {} programs, {} images, {} states seen, {} allowed, {} missing, {} \
                     calls that differ, {} images refused",
                    totals.programs,
                    totals.images,
                    totals.states,
                    totals.allowed,
                    totals.missing,
                    totals.differences,
                    totals.unmountable
                );
                wrong += totals.missing + totals.differences;
            }
            Err(why) => println!("skipped: {fs}: {why}"),
        }
    }
    assert_eq!(wrong, 0, "states that a profile forbids, or calls that differ");
}
