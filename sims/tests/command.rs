//! The command as its user sees it: help, tables, and a one-line error for each mistake.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use tempfile::TempDir;

/// A correct case; errors number its lines from 1.
const GOOD: &str = "\
sim toy
profile posix
seed 0x0000000000000001
expect pass
put a 1
sync
crash power step=2 effect=0 keep=nothing
put b 2
";

/// Runs the command in a temporary directory, so that its output has no path of the machine.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), text).expect("a file");
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crashpoint"));
        command.args(arguments).current_dir(self.path()).env_remove("NO_COLOR");
        command
    }

    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Ran {
        Ran::of(self.command(arguments).output().expect("the command runs"))
    }

    /// The one line of an error with exit code 2: the arguments, a file or the machine is at fault.
    fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{arguments:?}: {}", ran.err);
        ran.err
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let code = output.status.code().expect("no signal");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Checks the errors of texts that are replayed as `x.case`, each after its label.
fn check_wrong(texts: &[(&str, &[u8])], expected: &Expect) {
    let desk = Desk::new();
    let mut all = String::new();
    for (what, text) in texts {
        desk.write("x.case", text);
        all.push_str(&format!("{what}\n  {}", desk.refused(&["replay", "x.case"])));
    }
    expected.assert_eq(&all);
}

/// The good case with one line changed.
fn with(line: &str, other: &str) -> Vec<u8> {
    assert!(GOOD.contains(line));
    GOOD.replace(line, other).into_bytes()
}

const CRASH: &str = "crash power step=2 effect=0 keep=nothing";

#[test]
fn help_shows_verbs_and_flags() {
    let ran = Desk::new().run(&["--help"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<&str> = ran.out.lines().map(str::trim_end).collect();
    expect![[r#"
        Runs storage engines on a simulated disk, cuts the power everywhere, and checks what they promised

        Usage: crashpoint [OPTIONS] [SIM]...
               crashpoint <COMMAND>

        Commands:
          run       Test sims from one seed (the default): a table, and exit 0 only if nothing was violated and the canary was found
          campaign  Test without end: resumable, in shards that can be merged, with a report
          merge     Add up the directories of a campaign's shards, finished or not
          replay    Replay a case file, or the workload of a sim and a seed
          shrink    Make a case file that fails small, and write the smaller case beside the other results
          litmus    Show every state that a crash may leave of a few calls
          list      List sims, promises and profiles
          help      Print this message or the help of the given subcommand(s)

        Arguments:
          [SIM]...
                  The sims to run; all of them if none is named

        Options:
              --seed <SEED>
                  The seed that decides the run: a number, 0x and 16 hexadecimal digits, or a Git hash

                  [default: 1]

              --profile <NAME>
                  Only this profile

              --mute-syncs
                  Mute each sync call site in turn and see which are load-bearing

              --fail-calls
                  Fail each call of some short workloads, and of a recovery, in turn

              --jobs <N>
                  How many jobs to run at once, such as one sim on one profile; as many as there are CPUs if not given. The results are the same for any number

              --no-shrink
                  Show and save each failure as it was found. `CRASHPOINT_SHRINK=0` does the same

              --json <FILE>
                  Write one JSON object per event to this file

              --color <WHEN>
                  When to use colour

                  Possible values:
                  - auto:   On a terminal, unless `NO_COLOR` is set
                  - always: Always
                  - never:  Never

                  [default: auto]

          -h, --help
                  Print help (see a summary with '-h')

          -V, --version
                  Print version

        Exit codes:
          0  no violation
          1  a violation was found, a case did not come out as it expects, or the canary was missed
          2  the arguments, a file or the machine are to blame
          3  the same thing done twice made different calls: a bug of the harness
          75  the machine does not allow it now: a full disk, a missing permission, a lock: try again
          130, 143  Ctrl-C or SIGTERM ended it; a campaign continues when it is run again
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

/// What `list` prints from `from` up to the next `to`.
fn listed(from: &str, to: &str) -> String {
    let ran = Desk::new().run(&["list"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let start = ran.out.find(from).expect("it is listed");
    let rest = &ran.out[start..];
    rest[..rest.find(to).unwrap_or(rest.len())].to_owned()
}

#[test]
fn the_list_names_sims_with_their_promises() {
    let all = listed("Sims", "Canary");
    for entry in sims::registry().sims {
        assert!(all.contains(&format!("\n  {}", entry.name)), "{}:\n{all}", entry.name);
    }
    expect![[r#"
        Sims
          append-log   append-only snapshot log (PGSS v2), cursor checkpoints,
                       compaction
                         - a checkpoint or flush survives the process, with all before
                           it
                           (engines/append_log.rs: "survives the process, with all
                           before it")
                         - compact and sync survive power loss, with all before them
                           (engines/append_log.rs: "survives power loss, with all before
                           it")
                         - a crash leaves a prefix of what was written
                           (engines/append_log.rs: "A crash always leaves a prefix of
                           the records in the order in which they were written.")
                         - a failed call takes nothing back
                           (engines/append_log.rs: "The file system said no. All that
                           earlier calls promised still holds.")
                         - answers correctly after: failed write, failed sync, failed
                           read, failed open, failed change, interrupted call, read-only
                           disk, slow call, failed close
                         - promises nothing after: corrupt read, bit rot"#]]
    .assert_eq(&listed("Sims", "\n  aof"));
}

#[test]
fn the_list_names_the_canary_and_the_profiles() {
    expect![[r#"
        Canary: a sim with a bug, which each run must find
          no-dir-sync-after-rename
                       P3: LevelDB 195, Redis 10737, RocksDB 10573

        Profiles
          posix             each block, size and directory entry is lost or kept on its
                            own; fsync covers a file's content or a directory's entries,
                            no more
          tail-prefix       a file loses only the last of its unsynced changes, the
                            namespace only the last of its own; fsync of a file covers
                            its name
          ext4              names and sizes change in order, data of new blocks follows
                            later: a new size may come back over zeros, a renamed file
                            empty; fsync covers all names so far
          ext4-writeback    as ext4, but the data of new blocks comes in any order, and
                            bytes that a truncation cut off inside a block may come back
                            when the file grows again
          ext4-dioread-lock as ext4, but a size over new blocks waits for their data;
                            within the last block it does not
          ext4-nodelalloc   names, sizes and new blocks change in order; overwrites
                            happen at any time
          ext4-journal      everything changes in order, block by block
          xfs               names and truncations change in order, a size never grows
                            before its data; a renamed file may be empty; fsync covers
                            the file's name
          btrfs             names change in order, data of any kind follows later, block
                            by block; a size may come with other data than its own;
                            fsync covers the file and its names, and no earlier change
                            of others

        Profiles that are used only where named
          posix-torn        as posix, but a block may be torn in any set of its sectors,
                            not only between the first and the last ones
          posix-bytes       as posix, but a block may be torn between any two of its
                            bytes, also inside a sector
          posix-garbage     as posix, but one sector that was being written may hold
                            junk, also in the bytes next to those that were written
          posix-stale       as posix, but a new block past the old end that was not
                            written may hold anything
          ext4-writeback-stale as ext4-writeback, but a new block past the old end that
                            was not written may hold anything
          ext4-commits      as ext4, and every 5 seconds the log so far reaches the
                            medium: names, and sizes with the data that they wait for
          ext4-journal-2020 as ext4-journal, but a failed fsync succeeds and the next
                            one returns the error
          xfs-shutdown      as xfs, but after a failed fsync every call fails until the
                            next mount
          btrfs-2020        as btrfs, but after a failed fsync the file shows its old
                            data and size
    "#]]
    .assert_eq(&listed("Canary", "no such line"));
}

#[test]
fn the_error_for_an_unknown_name_lists_the_known_ones() {
    let desk = Desk::new();
    let mut all = String::new();
    let lines: [&[&str]; 7] = [
        &["run", "nosuch"],
        &["run", "\u{1b}[31mred\nline"],
        &["--profile", "nosuch"],
        &["--json", "nosuch/x", "toy"],
        &["replay", "toy"],
        &["replay", "nosuch", "7"],
        &["replay", "toy", "7", "--trace"],
    ];
    for line in lines {
        all.push_str(&format!("{}\n  {}", line.join(" ").escape_debug(), desk.refused(line)));
    }
    expect![[r#"
        run nosuch
          error: there is no sim `nosuch`; there are: append-log, aof-always, aof-everysec, aof-no, checkpoint, document-log, document-log-async, document-log-clients, document-log-async-clients, fjall-fold, fjall-fold-sync, ledger, toy, toy-threads, no-dir-sync-after-rename
        run \u{1b}[31mred\nline
          error: there is no sim `"\x1b[31mred\nline"`; there are: append-log, aof-always, aof-everysec, aof-no, checkpoint, document-log, document-log-async, document-log-clients, document-log-async-clients, fjall-fold, fjall-fold-sync, ledger, toy, toy-threads, no-dir-sync-after-rename
        --profile nosuch
          error: there is no profile `nosuch`; there are: posix, tail-prefix, ext4, ext4-writeback, ext4-dioread-lock, ext4-nodelalloc, ext4-journal, xfs, btrfs, posix-torn, posix-bytes, posix-garbage, posix-stale, ext4-writeback-stale, ext4-commits, ext4-journal-2020, xfs-shutdown, btrfs-2020
        --json nosuch/x toy
          error: --json nosuch/x: No such file or directory (os error 2)
        replay toy
          error: `replay toy` needs the seed of a workload, or a case file
        replay nosuch 7
          error: there is no sim `nosuch`; there are: append-log, aof-always, aof-everysec, aof-no, checkpoint, document-log, document-log-async, document-log-clients, document-log-async-clients, fjall-fold, fjall-fold-sync, ledger, toy, toy-threads, no-dir-sync-after-rename
        replay toy 7 --trace
          error: --trace, --keep and --debug need a case file, which names one crash
    "#]].assert_eq(&all);
}

#[test]
fn the_error_for_a_wrong_seed_says_what_a_seed_is() {
    let ran = Desk::new().run(&["--seed", "zz"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    expect![[r#"
        error: invalid value 'zz' for '--seed <SEED>': `zz` is not a seed: expected a number, 0x and up to 16 hexadecimal digits, or a 40-digit Git hash

        For more information, try '--help'.
    "#]].assert_eq(&ran.err);
}

#[test]
fn the_error_names_a_file_that_is_not_a_case() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path().join("folder")).expect("a directory");
    desk.write("long.case", vec![b'#'; 20 << 20]);
    let mut all = String::new();
    for name in ["missing.case", "folder", "long.case", "/dev/zero"] {
        all.push_str(&format!("{name}\n  {}", desk.refused(&["replay", name])));
    }
    expect![[r#"
        missing.case
          error: missing.case: No such file or directory (os error 2)
        folder
          error: folder: Is a directory (os error 21)
        long.case
          error: long.case: too long for a case: more than 4 MiB
        /dev/zero
          error: /dev/zero: too long for a case: more than 4 MiB
    "#]]
    .assert_eq(&all);
    let texts: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("binary", &[0, 1, 2, 3, 10, 0x7f]),
        ("not UTF-8", b"sim toy\nprofile \xff\n"),
    ];
    check_wrong(
        texts,
        &expect![[r#"
        empty
          error: x.case: line 1, column 1: the case has no `sim` line
        binary
          error: x.case: line 2, column 1: the case has no `sim` line
        not UTF-8
          error: x.case: line 2: not UTF-8
    "#]],
    );
}

#[test]
fn the_error_for_a_wrong_word_has_its_line_and_column() {
    check_wrong(
        &[
            ("unknown sim", &with("sim toy", "sim nosuch")),
            ("unknown profile", &with("posix", "nosuch")),
            ("wrong seed", &with("0x0000000000000001", "zz")),
            ("wrong class", &with("expect pass", "expect lost-right")),
            ("wrong op", &with("put b 2", "putt b 2")),
            ("wrong arity", &with("put b 2", "put b")),
            ("one word too many", &with("put b 2", "put b 2 3")),
            ("open quote", &with("put b 2", "put \"b 2")),
            ("endless word", &with("put b 2", "put b \"a\"*999999999999")),
            ("header below", &with("put b 2", "sim toy")),
            ("two headers", &with("profile posix", "sim toy")),
            ("no header", &with("expect pass\n", "")),
            ("fault below", &with("put b 2", "fault EIO step=1 sync=1")),
            ("wrong fault", &with("put a 1", "fault EIO step=1 flush=1")),
            ("wrong sleep", &with("put b 2", "sleep 5 minutes")),
            ("many crashes", GOOD.replace(CRASH, &vec![CRASH; 20_000].join("\n")).as_bytes()),
        ],
        &expect![[r#"
            unknown sim
              error: x.case: line 1: there is no sim `nosuch`; there are: append-log, aof-always, aof-everysec, aof-no, checkpoint, document-log, document-log-async, document-log-clients, document-log-async-clients, fjall-fold, fjall-fold-sync, ledger, toy, toy-threads, no-dir-sync-after-rename
            unknown profile
              error: x.case: line 2: there is no profile `nosuch`; there are: posix, tail-prefix, ext4, ext4-writeback, ext4-dioread-lock, ext4-nodelalloc, ext4-journal, xfs, btrfs, posix-torn, posix-bytes, posix-garbage, posix-stale, ext4-writeback-stale, ext4-commits, ext4-journal-2020, xfs-shutdown, btrfs-2020
            wrong seed
              error: x.case: line 3, column 6: `zz` is not a seed: expected a number, 0x and up to 16 hexadecimal digits, or a 40-digit Git hash
            wrong class
              error: x.case: line 4, column 8: expected `pass` or one of: lost-write, hole, torn-batch, resurrected, wrong-value, phantom-value, open-failed, read-failed, inconsistent, panicked, aborted, hung, out-of-memory, not-idempotent, leaked, create-interrupted, op-failed, close-failed, shown-then-lost
            wrong op
              error: x.case: line 8, column 1: expected `put KEY VALUE`, `delete KEY` or `add KEY N`
            wrong arity
              error: x.case: line 8, column 1: expected `put KEY VALUE`, `delete KEY` or `add KEY N`
            one word too many
              error: x.case: line 8, column 9: one word too many
            open quote
              error: x.case: line 8, column 5: the quote is not closed
            endless word
              error: x.case: line 8, column 7: the line expands to more than 64 MiB
            header below
              error: x.case: line 8, column 1: `sim` belongs before the first step
            two headers
              error: x.case: line 2, column 1: a second `sim` line
            no header
              error: x.case: line 7, column 1: the case has no `expect` line
            fault below
              error: x.case: line 8, column 1: `fault` belongs before the first step
            wrong fault
              error: x.case: line 5, column 18: expected epoch=N, step=N, call=N, open=N, create=N, read=N, write=N, sync=N, rename=N, unlink=N, mkdir=N, truncate=N, stat=N, link=N, allocate=N, close=N, after=N or always, N a number
            wrong sleep
              error: x.case: line 8, column 9: one word too many
            many crashes
              error: x.case: line 107, column 1: more than 100 crashes in one case
        "#]],
    );
}

#[test]
fn the_error_for_a_crash_that_does_not_fit_the_run_has_its_line() {
    let crash = |other: &str| with(CRASH, other);
    check_wrong(
        &[
            ("no kind", &crash("crash")),
            ("wrong kind", &crash("crash flood step=2 effect=0")),
            ("no step", &crash("crash power keep=nothing")),
            ("step too far", &crash("crash power step=9 effect=0 keep=nothing")),
            ("huge step", &crash("crash power step=4294967295 effect=0 keep=nothing")),
            ("step beyond", &crash("crash power step=4294967296 effect=0 keep=nothing")),
            ("effect too far", &crash("crash power step=1 effect=99 keep=nothing")),
            ("no fate", &crash("crash power step=2 effect=0")),
            ("wrong fate", &crash("crash power step=2 effect=0 keep=most")),
            ("wrong file", &crash("crash power step=2 effect=0 keep=nothing nosuch@0:1")),
            ("other call", &crash("crash power step=2 effect=0 in=rename:x keep=nothing")),
            ("process", &crash("crash process step=2 effect=0 keep=nothing")),
            ("rot nowhere", &crash("crash power step=2 effect=0 keep=nothing rot=nosuch@0:bit1")),
            ("rot far", &crash("crash power step=2 effect=0 keep=all rot=log-1@9999:bit1")),
        ],
        &expect![[r#"
            no kind
              error: x.case: line 7, column 1: expected `crash power` or `crash process`
            wrong kind
              error: x.case: line 7, column 7: expected `power` or `process`
            no step
              error: x.case: line 7, column 1: a crash needs step=N and effect=N
            step too far
              error: x.case: line 7: the run never reaches step=9: closing, step=3, is its last
            huge step
              error: x.case: line 7: the run never reaches step=4294967295: closing, step=3, is its last
            step beyond
              error: x.case: line 7, column 13: expected a number up to 4294967295
            effect too far
              error: x.case: line 7: the run never reaches step=1 effect=99: effect=1 is its last
            no fate
              error: x.case: line 7, column 1: expected keep=nothing, keep=all or keep=NUMBER
            wrong fate
              error: x.case: line 7, column 29: expected keep=nothing, keep=all or keep=NUMBER up to 2
            wrong file
              error: x.case: line 7, column 42: nosuch leads nowhere
            other call
              error: x.case: line 7: at step=2 effect=0 the run is in fsync:log-1, not in rename:x: the case no longer fits
            process
              error: x.case: line 7, column 31: `keep=nothing` does not belong to a process crash: expected pages=N or cache=evicted
            rot nowhere
              error: x.case: line 7: the crash state has no nosuch@0: nothing can rot there
            rot far
              error: x.case: line 7: the crash state has no log-1@9999: nothing can rot there
        "#]],
    );
}

#[test]
fn a_good_case_passes() {
    let desk = Desk::new();
    desk.write("good.case", GOOD);
    let ran = desk.run(&["replay", "good.case"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let (first, digest) = ran.out.split_once('\n').expect("two lines");
    expect!["        PASS good.case: no violation"].assert_eq(first);
    assert!(digest.starts_with("      Digest "), "{digest}");
}

/// A violation of the canary, found by a run.
const LOST: &str = "\
sim no-dir-sync-after-rename
profile posix
seed 0x0000000000000001
expect lost-write lost-write:put
put a 1
batch add n 81 + delete b
crash power step=3 effect=0 keep=nothing
";

#[test]
fn a_case_with_a_violation_is_exit_1_whether_it_was_expected_or_not() {
    let desk = Desk::new();
    let expected = "expect lost-write lost-write:put";
    let mut all = String::new();
    for expect in [expected, "expect lost-write", "expect hole", "expect pass"] {
        desk.write("lost.case", LOST.replace(expected, expect));
        let ran = desk.run(&["replay", "lost.case"]);
        assert_eq!((ran.code, ran.err.as_str()), (1, ""));
        let last = ran.out.lines().rev().nth(1).expect("a verdict before the digest");
        all.push_str(&format!("{expect}\n{last}\n"));
        assert!(ran.out.contains("        FAIL no-dir-sync-after-rename on posix"), "{}", ran.out);
    }
    expect![[r#"
        expect lost-write lost-write:put
          Reproduced lost.case: lost-write lost-write:put, as the case expects
        expect lost-write
          Reproduced lost.case: lost-write, as the case expects
        expect hole
            Surprise lost.case: expected hole, found lost-write (lost-write:put)
        expect pass
            Surprise lost.case: expected no violation, found lost-write: lost a write that had been acknowledged, step 1 `put a 1`: 2 items differ from the nearest allowed state, after step 2
    "#]].assert_eq(&all);
}

#[test]
fn a_report_names_the_source_line_that_wrote_what_was_lost_and_fits_a_page() {
    let desk = Desk::new();
    let ran = desk.run(&["replay", "no-dir-sync-after-rename", "1"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{}", ran.out);
    let pieces = ran.out.lines().skip_while(|line| *line != "  The pieces that decided it:");
    let pieces: Vec<&str> = pieces.skip(1).take_while(|line| !line.is_empty()).collect();
    assert!(!pieces.is_empty(), "{}", ran.out);
    for piece in pieces {
        let site = piece.rsplit(' ').next().unwrap_or_default();
        let (file, line) = site.split_once(".rs:").expect(piece);
        assert!(file.contains("engines/toy") && line.parse::<u32>().is_ok(), "{piece}");
    }
    // The length of a case's path depends on the target folder, and a line of a case is not
    // wrapped.
    let given = |line: &str| [".case", " crash ", " states, "].iter().any(|w| line.contains(w));
    let wide = |line: &&str| line.chars().count() > 80 && !given(line);
    assert_eq!(ran.out.lines().find(wide), None, "{}", ran.out);
}

#[test]
fn a_violation_before_the_last_crash_is_reported_although_that_crash_does_not_fit() {
    let desk = Desk::new();
    let more = "put c 3\ncrash power step=9 effect=9 keep=nothing\n";
    desk.write("lost.case", LOST.to_owned() + more);
    let ran = desk.run(&["replay", "lost.case"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    assert!(ran.out.contains("  Reproduced lost.case: lost-write"), "{}", ran.out);
}

#[test]
fn an_expected_violation_that_does_not_occur_is_exit_1() {
    let desk = Desk::new();
    desk.write("good.case", with("expect pass", "expect hole"));
    let ran = desk.run(&["replay", "good.case"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    expect!["    Surprise good.case: expected hole, found no violation"]
        .assert_eq(ran.out.lines().next().unwrap_or_default());
}

#[test]
fn a_workload_that_passes_is_one_line() {
    let desk = Desk::new();
    let ran = desk.run(&["replay", "toy", "7"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    assert!(ran.out.starts_with("        PASS toy on posix, seed 0x0000000000000007: "));
}

#[test]
fn each_sync_of_the_toy_is_load_bearing_on_the_worst_disk() {
    let desk = Desk::new();
    let ran = desk.run(&["run", "toy", "--mute-syncs", "--profile", "posix"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // A row has the violation without the sync, the number of states, the call, and its call site.
    let table = ran.out.replace("\n             ", " ");
    let rows: Vec<(&str, &str)> =
        table.lines().skip(1).filter_map(|row| row.trim().split_once(" (")).collect();
    let mut lost: Vec<&str> = rows.iter().map(|&(class, _)| class).collect();
    lost.sort_unstable();
    let shown = ["create-interrupted", "lost-write", "open-failed"];
    assert_eq!(lost, shown.map(|class| [class; 2]).concat(), "{}", ran.out);
    for (_, row) in rows {
        let call = row.split_once("states)").map_or("", |(_, call)| call);
        let words: Vec<&str> = call.split_whitespace().take(2).collect();
        assert!(words[0] == "fsync" && words[1].starts_with("engines/toy.rs:"), "{row}");
    }
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let desk = Desk::new();
    for arguments in [&["list"][..], &["--help"]] {
        let mut command = desk.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command runs");
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().expect("it ends"));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn colour_is_used_only_on_a_terminal_or_on_request() {
    let desk = Desk::new();
    desk.write("good.case", GOOD);
    let escapes = |arguments: &[&str], no_color: &str| {
        let mut command = desk.command(arguments);
        let ran = Ran::of(command.env("NO_COLOR", no_color).output().expect("it runs"));
        (ran.out.contains('\u{1b}'), ran.err.contains('\u{1b}'))
    };
    assert_eq!(escapes(&["replay", "good.case"], ""), (false, false));
    assert_eq!(escapes(&["replay", "good.case", "--color", "never"], ""), (false, false));
    assert_eq!(escapes(&["replay", "good.case", "--color", "always"], ""), (true, false));
    assert_eq!(escapes(&["replay", "good.case", "--color", "always"], "1"), (true, false));
    assert_eq!(escapes(&["replay", "nosuch.case", "--color", "always"], ""), (false, true));
    assert_eq!(escapes(&["replay", "nosuch.case"], ""), (false, false));
}

/// A case of the canary that fails, with more than it needs.
const FAILS: &str = "\
crashpoint-case 1
# Its story.
sim no-dir-sync-after-rename
profile posix
seed 0xed2571974d336501
expect lost-write lost-write:batch
batch put key 12 + put another 13
crash power step=1 effect=2 returned keep=nothing
put other 14
";

#[test]
fn a_case_is_shrunk_and_the_small_one_replays() {
    let desk = Desk::new();
    desk.write("x.case", FAILS);
    let bare = copied_binary(&desk);
    let ran = Ran::of(bare(&["shrink", "x.case"]).output().expect("the command runs"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("shrunk   2 steps, 1 crash -> 1 step, 1 crash;"), "{}", ran.out);
    let small = std::fs::read_to_string(desk.path().join("target/crashpoint/x-small.case"));
    let small = small.expect("the small case");
    assert!(
        small.contains("# Its story.\n") && small.contains("\nbatch put a 0\ncrash"),
        "{small}"
    );
    desk.write("small.case", &small);
    let ran = desk.run(&["replay", "small.case"]);
    assert!(ran.out.contains("as the case expects"), "{}", ran.out);
    let left = std::fs::read_to_string(desk.path().join("x.case")).expect("the case");
    assert_eq!(left, FAILS);
}

/// A case of the canary with more of everything.
const LONG: &str = "\
sim no-dir-sync-after-rename
profile posix
seed 7
expect lost-write
put b 700
put a 31
batch put key 12 + put another 13
reopen
sleep 50ms
put zed 4000
put b 9
delete a
crash power step=4 effect=2 keep=nothing
put other 14
delete b
";

/// A report without the breaks within its facts.
fn in_one_line(report: &str) -> String {
    report.replace("\n           ", " ")
}

#[test]
fn two_processes_shrink_alike_at_the_same_time() {
    let desks = [Desk::new(), Desk::new()];
    let running = desks.each_ref().map(|desk| {
        desk.write("x.case", LONG);
        let mut command = copied_binary(desk)(&["shrink", "x.case"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    });
    let [one, other] =
        running.map(|child| Ran::of(child.wait_with_output().expect("the command runs")));
    assert_eq!(one.code, 1, "{}{}", one.out, one.err);
    assert!(one.out.contains("-> 1 step, 1 crash;"), "{}", one.out);
    assert!(in_one_line(&one.out).contains("each of these was needed"), "{}", one.out);
    assert_eq!((one.out, one.err), (other.out, other.err));
    let small = desks.each_ref().map(|desk| {
        std::fs::read_to_string(desk.path().join("target/crashpoint/x-small.case")).expect("a case")
    });
    assert_eq!(small[0], small[1]);
}

#[test]
fn a_budget_ends_a_shrink_and_the_best_case_is_kept() {
    let desk = Desk::new();
    desk.write("x.case", LONG);
    let arguments = ["shrink", "x.case", "--budget", "3"];
    let ran = Ran::of(copied_binary(&desk)(&arguments).output().expect("the command runs"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(in_one_line(&ran.out).contains("the budget was spent"), "{}", ran.out);
    desk.write(
        "y.case",
        std::fs::read(desk.path().join("target/crashpoint/x-small.case")).expect("a case"),
    );
    assert!(desk.run(&["replay", "y.case"]).out.contains("as the case expects"));
}

#[test]
fn a_case_that_cannot_be_written_is_shown() {
    let desk = Desk::new();
    desk.write("x.case", FAILS);
    // Where a folder should be there is a file, which stops root too.
    desk.write("target", "");
    let bare = copied_binary(&desk);
    let ran = Ran::of(bare(&["shrink", "x.case"]).output().expect("the command runs"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("crash power step=1 effect=2"), "{}", ran.out);
    assert!(ran.out.contains("\nsim no-dir-sync-after-rename\n"), "{}", ran.out);
    assert!(ran.err.contains("could not be written"), "{}", ran.err);
}

#[test]
#[ignore = "shrinks each failure of the canary: .ci/full runs it"]
fn a_run_that_can_write_no_case_shows_its_failures_small_with_their_cases() {
    let desk = Desk::new();
    desk.write("target", "");
    let bare = copied_binary(&desk);
    let run = ["run", "no-dir-sync-after-rename", "--profile", "posix", "--json", "events"];
    let ran = Ran::of(bare(&run).output().expect("the command runs"));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let count = |text: &str| ran.out.matches(text).count();
    assert!(count("\n  class    ") > 0, "{}", ran.out);
    assert_eq!(count("\n  shrunk   "), count("\n  class    "), "{}", ran.out);
    assert_eq!(count("\ncrashpoint-case 3\n"), count("\n  class    "), "{}", ran.out);
    assert!(ran.err.contains("this case could not be written"), "{}", ran.err);
    let events = std::fs::read_to_string(desk.path().join("events")).expect("the events");
    assert_eq!(events.matches("\"shrunk\":\"").count(), count("\n  class    "), "{events}");
}

#[test]
fn a_wrong_word_for_shrinking_is_refused_before_the_run() {
    let desk = Desk::new();
    let ran = desk.command(&["run", "toy"]).env("CRASHPOINT_SHRINK", "maybe").output();
    let ran = Ran::of(ran.expect("the command runs"));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(ran.err, "error: CRASHPOINT_SHRINK=maybe: expected 0 or 1\n");
}

#[test]
fn what_cannot_be_shrunk_is_refused_in_one_line() {
    let desk = Desk::new();
    desk.write("x.case", GOOD);
    assert!(desk.refused(&["shrink", "x.case"]).contains("nothing to shrink"));
    desk.write("x.case", with("expect pass", "expect lost-write"));
    assert!(desk.refused(&["shrink", "x.case"]).contains("found no violation"));
    desk.write("x.case", with("sim toy", "sim nosuch"));
    assert!(desk.refused(&["shrink", "x.case"]).contains("line 1: there is no sim"));
    desk.write("x.case", with("put b 2", &"put \"a\"*40000000 1\n".repeat(3)));
    assert!(desk.refused(&["shrink", "x.case"]).contains("x.case: line"));
    assert!(desk.refused(&["shrink", "nosuch.case"]).contains("nosuch.case"));
}

/// The command as a copy that no target folder holds: it writes below the current directory.
fn copied_binary(desk: &Desk) -> impl Fn(&[&str]) -> Command + '_ {
    let copy = desk.path().join("crashpoint-copy");
    // A copy made here could be open for writing in a child of another test, and not start.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_crashpoint")).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    move |arguments| {
        let mut command = Command::new(&copy);
        command.args(arguments).current_dir(desk.path());
        command
    }
}
