//! Every rule of the model is checked: a profile with one rule changed fails some check here.

use crashpoint::inner::disk::failure::{FailedSync, MountState, Reported, Shows};
use crashpoint::inner::disk::profile::{Home, Need, PieceClass, Required, SyncRule};
use crashpoint::{Profile, TearRule};

use crate::{ace, failures, lists, real, seen, xfstests};

/// The profile without one of its needs.
fn without(profile: &Profile, of: PieceClass, on: Required) -> Profile {
    let gone = Need { of, on };
    assert!(profile.needs.contains(&gone), "{} has no {gone:?}", profile.name);
    let rest: Vec<Need> = profile.needs.iter().copied().filter(|need| *need != gone).collect();
    Profile { needs: Box::leak(rest.into_boxed_slice()), ..*profile }
}

/// The profile with one more need.
fn with(profile: &Profile, of: PieceClass, on: Required) -> Profile {
    let all = [profile.needs, &[Need { of, on }]].concat();
    Profile { needs: Box::leak(all.into_boxed_slice()), ..*profile }
}

const EXT4: Profile = Profile::EXT4;
const LOCK: Profile = Profile::EXT4_DIOREAD_LOCK;
const NODELALLOC: Profile = Profile::EXT4_NODELALLOC;
const WRITEBACK: Profile = Profile::EXT4_WRITEBACK;
const JOURNAL: Profile = Profile::EXT4_JOURNAL;
const XFS: Profile = Profile::XFS;
const BTRFS: Profile = Profile::BTRFS;
const POSIX: Profile = Profile::POSIX;

/// A broken rule, and the profile with it.
type Mutation = (&'static str, Profile);

/// Mutations of the requirements of pieces on ext4.
fn needs_of_ext4() -> Vec<Mutation> {
    vec![
        ("ext4: a new block is present before older records of the log", {
            without(&EXT4, PieceClass::Extend, Required::Log)
        }),
        ("ext4: data in a hole is present before older records of the log", {
            without(&EXT4, PieceClass::Fill, Required::Log)
        }),
        ("ext4: new blocks of one call come in any order", {
            without(&EXT4, PieceClass::Extend, Required::LowerOfCall)
        }),
        ("ext4: new blocks come in order", with(&EXT4, PieceClass::Extend, Required::Lower)),
        ("ext4: blocks in a hole come in order", with(&EXT4, PieceClass::Fill, Required::Lower)),
        ("ext4: a new size is present before older records of the log", {
            without(&EXT4, PieceClass::Reach, Required::Log)
        }),
        ("ext4: a new size waits for overwrites below it", {
            with(&EXT4, PieceClass::Reach, Required::LowerOrUnwritten)
        }),
        (
            "ext4: a truncation is present before its zeros",
            without(&EXT4, PieceClass::Resize, Required::Block),
        ),
        ("ext4: a new size waits for its data", with(&EXT4, PieceClass::Reach, Required::First)),
        (
            "ext4: a size in a block waits for its data",
            with(&EXT4, PieceClass::Grow, Required::Block),
        ),
        ("ext4: an overwrite waits for the log", with(&EXT4, PieceClass::Overwrite, Required::Log)),
        (
            "ext4: a renamed file waits for its data",
            with(&EXT4, PieceClass::Replace, Required::File),
        ),
    ]
}

/// Mutations of the groups of pieces on ext4, of its syncs and tears.
fn rules_of_ext4() -> Vec<Mutation> {
    let file = EXT4.fsync_file;
    let dir = EXT4.fsync_directory;
    vec![
        ("ext4: sizes leave the log", Profile { grow: Home::Own, ..EXT4 }),
        ("ext4: truncations leave the log", Profile { resize: Home::Own, ..EXT4 }),
        ("ext4: names leave the log", Profile { entry: Home::Own, ..EXT4 }),
        ("ext4: holes leave the log", Profile { hole: Home::Own, ..EXT4 }),
        ("ext4: new blocks are allocated by the call", {
            Profile { fresh: Home::Log, reach: Home::Log, ..EXT4 }
        }),
        (
            "ext4: a rename is two pieces",
            Profile { atomic_rename: false, entry: Home::Own, ..EXT4 },
        ),
        (
            "ext4: fsync leaves data",
            Profile { fsync_file: SyncRule { data: false, ..file }, ..EXT4 },
        ),
        ("ext4: fsync leaves the size", {
            Profile { fsync_file: SyncRule { size: false, ..file }, ..EXT4 }
        }),
        ("ext4: fsync leaves names", {
            let rule = SyncRule { names: false, touched: false, ..file };
            Profile { fsync_file: rule, ..EXT4 }
        }),
        ("ext4: fdatasync covers renames", Profile { fdatasync_file: file, ..EXT4 }),
        ("ext4: fdatasync leaves data", {
            let rule = SyncRule { data: false, ..EXT4.fdatasync_file };
            Profile { fdatasync_file: rule, ..EXT4 }
        }),
        ("ext4: fdatasync leaves the size", {
            let rule = SyncRule { size: false, ..EXT4.fdatasync_file };
            Profile { fdatasync_file: rule, ..EXT4 }
        }),
        ("ext4: fsync of a directory stops at its last change", {
            Profile { fsync_directory: SyncRule { log: false, ..dir }, ..EXT4 }
        }),
        ("ext4: new blocks tear", {
            let tear = TearRule { classes: POSIX.tear.classes, ..EXT4.tear };
            Profile { tear, ..EXT4 }
        }),
        ("ext4: blocks tear only at their ends", {
            Profile { tear: TearRule { suffix: false, ..EXT4.tear }, ..EXT4 }
        }),
        ("ext4: sectors have 4096 bytes", {
            Profile { tear: TearRule { sector: 4096, ..EXT4.tear }, ..EXT4 }
        }),
    ]
}

/// Mutations of the other mounts of ext4, and of xfs.
fn rules_of_others() -> Vec<Mutation> {
    let dir = EXT4.fsync_directory;
    vec![
        ("dioread-lock: a new size does not wait", {
            without(&LOCK, PieceClass::Reach, Required::First)
        }),
        ("nodelalloc: an overwrite needs no block", {
            without(&NODELALLOC, PieceClass::Overwrite, Required::First)
        }),
        ("nodelalloc: overwrites are logged", Profile { data: Home::Log, ..NODELALLOC }),
        ("writeback: a truncation waits for its zeros", {
            with(&WRITEBACK, PieceClass::Resize, Required::Block)
        }),
        (
            "writeback: new blocks come in order",
            with(&WRITEBACK, PieceClass::Extend, Required::Lower),
        ),
        ("journal: overwrites are not logged", Profile { data: Home::Own, ..JOURNAL }),
        ("xfs: new blocks come in order", with(&XFS, PieceClass::Extend, Required::Lower)),
        ("xfs: blocks in a hole come in order", with(&XFS, PieceClass::Fill, Required::Lower)),
        ("xfs: a size in a block waits for the data before it", {
            with(&XFS, PieceClass::Grow, Required::Lower)
        }),
        (
            "xfs: a hole does not zero the rest of the last block",
            Profile { zeroes_tail: false, ..XFS },
        ),
        ("xfs: a size in a block is present before its data", {
            without(&XFS, PieceClass::Grow, Required::Block)
        }),
        ("xfs: a size over new blocks is present before them", {
            without(&XFS, PieceClass::Reach, Required::Block)
        }),
        ("xfs: fdatasync leaves renames", {
            Profile { fdatasync_file: EXT4.fdatasync_file, ..XFS }
        }),
        ("xfs: fdatasync covers an exchange", {
            let file = SyncRule { swapped: true, ..XFS.fdatasync_file };
            Profile { fdatasync_file: file, ..XFS }
        }),
        ("xfs: fsync of a directory covers the whole log", {
            Profile { fsync_directory: dir, ..XFS }
        }),
    ]
}

/// Mutations of btrfs and posix.
fn rules_of_btrfs_and_posix() -> Vec<Mutation> {
    vec![
        ("btrfs: a file loses only its last writes", {
            Profile { data: Home::Inode, fresh: Home::Inode, ..BTRFS }
        }),
        ("btrfs: a write is whole", {
            let (data, reach) = (Home::Inode, Home::Inode);
            Profile { whole_writes: true, data, fresh: data, grow: reach, reach, ..BTRFS }
        }),
        (
            "btrfs: a size waits for its data alone",
            with(&BTRFS, PieceClass::Reach, Required::Block),
        ),
        ("btrfs: a size in a block comes before all data", {
            without(&BTRFS, PieceClass::Grow, Required::BlockAlone)
        }),
        ("btrfs: a size over new blocks comes before all data", {
            without(&BTRFS, PieceClass::Reach, Required::BlockAlone)
        }),
        ("btrfs: a replacing rename waits for its data", {
            with(&BTRFS, PieceClass::Replace, Required::Size)
        }),
        ("btrfs: an overwrite is present before older records of the log", {
            without(&BTRFS, PieceClass::Overwrite, Required::Log)
        }),
        ("btrfs: fsync covers earlier changes of other files", {
            Profile { fsync_file: SyncRule { alone: false, ..BTRFS.fsync_file }, ..BTRFS }
        }),
        ("posix: a rename is one piece", Profile { atomic_rename: true, ..POSIX }),
        ("posix: fsync covers names", {
            Profile { fsync_file: SyncRule { names: true, ..POSIX.fsync_file }, ..POSIX }
        }),
        ("posix: a size waits for its block", with(&POSIX, PieceClass::Reach, Required::Block)),
    ]
}

/// Mutations of the effects of a failed sync.
fn rules_of_failures() -> Vec<Mutation> {
    let failing = |profile: Profile, failure| Profile { failure, ..profile };
    let usual = FailedSync::USUAL;
    vec![
        ("ext4: a failed fsync shows the disk's version", {
            failing(EXT4, FailedSync { shows: Shows::Old, ..usual })
        }),
        ("ext4: the fsync after the failed one reports the error", {
            failing(EXT4, FailedSync { reported: Reported::Next, ..usual })
        }),
        ("nodelalloc: a failed fsync shows the disk's version", {
            failing(NODELALLOC, FailedSync { shows: Shows::Old, ..usual })
        }),
        ("ext4: a failed fsync makes the file system read-only", {
            failing(EXT4, FailedSync { mount: MountState::ReadOnly, ..usual })
        }),
        ("journal: changes continue after a failed fsync", failing(JOURNAL, usual)),
        ("journal: the file system shuts down", {
            failing(JOURNAL, FailedSync { mount: MountState::ShutDown, ..usual })
        }),
        ("xfs: a size is logged though its data failed", failing(XFS, usual)),
        (
            "xfs: the file system shuts down",
            failing(XFS, FailedSync { mount: MountState::ShutDown, ..XFS.failure }),
        ),
        ("btrfs: as in 2020", failing(BTRFS, Profile::BTRFS_2020.failure)),
    ]
}

/// A check: its name, and a function that lists the errors of a profile.
type Check = (&'static str, fn(&Profile) -> Vec<String>);

const CHECKS: [Check; 6] = [
    ("failed syncs", failures::differences),
    ("real kernels", real::differences),
    ("real kernels, more programs", seen::differences),
    ("Ferrite and GenMC", lists::differences),
    ("xfstests", xfstests::differences),
    ("ACE", ace::differences),
];

#[test]
fn every_broken_rule_fails_a_check() {
    for (check, differences) in CHECKS {
        let wrong: Vec<String> = Profile::all().iter().flat_map(differences).collect();
        assert!(wrong.is_empty(), "{check}: {}", wrong.join("\n"));
    }
    let mut unnoticed = Vec::new();
    let mutations = [
        needs_of_ext4(),
        rules_of_ext4(),
        rules_of_others(),
        rules_of_btrfs_and_posix(),
        rules_of_failures(),
    ]
    .concat();
    assert!(mutations.len() >= 20);
    for (name, broken) in &mutations {
        let noticed: Vec<&str> = CHECKS
            .iter()
            .filter(|(_, differences)| !differences(broken).is_empty())
            .map(|(check, _)| *check)
            .collect();
        println!("{name:60} {}", noticed.join(", "));
        if noticed.is_empty() {
            unnoticed.push(*name);
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
