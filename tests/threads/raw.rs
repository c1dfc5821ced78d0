//! System calls that bypass the C library: a trap passes them to the same doors.

use std::ffi::CString;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::c::raw;
use crate::rig::{at, same_in_every_process, scenes};

fn path(name: &str) -> CString {
    CString::new(at(name)).expect("no NUL in it")
}

/// Writes, syncs and renames a file without the C library.
fn write_raw(name: &str) -> Vec<i64> {
    let (from, to) = (path("new"), path(name));
    let here = libc::AT_FDCWD as usize;
    let flags = (libc::O_CREAT | libc::O_WRONLY) as usize;
    let fd = raw(libc::SYS_openat, [here, from.as_ptr() as usize, flags, 0o644, 0, 0]);
    let bytes = b"raw";
    let file = fd as usize;
    vec![
        fd,
        raw(libc::SYS_write, [file, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]),
        raw(libc::SYS_fsync, [file, 0, 0, 0, 0, 0]),
        raw(libc::SYS_close, [file, 0, 0, 0, 0, 0]),
        raw(libc::SYS_close, [file, 0, 0, 0, 0, 0]),
        raw(libc::SYS_renameat, [here, from.as_ptr() as usize, here, to.as_ptr() as usize, 0, 0]),
    ]
}

scenes! {
    Files {
        let first = write_raw("one");
        let second = thread::spawn(|| write_raw("two")).join().expect("it does not panic");
        let text = |name| fs::read_to_string(at(name)).expect("it is there");
        format!("{first:?} {second:?} {} {}", text("one"), text("two"))
    }
    Waits {
        static WORD: AtomicU32 = AtomicU32::new(0);
        let word = (&raw const WORD) as usize;
        let private = libc::FUTEX_PRIVATE_FLAG;
        let waiter = thread::spawn(move || {
            while WORD.load(Ordering::Acquire) == 0 {
                raw(libc::SYS_futex, [word, (libc::FUTEX_WAIT | private) as usize, 0, 0, 0, 0]);
            }
            raw(libc::SYS_gettid, [0; 6])
        });
        raw(libc::SYS_sched_yield, [0; 6]);
        let mut drawn = [0u8; 4];
        raw(libc::SYS_getrandom, [drawn.as_mut_ptr() as usize, 4, 0, 0, 0, 0]);
        WORD.store(1, Ordering::Release);
        raw(libc::SYS_futex, [word, (libc::FUTEX_WAKE | private) as usize, 1, 0, 0, 0]);
        format!("{} {drawn:?}", waiter.join().expect("it does not panic"))
    }
    Host {
        let mut name = [0u8; 390];
        let result = raw(libc::SYS_uname, [name.as_mut_ptr() as usize, 0, 0, 0, 0, 0]);
        let wrong = raw(libc::SYS_close, [usize::MAX, 0, 0, 0, 0, 0]);
        format!("{result} {wrong} {}", name.starts_with(b"Linux"))
    }
    Clones {
        raw(libc::SYS_fork, [0; 6]).to_string()
    }
}

#[test]
fn raw_calls_on_files_arrive_on_every_thread() {
    for left in same_in_every_process::<Files>(0..3) {
        let calls = "[1048576, 3, 0, 0, -9, 0]";
        assert_eq!(left.said, format!("{calls} {calls} raw raw"));
        for call in ["1 fsync new 0", "2 renameat new 0"] {
            assert!(left.calls.iter().any(|made| made == call), "{call}: {:?}", left.calls);
        }
    }
}

#[test]
fn raw_futex_id_and_entropy_calls_reach_the_world() {
    for left in same_in_every_process::<Waits>(0..6) {
        assert!(left.said.starts_with("1001 "), "{}", left.said);
        assert_eq!(left.hung, None);
    }
}

#[test]
fn raw_calls_on_the_host_reach_the_kernel() {
    for left in same_in_every_process::<Host>(0..1) {
        assert_eq!(left.said, format!("0 -{} true", libc::EBADF));
    }
}

#[test]
fn a_raw_fork_is_refused_by_name() {
    for left in same_in_every_process::<Clones>(0..1) {
        assert_eq!(left.said, format!("-{}", libc::ENOSYS));
        assert_eq!(left.refused, ["fork"]);
    }
}
