//! What single calls on maps do, and what they leave in the log.
#![expect(unsafe_code, reason = "maps have no safe form")]

use std::fs::{self, File};
use std::io::{Error, Read, Result, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use crashpoint::inner::disk::effect::{Effect, Sync};
use crashpoint::inner::disk::errno::Errno;
use crashpoint::inner::disk::space::Space;

use crate::harness::{at, run, run_in};
use crate::probe;

const PAGE: usize = 4096;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A new file of this size.
fn file(name: &str, size: usize) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(at(name))?;
    file.set_len(size as u64)?;
    Ok(file)
}

/// Maps a file whole, or up to a length.
fn map(file: &File, length: usize, protection: i32, flags: i32) -> Result<usize> {
    probe::prepare();
    // SAFETY: the kernel chooses the address.
    let at = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(at.expose_provenance()) }
}

fn place(at: usize) -> *mut libc::c_void {
    ptr::with_exposed_provenance_mut(at)
}

/// Stores bytes, which must not fault.
fn store(at: usize, bytes: &[u8]) {
    for (by, &byte) in bytes.iter().enumerate() {
        assert_eq!(probe::store(at + by, byte), Ok(()));
    }
}

fn load(at: usize, length: usize) -> Vec<u8> {
    (at..at + length).map(|at| probe::load(at).expect("it is mapped")).collect()
}

fn done(result: i32) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[test]
fn stores_are_recorded_at_the_next_call_as_sectors_of_each_page() {
    let ran = run(|| {
        let file = file("a", 3 * PAGE)?;
        let map = map(&file, 3 * PAGE, BOTH, libc::MAP_SHARED)?;
        store(map + 600, b"x");
        store(map + PAGE + 5, b"y");
        store(map + PAGE + 1500, b"z");
        store(map + 600, b"xx");
        assert_eq!(fs::metadata(at("a"))?.len(), 3 * PAGE as u64);
        Ok(())
    });
    let written: Vec<(u64, usize)> = ran
        .effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Write { offset, bytes, .. } => Some((offset, bytes.len())),
            _ => None,
        })
        .collect();
    assert_eq!(written, [(512, 512), (4096, 1536)]);
    let store = ran.calls().into_iter().find(|call| call.door == "store").expect("it is recorded");
    assert_eq!((store.path, store.arguments, store.result), (&b"a"[..], [512, 5120], 2048));
}

#[test]
fn a_sync_of_memory_is_one_of_its_range_and_other_flags_sync_nothing() {
    let ran = run(|| {
        let file = file("a", 4 * PAGE)?;
        let map = map(&file, 4 * PAGE, BOTH, libc::MAP_SHARED)?;
        store(map, b"x");
        // SAFETY: the range is mapped.
        unsafe {
            done(libc::msync(place(map), PAGE, libc::MS_ASYNC))?;
            done(libc::msync(place(map), 0, libc::MS_SYNC))?;
            done(libc::msync(place(map + PAGE), PAGE + 1, libc::MS_SYNC))?;
        }
        Ok(())
    });
    let ino = ran.ino("a");
    let sync = Sync::Written { ino, offset: 4096, length: 8192, data_only: true };
    let syncs: Vec<Effect<'_>> =
        ran.effects().into_iter().filter(|effect| matches!(effect, Effect::Sync(_))).collect();
    assert_eq!(syncs, [Effect::Sync(sync)]);
}

#[test]
fn a_map_of_a_terabyte_of_a_small_file_costs_nothing() {
    run(|| {
        let file = file("a", 1 << 40)?;
        for (flags, by) in [(libc::MAP_SHARED, 77), (libc::MAP_PRIVATE, 777)] {
            let map = map(&file, 1 << 40, BOTH, flags)?;
            let far = map + (1 << 39) + by;
            assert_eq!(load(far, 3), [0; 3]);
            store(far, b"far");
            assert_eq!(load(far, 3), b"far");
            // SAFETY: it is mapped.
            done(unsafe { libc::munmap(place(map), 1 << 40) })?;
        }
        let mut read = [0; 3];
        file.read_exact_at(&mut read, (1 << 39) + 77)?;
        assert_eq!(&read, b"far");
        Ok(())
    });
}

#[test]
fn a_store_to_a_hole_on_a_full_disk_is_a_bus_error_and_one_to_a_block_is_none() {
    let full = |setup: &mut crashpoint::inner::process::world::Setup| {
        setup.space =
            Some(Space { pages: 3, inodes: 9, error: Errno(libc::ENOSPC), delayed: false });
    };
    run_in(full, || {
        let file = file("a", 4 * PAGE)?;
        file.write_all_at(&[1; 100], 0)?;
        let map = map(&file, 4 * PAGE, BOTH, libc::MAP_SHARED)?;
        // The directory has one page, the file one: there is room for one more.
        assert_eq!(probe::store(map, 2), Ok(()));
        assert_eq!(probe::store(map + 3 * PAGE, 2), Ok(()));
        assert_eq!(probe::store(map + 2 * PAGE, 2), Err(libc::SIGBUS));
        assert_eq!(probe::load(map + 2 * PAGE), Ok(0));
        file.sync_all()?;
        assert_eq!(probe::store(map + 2 * PAGE, 2), Err(libc::SIGBUS));
        // SAFETY: it is mapped.
        done(unsafe { libc::madvise(place(map + 3 * PAGE), PAGE, libc::MADV_REMOVE) })?;
        assert_eq!(probe::store(map + 2 * PAGE, 2), Ok(()));
        Ok(())
    });
}

#[test]
fn calls_of_the_host_may_use_pages_that_were_never_touched() {
    run(|| {
        let file = file("a", 0)?;
        // More than is loaded when a file is mapped.
        file.write_all_at(&vec![b'o'; 2 << 20], 0)?;
        let map = map(&file, 2 << 20, BOTH, libc::MAP_SHARED)?;
        let mut host = tempfile::tempfile()?;
        // SAFETY: the ranges are mapped, and only raw accesses use them.
        unsafe {
            let fd = host.as_raw_fd();
            assert_eq!(libc::write(fd, place(map + 70_000), 150_000), 150_000);
            assert_eq!(libc::pwrite(fd, c"new".as_ptr().cast(), 3, 9000), 3);
            assert_eq!(libc::pread(fd, place(map + 500_000), 20_000, 0), 20_000);
            let to = libc::iovec { iov_base: place(map + 600_001), iov_len: 5000 };
            assert_eq!(libc::preadv(fd, &raw const to, 1, 8000), 5000);
            let by_number = libc::syscall(libc::SYS_pread64, fd, place(map + 700_000), 10_000, 0);
            assert_eq!(by_number, 10_000);
        }
        let mut copy = Vec::new();
        host.rewind()?;
        host.read_to_end(&mut copy)?;
        let mut read = vec![0; 20_000];
        for (offset, from, length) in
            [(500_000, 0, 20_000), (600_001, 8000, 5000), (700_000, 0, 10_000)]
        {
            file.read_exact_at(&mut read[..length], offset)?;
            assert!(read[..length] == copy[from..from + length]);
        }
        assert_eq!(&copy[9000..9004], b"newo");
        // A call that the disk serves may, too.
        // SAFETY: as above.
        unsafe {
            let fd = file.as_raw_fd();
            assert_eq!(libc::pwrite(fd, place(map + 1_000_000), 100_000, 1_500_000), 100_000);
            assert_eq!(libc::pread(fd, place(map + 1_200_000), 9000, 500_000), 9000);
        }
        file.read_exact_at(&mut read[..9000], 1_200_000)?;
        assert!(read[..9000] == copy[..9000]);
        Ok(())
    });
}

#[test]
fn locked_advised_and_looked_up_pages_are_as_the_kernel_says() {
    run(|| {
        let file = file("a", PAGE + 1)?;
        let map = map(&file, 3 * PAGE, BOTH, libc::MAP_SHARED)?;
        let mut list = [9; 3];
        // SAFETY: the range is mapped, and the list has room for its pages.
        unsafe {
            done(libc::mincore(place(map), 3 * PAGE, list.as_mut_ptr()))?;
            done(libc::mlock(place(map), 2 * PAGE))?;
            done(libc::munlock(place(map), 2 * PAGE))?;
            assert_eq!(libc::posix_madvise(place(map), PAGE, libc::POSIX_MADV_RANDOM), 0);
            assert_eq!(libc::posix_madvise(place(map), PAGE, 77), libc::EINVAL);
            done(libc::madvise(place(map), PAGE, libc::MADV_RANDOM))?;
            let grown = libc::mremap(place(map), 3 * PAGE, 9 * PAGE, libc::MREMAP_MAYMOVE);
            assert_ne!(grown, libc::MAP_FAILED);
            file.set_len(9 * PAGE as u64)?;
            store(grown.addr() + 8 * PAGE, b"grown");
        }
        let mut read = [0; 5];
        file.read_exact_at(&mut read, 8 * PAGE as u64)?;
        assert_eq!((list, &read), ([1, 1, 0], b"grown"));
        Ok(())
    });
}

#[test]
fn a_map_outlives_its_descriptor_and_its_name_and_frees_the_file_at_its_end() {
    let ran = run(|| {
        let file = file("a", PAGE)?;
        let map = map(&file, PAGE, BOTH, libc::MAP_SHARED)?;
        drop(file);
        fs::remove_file(at("a"))?;
        store(map, b"still there");
        // SAFETY: it is mapped.
        done(unsafe { libc::msync(place(map), PAGE, libc::MS_SYNC) })?;
        // SAFETY: the same.
        done(unsafe { libc::munmap(place(map), PAGE) })
    });
    let last = ran.effects().into_iter().next_back();
    assert!(matches!(last, Some(Effect::Free { .. })), "{last:?}");
    let stored = ran.effects().iter().any(|effect| matches!(effect, Effect::Write { .. }));
    assert!(stored);
}
