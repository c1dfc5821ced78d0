//! Files: bytes, offsets, sizes, flags and locks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crashpoint::inner::disk::effect::{Allocation, Effect, Sync};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::harness::{at, errno, run};

fn both() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    options
}

#[test]
fn a_file_is_written_and_read() {
    let ran = run(|| {
        fs::write(at("a"), b"hello")?;
        assert_eq!(fs::read(at("a"))?, b"hello");
        assert_eq!(fs::metadata(at("a"))?.len(), 5);
        Ok(())
    });
    assert_eq!(ran.doors()[..3], ["open64", "write", "close"]);
    assert_eq!(ran.calls()[1].path, b"a");
    assert_eq!(ran.calls()[1].result, 5);
    let node = ran.tree.node(ran.ino("a")).expect("it is on the disk");
    assert_eq!(node.content().map(|content| content.size()), Some(5));
}

#[test]
fn descriptors_are_numbers_that_the_kernel_never_gives() {
    run(|| {
        assert_eq!(File::create(at("a"))?.as_raw_fd(), 1 << 20);
        assert_eq!(File::create(at("a"))?.as_raw_fd(), 1 << 20, "the lowest free one");
        Ok(())
    });
}

#[test]
fn a_read_changes_only_the_bytes_of_the_buffer_that_it_returns() {
    run(|| {
        fs::write(at("a"), b"hello")?;
        let file = File::open(at("a"))?;
        let mut whole = [b'.'; 8];
        assert_eq!(file.read_at(&mut whole, 3)?, 2);
        assert_eq!(&whole, b"lo......");
        let (mut first, mut second) = ([b'.'; 4], [b'.'; 4]);
        let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!((&file).read_vectored(&mut parts)?, 5);
        assert_eq!((&first, &second), (b"hell", b"o..."));
        Ok(())
    });
}

#[test]
fn appending_writes_at_the_end_whatever_the_offset() {
    run(|| {
        fs::write(at("a"), b"one")?;
        let mut file = OpenOptions::new().append(true).read(true).open(at("a"))?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(b"two")?;
        assert_eq!(fs::read(at("a"))?, b"onetwo");
        Ok(())
    });
}

#[test]
fn creating_and_truncating_follow_their_flags() {
    run(|| {
        fs::write(at("a"), b"old")?;
        assert_eq!(errno(File::create_new(at("a"))), Some(libc::EEXIST));
        File::create_new(at("b"))?;
        assert_eq!(OpenOptions::new().write(true).open(at("a"))?.metadata()?.len(), 3);
        assert_eq!(File::create(at("a"))?.metadata()?.len(), 0);
        assert_eq!(errno(File::open(at("none"))), Some(libc::ENOENT));
        let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(at("a"));
        assert_eq!(errno(directory), Some(libc::ENOTDIR));
        assert_eq!(errno(OpenOptions::new().write(true).open(at(""))), Some(libc::EISDIR));
        Ok(())
    });
}

#[test]
fn positioned_calls_leave_the_offset_alone() {
    run(|| {
        let mut file = both().open(at("a"))?;
        file.write_all(b"0123456789")?;
        file.write_all_at(b"xyz", 2)?;
        let mut three = [0; 3];
        file.read_exact_at(&mut three, 1)?;
        assert_eq!(&three, b"1xy");
        assert_eq!(file.stream_position()?, 10);
        assert_eq!(file.seek(SeekFrom::End(-1))?, 9);
        assert_eq!(errno(file.seek(SeekFrom::Current(-20))), Some(libc::EINVAL));
        Ok(())
    });
}

#[test]
fn a_vectored_call_is_one_write() {
    let ran = run(|| {
        let mut file = both().open(at("a"))?;
        assert_eq!(file.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")])?, 5);
        file.rewind()?;
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let mut parts = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        assert_eq!(file.read_vectored(&mut parts)?, 5);
        assert_eq!((&one, &two), (b"abcd", b"e\0\0\0"));
        assert_eq!(rustix::io::pwritev(&file, &[IoSlice::new(b"X"), IoSlice::new(b"Y")], 1)?, 2);
        let mut parts = [IoSliceMut::new(&mut one)];
        assert_eq!(rustix::io::preadv(&file, &mut parts, 1)?, 4);
        assert_eq!(&one, b"XYde");
        Ok(())
    });
    let ino = ran.ino("a");
    let writes: Vec<_> =
        ran.effects().into_iter().filter(|e| matches!(e, Effect::Write { .. })).collect();
    let whole = Effect::Write { ino, offset: 0, bytes: b"abcde" };
    assert_eq!(writes, [whole, Effect::Write { ino, offset: 1, bytes: b"XY" }]);
}

#[test]
fn duplicates_share_their_offset_and_closing_one_leaves_the_other() {
    run(|| {
        let mut one = both().open(at("a"))?;
        let mut two = one.try_clone()?;
        one.write_all(b"abc")?;
        assert_eq!(two.stream_position()?, 3);
        drop(one);
        two.write_all(b"def")?;
        let mut fixed = rustix::io::dup(&two)?;
        rustix::io::dup2(File::open(at("a"))?, &mut fixed)?;
        assert_eq!(rustix::fs::seek(&fixed, rustix::fs::SeekFrom::Current(0))?, 0);
        let least = two.as_raw_fd() + 40;
        assert_eq!(rustix::io::fcntl_dupfd_cloexec(&two, least)?.as_raw_fd(), least);
        assert_eq!(fs::read(at("a"))?, b"abcdef");
        Ok(())
    });
}

#[test]
fn flags_of_a_descriptor_are_kept() {
    run(|| {
        let file = both().open(at("a"))?;
        assert_eq!(rustix::io::fcntl_getfd(&file)?, rustix::io::FdFlags::CLOEXEC);
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
        assert_eq!(rustix::io::fcntl_getfd(&file)?, rustix::io::FdFlags::empty());
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        assert!(rustix::fs::fcntl_getfl(&file)?.contains(OFlags::RDWR | OFlags::APPEND));
        assert!(!io::IsTerminal::is_terminal(&file));
        Ok(())
    });
}

#[test]
fn sizes_are_set_and_space_is_reserved() {
    let ran = run(|| {
        let file = both().open(at("a"))?;
        file.set_len(10)?;
        assert_eq!(file.metadata()?.len(), 10);
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 100)?;
        assert_eq!(file.metadata()?.len(), 100);
        let unknown = rustix::fs::fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
        assert_eq!(unknown, Err(Errno::INVAL), "there is nothing after the range");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential)?;
        assert_eq!(errno(File::open(at("a"))?.set_len(0)), Some(libc::EINVAL));
        Ok(())
    });
    let ino = ran.ino("a");
    let what = Allocation::Extend;
    assert!(ran.effects().contains(&Effect::Allocate { ino, offset: 0, length: 100, what }));
}

#[test]
fn each_sync_is_logged_as_an_effect() {
    let ran = run(|| {
        let file = both().open(at("a"))?;
        file.sync_all()?;
        file.sync_data()?;
        File::open(at(""))?.sync_all()?;
        rustix::fs::syncfs(&file)?;
        let mut durable = both().custom_flags(libc::O_DSYNC).open(at("a"))?;
        durable.write_all(b"x")?;
        let parts = [io::IoSlice::new(b"y"), io::IoSlice::new(b"z")];
        rustix::io::pwritev2(&file, &parts, 5, rustix::io::ReadWriteFlags::SYNC)?;
        Ok(())
    });
    let ino = ran.ino("a");
    let syncs: Vec<_> = ran
        .effects()
        .into_iter()
        .filter_map(|effect| if let Effect::Sync(sync) = effect { Some(sync) } else { None })
        .collect();
    let root = crashpoint::inner::disk::Ino::ROOT;
    let written = |offset, length, data_only| Sync::Written { ino, offset, length, data_only };
    let expected = [
        Sync::Inode(ino),
        Sync::Data(ino),
        Sync::Inode(root),
        Sync::All,
        written(0, 1, true),
        written(5, 2, false),
    ];
    assert_eq!(syncs, expected);
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    run(|| {
        let mut unnamed =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(at(""))?;
        unnamed.write_all(b"x")?;
        assert_eq!(fs::read_dir(at(""))?.count(), 0);
        let itself = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(rustix::fs::CWD, &itself, rustix::fs::CWD, at("named"), follow)?;
        assert_eq!(fs::read(at("named"))?, b"x");
        tempfile::tempfile_in(at(""))?.write_all(b"y")?;
        assert_eq!(fs::read_dir(at(""))?.count(), 1);
        Ok(())
    });
}

#[test]
fn locks_conflict_between_open_files() {
    run(|| {
        let (one, two) = (both().open(at("a"))?, both().open(at("a"))?);
        one.lock()?;
        assert!(matches!(two.try_lock(), Err(fs::TryLockError::WouldBlock)));
        one.unlock()?;
        two.try_lock_shared().map_err(io::Error::from)?;
        rustix::fs::flock(&one, FlockOperation::NonBlockingLockShared)?;
        // One process never conflicts with itself.
        rustix::fs::fcntl_lock(&one, FlockOperation::NonBlockingLockExclusive)?;
        rustix::fs::fcntl_lock(&two, FlockOperation::NonBlockingLockExclusive)?;
        Ok(())
    });
}

#[test]
fn copying_on_the_disk_and_to_and_from_the_host_keeps_every_byte() {
    let host = tempfile::tempdir().expect("a directory of the host");
    let outside = host.path().join("copy");
    run(|| {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(at("a"), &bytes)?;
        assert_eq!(fs::copy(at("a"), at("b"))?, 3_000_000);
        assert_eq!(fs::read(at("b"))?, bytes);
        assert_eq!(fs::copy(at("a"), &outside)?, 3_000_000);
        assert_eq!(fs::read(&outside)?, bytes);
        assert_eq!(fs::copy(&outside, at("c"))?, 3_000_000);
        assert_eq!(fs::read(at("c"))?, bytes);
        let mut copy = Vec::new();
        io::copy(&mut File::open(at("a"))?.take(1000), &mut copy)?;
        assert_eq!(copy, bytes[..1000]);
        Ok(())
    });
}

#[test]
fn a_closed_descriptor_is_refused() {
    run(|| {
        let file = File::create(at("a"))?;
        let copy = rustix::io::dup(&file)?;
        let number = copy.as_raw_fd();
        drop(copy);
        let path = format!("/proc/self/fd/{number}");
        assert_eq!(errno(fs::read_link(path)), Some(libc::ENOENT));
        assert_eq!(fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?, at("a"));
        let read_only = rustix::fs::open(at("a"), OFlags::RDONLY, Mode::empty())?;
        assert_eq!(rustix::io::write(&read_only, b"x"), Err(Errno::BADF));
        Ok(())
    });
}
