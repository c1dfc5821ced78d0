//! Campaigns as their user sees them: shards that merge to the whole, kills and resumes, signals,
//! and one clear error for each mistake.
#![expect(clippy::print_stderr, reason = "says what is skipped")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sims::ledger::lines::{sealed, unsealed};
use tempfile::TempDir;

/// A sim without a bug, and one with a bug that campaigns soon find.
const SIMS: [&str; 2] = ["toy", "no-dir-sync-after-rename"];

/// A directory for campaigns, removed at the end.
struct Desk(TempDir);

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crashpoint"));
        command.arg(verb).args(arguments).current_dir(self.0.path());
        command.env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Ran {
        Ran::of(self.command(verb, arguments).output().expect("the command runs"))
    }

    /// The first `cells` cells of our sims on two profiles, in this directory.
    fn campaign(&self, cells: u64, out: &str, more: &[&str]) -> Ran {
        self.run("campaign", &arguments(&cells.to_string(), out, more))
    }

    /// The error of a campaign that is refused, one line.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run("campaign", arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.out, ran.err);
        ran.err.lines().find(|line| line.starts_with("error")).unwrap_or_default().to_owned()
    }

    /// Everything that follows from a ledger: the summary and the findings.
    fn results(&self, out: &str) -> Vec<(PathBuf, String)> {
        let mut results =
            vec![(PathBuf::from("summary.json"), self.read(&format!("{out}/summary.json")))];
        let findings = self.path(out).join("findings");
        for sim in fs::read_dir(&findings).into_iter().flatten() {
            let sim = sim.expect("an entry").path();
            for case in fs::read_dir(&sim).expect("a folder") {
                let case = case.expect("an entry").path();
                let name = case.strip_prefix(&findings).expect("below").to_owned();
                results.push((name, fs::read_to_string(&case).expect("text")));
            }
        }
        results.sort();
        results
    }
}

fn arguments<'a>(cells: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["--profile", "posix", "--profile", "ext4", "--cells", cells, "--out", out];
    [&SIMS[..], &fixed, more].concat()
}

/// A number from the environment: `.ci/full` asks for more.
fn more(variable: &str, default: u64) -> u64 {
    sims::number_from_env(variable).unwrap_or(default)
}

#[test]
fn merged_shards_are_the_whole_and_a_merge_takes_what_is_not_finished() {
    let desk = Desk::new();
    let cells = more("CAMPAIGN_CELLS", 10);
    let whole = desk.campaign(cells, "whole", &[]);
    assert_eq!(whole.code, Some(1), "{}{}", whole.out, whole.err);
    let numbers: &[u64] = if cells > 10 { &[2, 3, 7] } else { &[2] };
    for of in numbers {
        let shards: Vec<String> = (0..*of).map(|index| format!("{of}-{index}")).collect();
        for (index, out) in shards.iter().enumerate() {
            desk.campaign(cells, out, &["--shard", &format!("{index}/{of}")]);
        }
        let merged = format!("merged-{of}");
        let mut from: Vec<&str> = shards.iter().map(String::as_str).collect();
        // In any order, more than once.
        from.push(&shards[0]);
        from.reverse();
        let ran = desk.run("merge", &[&from[..], &["--out", &merged]].concat());
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        assert_eq!(desk.results(&merged), desk.results("whole"), "{of} shards");
        // Again, into itself.
        let again = desk.run("merge", &[from[0], "--out", &merged]);
        assert_eq!(again.code, Some(1), "{}{}", again.out, again.err);
        assert_eq!(desk.results(&merged), desk.results("whole"));
    }
    // A ledger whose last line is being written.
    let ledger = desk.read("whole/ledger.jsonl");
    fs::create_dir(desk.path("torn")).expect("a folder");
    fs::write(desk.path("torn/ledger.jsonl"), &ledger[..ledger.len() - 9]).expect("a file");
    let ran = desk.run("merge", &["torn", "--out", "of-torn"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(&format!(": {} cells,", cells - 1)), "{}", ran.out);
    assert_eq!(desk.read("torn/ledger.jsonl").len(), ledger.len() - 9, "it is not changed");
}

/// Waits until a campaign's ledger has this many bytes; whether it did before the campaign ended.
fn wait_for(ledger: &Path, bytes: u64, child: &mut Child) -> bool {
    loop {
        if fs::metadata(ledger).is_ok_and(|ledger| ledger.len() >= bytes) {
            return true;
        }
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

#[test]
fn a_campaign_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let desk = Desk::new();
    let cells = more("CAMPAIGN_CELLS", 8);
    desk.campaign(cells, "whole", &[]);
    let whole = desk.read("whole/ledger.jsonl").len() as u64;
    let kills = more("CAMPAIGN_KILLS", 3);
    let cells = cells.to_string();
    for kill in 1..=kills {
        let mut command = desk.command("campaign", &arguments(&cells, "killed", &[]));
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let ledger = desk.path("killed/ledger.jsonl");
        wait_for(&ledger, whole * kill / (kills + 2), &mut child);
        let _ = child.kill();
        child.wait().expect("it ends");
    }
    let ran = desk.run("campaign", &arguments(&cells, "killed", &[]));
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(" Resumed "), "{}", ran.out);
    assert_eq!(desk.results("killed"), desk.results("whole"));
}

#[test]
fn a_signal_ends_a_campaign_and_a_run_cleanly_and_shows_what_was_found() {
    let desk = Desk::new();
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut command = desk.command("campaign", &[&SIMS[..], &["--out", "out"]].concat());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("it runs");
        let ledger = desk.path("out/ledger.jsonl");
        let before = fs::metadata(&ledger).map_or(0, |ledger| ledger.len());
        assert!(wait_for(&ledger, before + 3_000, &mut child));
        signal(&child, sent);
        let ran = Ran::of(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(" Interrupted run the same command"), "{}", ran.out);
        assert!(desk.read("out/report.html").ends_with("</html>\n"));
        assert!(!ran.err.contains("error"), "{}", ran.err);
    }
    // How soon a run finds something depends on the machine.
    let shown = [1, 2, 4, 8, 16, 32].into_iter().any(|seconds| {
        let mut command = desk.command("run", &[SIMS[1], "--jobs", "1"]);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = piped.spawn().expect("it runs");
        std::thread::sleep(Duration::from_secs(seconds));
        signal(&child, Signal::INT);
        let ran = Ran::of(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, Some(130), "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(" Interrupted seed 0x0000000000000001"), "{}", ran.out);
        ran.out.contains(" FAIL ") && ran.out.contains("\n  class ")
    });
    assert!(shown, "no violation was shown");
}

#[test]
fn a_finding_is_announced_and_replays_and_fail_fast_ends_there() {
    let desk = Desk::new();
    let ran = desk.campaign(400, "out", &["--fail-fast"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("         New no-dir-sync-after-rename on "), "{}", ran.out);
    let results = desk.results("out");
    let (case, text) = results
        .iter()
        .find(|(path, _)| path.extension().is_some_and(|end| end == "case"))
        .expect("a case");
    assert!(text.contains("\n# Campaign nightly: in "), "{text}");
    let path = format!("out/findings/{}", case.display());
    let replayed = desk.run("replay", &[&path]);
    assert_eq!(replayed.code, Some(1), "{}{}", replayed.out, replayed.err);
    assert!(replayed.out.contains("  Reproduced "), "{}", replayed.out);
    let html = desk.read("out/report.html");
    assert!(html.contains("crashpoint replay findings/"), "{html}");
    assert!(!html.contains("http") && !html.contains("<script"), "nothing is loaded");
}

#[test]
fn a_scheduler_names_the_shard_and_what_never_came_up_can_be_required() {
    let desk = Desk::new();
    let mut command =
        desk.command("campaign", &["toy", "--cells", "4", "--out", "out", "--require-all"]);
    command.env("JOB_COMPLETION_INDEX", "1").env("CRASHPOINT_SHARDS", "2");
    let ran = Ran::of(command.output().expect("it runs"));
    assert!(ran.err.contains("shard 1/2, as Kubernetes says"), "{}", ran.err);
    assert!(ran.out.contains(" Never "), "{}", ran.out);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    let mut command = desk.command("campaign", &["toy", "--cells", "4", "--out", "other"]);
    command.env("JOB_COMPLETION_INDEX", "1");
    let ran = Ran::of(command.output().expect("it runs"));
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(ran.err.contains("CRASHPOINT_SHARDS is not"), "{}", ran.err);
}

#[test]
fn each_mistake_has_its_error_and_changes_nothing() {
    let desk = Desk::new();
    let done = desk.run("campaign", &["toy", "--profile", "posix", "--cells", "2", "--out", "out"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    let ledger = desk.read("out/ledger.jsonl");
    let of = |more: &[&'static str]| {
        [&["toy", "--profile", "posix", "--cells", "3", "--out", "out"], more].concat()
    };
    let refused = |code: i32, more: &[&'static str], says: &str| {
        let error = desk.refused(code, &of(more));
        assert!(error.contains(says), "{error}");
    };
    refused(2, &["--name", "other"], "--name `other`, and not `nightly`. Name another --out");
    refused(2, &["--profile", "ext4"], "toy on ext4, posix, and not toy on posix");
    refused(2, &["--shares", "1,0,0"], "--shares");
    refused(2, &["--shard", "0/2"], "shard 0/2, and not 0/1");
    refused(2, &["--shard", "3/2"], "`3/2` is not a shard: shards are counted from 0");
    refused(2, &["--shares", "0,0,0"], "not all of them 0");
    refused(2, &["--for", "8"], "expected a time such as 8h");
    refused(2, &["--profile", "fat"], "fat");
    assert_eq!(desk.read("out/ledger.jsonl"), ledger);
    // Another build.
    let lines: Vec<&str> = ledger.split_inclusive('\n').collect();
    let header = unsealed(lines[0].as_bytes()).expect("a line");
    let (before, after) = header.split_once("\"build\":\"").expect("a build");
    let other = sealed(&format!("{before}\"build\":\"0123456789abcdef{}", &after[16..]));
    let write = |text: &str| fs::write(desk.path("out/ledger.jsonl"), text).expect("a file");
    write(&[&other, lines[1], lines[2]].concat());
    refused(2, &[], "and not 0123456789abcdef: the binary or the known findings are others");
    // A line that is damaged, and not the last one; then the last one.
    write(&[lines[0], &lines[1].replacen("states", "stetes", 1), lines[2]].concat());
    refused(2, &[], "line 2 is damaged, and lines after it are not");
    write("{\"some\":\"other file\"}\n");
    refused(2, &[], "it does not begin with a line of ours");
    write(&[lines[0], lines[1], &lines[2][..lines[2].len() / 2], "\0\0\0"].concat());
    let ran = desk.run("campaign", &of(&[]));
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("the last line of the ledger was torn"), "{}", ran.err);
    // Directories that are none of ours, are not there, or are held.
    fs::write(desk.path("file"), "").expect("a file");
    let error = desk.refused(2, &["toy", "--cells", "1", "--out", "."]);
    assert!(error.contains("it has no ledger.jsonl, and is not empty"), "{error}");
    let error = desk.refused(75, &["toy", "--cells", "1", "--out", "file/below"]);
    assert!(error.contains("file/below: "), "{error}");
    let held = File::open(desk.path("out/ledger.jsonl")).expect("a file");
    held.lock().expect("a lock");
    refused(75, &[], "another process works on it");
    let merge = desk.run("merge", &["out", "--out", "file"]);
    assert_eq!(merge.code, Some(75), "{}", merge.err);
    let merge = desk.run("merge", &["nowhere", "--out", "merged"]);
    assert_eq!(merge.code, Some(2), "{}", merge.err);
    assert!(merge.err.contains("nowhere: there is no ledger.jsonl"), "{}", merge.err);
}

#[test]
fn a_full_disk_has_its_own_exit_code_and_loses_nothing() {
    let desk = Desk::new();
    let disk = desk.path("disk");
    fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=40k", "none"])
        .arg(&disk)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    }
    let ran = desk.campaign(400, "disk/out", &["--shares", "1,0,0"]);
    let good = desk
        .read("disk/out/ledger.jsonl")
        .split_inclusive('\n')
        .filter(|line| unsealed(line.as_bytes()).is_some())
        .count();
    let unmounted = || Command::new("umount").arg(&disk).status();
    let more = Command::new("mount").args(["-o", "remount,size=4m"]).arg(&disk).status();
    let resumed = more.map(|_| desk.campaign(good as u64 + 1, "disk/out", &["--shares", "1,0,0"]));
    unmounted().expect("it was mounted");
    assert_eq!(ran.code, Some(75), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("No space left on device"), "{}", ran.err);
    let resumed = resumed.expect("it runs");
    assert!(resumed.out.contains(&format!(" {} cells are done", good - 1)), "{}", resumed.out);
}

#[test]
fn each_job_file_is_printed_with_the_command_line_at_hand() {
    let desk = Desk::new();
    for system in ["slurm", "kubernetes", "github-actions", "hyperqueue", "systemd"] {
        let arguments = ["toy", "--name", "n", "--for", "8h", "--shard", "0/3", "--print", system];
        let ran = desk.run("campaign", &arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{system}");
        let of = match system {
            "slurm" => "--array=0-2",
            "kubernetes" => "completions: 3\n",
            "github-actions" => "shard: [0, 1, 2]",
            "hyperqueue" => "CRASHPOINT_SHARDS=3",
            _ => "OnCalendar=",
        };
        assert!(ran.out.contains(of), "{system}: {}", ran.out);
        let command = "campaign toy --for 28800s";
        let words = ran.out.replace("\", \"", " ");
        assert!(words.contains(command), "{system}: {}", ran.out);
        if ran.out.starts_with("#!/bin/sh") {
            let script = desk.path("script");
            fs::write(&script, &ran.out).expect("a file");
            let checked = Command::new("sh").arg("-n").arg(&script).status();
            assert!(checked.expect("a shell").success(), "{system}: {}", ran.out);
        }
    }
    assert!(!desk.path("target").exists(), "nothing else is done");
}
