//! What the engine sees of its machine: simulated files, ids and room; and notes of the rest.
#![expect(unsafe_code, reason = "the C library's functions are unsafe to call")]

use std::ffi::{c_int, c_uint, c_void};
use std::fs;
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::{null, null_mut};

use crashpoint::inner::disk::Errno;
use crashpoint::inner::disk::space::Space;
use crashpoint::inner::process::world::Note;

use crate::harness::{at, errno, run, run_in};

unsafe extern "C" {
    fn _ZNSt13random_device9_M_getvalEv(device: *mut c_void) -> c_uint;
    fn sethostname(name: *const i8, length: usize) -> c_int;
}

/// The result of a C function that returns -1 and sets `errno`.
fn result(returned: c_int) -> Option<i32> {
    if returned == -1 { io::Error::last_os_error().raw_os_error() } else { None }
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path)
}

#[test]
fn reads_of_the_host_are_noted_once_and_only_if_they_may_differ() {
    let ran = run(|| {
        for _ in 0..2 {
            read("/etc/os-release")?;
            read("/proc/self/limits")?;
        }
        // Of the simulated machine, of the installed system, absent, or a folder.
        for path in ["/proc/self/stat", "/proc/meminfo", "/etc/passwd", "/usr/bin/env", "/etc/none"]
        {
            let _ = fs::read(path);
        }
        fs::read_dir("/etc")?;
        fs::read(std::env::current_exe()?)?;
        Ok(())
    });
    let noted = ["/etc/os-release", "/proc/self/limits"].map(|path| Note::Host(path.into()));
    assert_eq!(ran.notes, noted);
}

#[test]
fn a_file_of_the_machine_reads_as_one_of_the_kernel() {
    run(|| {
        let file = fs::File::open("/proc/sys/kernel/hostname")?;
        assert_eq!(io::read_to_string(&file)?, "crashpoint\n");
        assert_eq!(io::read_to_string(&file)?, "");
        assert!(file.metadata()?.is_file());
        assert_eq!(errno(rustix::io::write(&file, b"x").map_err(Into::into)), Some(libc::EPERM));
        drop(file);
        // The same file by its other names.
        let pid = std::process::id();
        let comm = read("/proc/self/comm")?;
        for path in [format!("/proc/{pid}/comm"), "/proc/thread-self/comm".into()] {
            assert_eq!(read(&path)?, comm, "{path}");
        }
        let numbers = read("/proc/self/stat")?;
        let fields: Vec<&str> = numbers.split_whitespace().collect();
        assert_eq!((fields.len(), fields[0]), (52, pid.to_string().as_str()));
        let mapped = read("/proc/self/maps")?;
        assert!(mapped.lines().all(|line| line[73..].starts_with('/')), "{mapped}");
        let own = fs::read_link("/proc/self")?;
        assert_eq!(own, Path::new(&pid.to_string()));
        assert_eq!(errno(fs::read_link("/proc/meminfo")), Some(libc::EINVAL));
        Ok(())
    });
}

#[test]
fn the_working_directory_is_on_the_disk_and_relative_paths_start_there() {
    run(|| {
        assert_eq!(std::env::current_dir()?, at(""));
        fs::write("relative", b"x")?;
        assert_eq!(fs::read(at("relative"))?, b"x");
        std::env::set_current_dir("/")?;
        assert_eq!(errno(fs::read("relative")), Some(libc::ENOENT));
        Ok(())
    });
}

#[test]
fn random_ids_and_devices_follow_the_seed_and_the_boot() {
    let look = |seed, boot| {
        let set = move |setup: &mut crashpoint::inner::process::world::Setup| {
            (setup.seed, setup.boot) = (seed, boot);
        };
        let ran = run_in(set, || {
            // SAFETY: libstdc++'s function reads nothing of the device, and neither does the door.
            let value = unsafe { _ZNSt13random_device9_M_getvalEv(null_mut()) };
            let random = |name| read(&format!("/proc/sys/kernel/random/{name}"));
            Ok((random("boot_id")?, [random("uuid")?, value.to_string()]))
        });
        (ran.result, ran.saw_clock)
    };
    let ((boot, ids), depends) = look(1, 1);
    assert!(depends, "an outcome that depends on the boot must not be reused in another one");
    assert_eq!(look(1, 1), ((boot.clone(), ids.clone()), true));
    let ((same, others), _) = look(2, 1);
    assert_eq!(same, boot);
    assert!(others.iter().zip(&ids).all(|(other, id)| other != id), "{others:?} {ids:?}");
    assert_ne!(look(1, 2).0.0, boot);
    assert_eq!((boot.len(), &boot[14..15]), (37, "4"));
}

#[test]
fn the_process_is_root_and_leads_its_session_and_stays_so() {
    let ran = run(|| {
        // SAFETY: the calls take numbers.
        unsafe {
            let own = libc::getpid();
            assert_eq!([libc::getpgrp(), libc::getsid(0), libc::getpgid(own)], [own; 3]);
            assert_eq!((libc::getppid(), libc::getuid(), libc::getegid()), (1, 0, 0));
            assert_eq!(result(libc::setsid()), Some(libc::EPERM));
            assert_eq!(result(libc::getpgid(own + 1)), Some(libc::ESRCH));
            assert_eq!((libc::setuid(0), libc::setresgid(0, u32::MAX, 0)), (0, 0));
            assert_eq!(result(libc::setuid(1000)), Some(libc::EPERM));
            assert_eq!(result(libc::setgroups(0, null())), Some(libc::EPERM));
            assert_eq!(result(sethostname(c"x".as_ptr(), 1)), Some(libc::EPERM));
            assert_eq!(libc::setpriority(libc::PRIO_PROCESS, 0, 5), 0);
            assert_eq!(libc::getpriority(libc::PRIO_PROCESS, own.cast_unsigned()), 5);
            assert_eq!(libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0), 15);
            let stranger = libc::getpriority(libc::PRIO_PROCESS, 1);
            assert_eq!(result(stranger), Some(libc::ESRCH));
            assert_eq!(
                result(libc::syscall(libc::SYS_rseq, 0, 0, 0, 0) as c_int),
                Some(libc::ENOSYS)
            );
        }
        Ok(())
    });
    let refused = ["setuid", "setgroups", "sethostname"];
    assert_eq!(ran.notes, refused.map(|call| Note::NotSimulated(call.to_owned())));
}

/// Free blocks and inodes.
fn room(path: &Path) -> io::Result<(u64, u64)> {
    let volume = rustix::fs::statvfs(path)?;
    assert_eq!((volume.f_bavail, volume.f_favail), (volume.f_bfree, volume.f_ffree));
    Ok((volume.f_bfree, volume.f_ffree))
}

#[test]
fn the_free_room_follows_the_limit_and_the_use_of_the_disk() {
    let space = Space { pages: 10, inodes: 5, error: Errno::ENOSPC, delayed: false };
    run_in(
        |setup| setup.space = Some(space),
        || {
            let volume = rustix::fs::statfs(at(""))?;
            assert_eq!((volume.f_blocks, volume.f_files), (10, 5));
            let before = room(&at(""))?;
            let file = fs::File::create(at("file"))?;
            rustix::io::pwrite(&file, &[1; 3 * 4096], 0)?;
            assert_eq!(room(&at(""))?, (before.0 - 3, before.1 - 1));
            // SAFETY: the structure may be all zeros, and the descriptor is open.
            let by_descriptor = unsafe {
                let mut volume: libc::statvfs = zeroed();
                assert_eq!(libc::fstatvfs(file.as_raw_fd(), &mut volume), 0);
                volume.f_bfree
            };
            assert_eq!(by_descriptor, before.0 - 3);
            while rustix::io::write(&file, &[1; 4096]).is_ok() {}
            assert_eq!(room(&at(""))?.0, 0);
            Ok(())
        },
    );
    let limitless = run(|| room(&at(""))).result;
    assert!(limitless.0 > 1 << 27, "{limitless:?}");
    let host = run(|| room(Path::new("/"))).result;
    assert_eq!(host, (1 << 27, 1 << 27));
}

#[test]
fn a_limit_of_a_wait_must_be_valid() {
    run(|| {
        for limit in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            let limit = libc::timespec { tv_sec: limit.0, tv_nsec: limit.1 };
            // SAFETY: there are no descriptors, and the time outlives the calls.
            unsafe {
                let none = null_mut();
                let waits = [
                    libc::ppoll(null_mut(), 0, &limit, null()),
                    libc::pselect(0, none, none, none, &limit, null()),
                ];
                assert_eq!(waits, [-1; 2], "{limit:?}");
                assert_eq!(result(-1), Some(libc::EINVAL));
            }
        }
        let mut negative = libc::timeval { tv_sec: -1, tv_usec: 0 };
        // SAFETY: there are no descriptors, and the time outlives the call.
        let waited = unsafe { libc::select(0, null_mut(), null_mut(), null_mut(), &mut negative) };
        assert_eq!(result(waited), Some(libc::EINVAL));
        Ok(())
    });
}
