//! Doors that query descriptors and change their flags, and the doors of the advisory locks.

use std::ffi::{c_int, c_short};

use libc::{off_t, pid_t};

use crate::base::digest::hash;
use crate::disk::effect::Kind;
use crate::disk::lock::{ByteRange, LockKind, LockOwner};
use crate::disk::{Errno, Handle};
use crate::process::seam::reach;
use crate::process::threads::baton;
use crate::process::world::descriptors::{FIRST, is_beyond, is_simulated};
use crate::process::world::door::Door;
use crate::process::world::schedule::WaitFor;
use crate::process::world::{self, CallResult, Called, World};

use super::open::duplicate_from;
use super::{answer, bits, doors, on_descriptor};

doors! {
    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int = control;
    fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int = control;
    fn __fcntl(fd: c_int, command: c_int, argument: usize) -> c_int = control;
    fn flock(fd: c_int, operation: c_int) -> c_int = lock_whole;
    fn lockf(fd: c_int, command: c_int, length: off_t) -> c_int = lock_from_here;
    fn lockf64(fd: c_int, command: c_int, length: off_t) -> c_int = lock_from_here;
    fn ioctl(fd: c_int, request: u64, argument: usize) -> c_int = device_control;
    fn isatty(fd: c_int) -> c_int = is_terminal;
}

pub(super) unsafe fn control(
    door: &'static Door,
    fd: c_int,
    command: c_int,
    argument: usize,
) -> Option<c_int> {
    if !is_simulated(fd) {
        return None;
    }
    // fcntl(2) takes an `int` here, whatever the upper half of the register holds.
    let number = argument as c_int;
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC if number < 0 || is_beyond(number) => {
            Some(answer(on_descriptor(door, fd, [bits(command), 0], |_, _| Err(Errno::EINVAL))?))
        }
        libc::F_DUPFD => duplicate_from(door, fd, number.max(FIRST), false),
        libc::F_DUPFD_CLOEXEC => duplicate_from(door, fd, number.max(FIRST), true),
        libc::F_GETLK
        | libc::F_OFD_GETLK
        | libc::F_SETLK
        | libc::F_OFD_SETLK
        | libc::F_SETLKW
        | libc::F_OFD_SETLKW => {
            let waits = matches!(command, libc::F_SETLKW | libc::F_OFD_SETLKW);
            let attempt = || {
                on_descriptor(door, fd, [bits(command), 0], |world, file| {
                    let at = argument as *mut libc::flock;
                    // SAFETY: with these commands fcntl(2) takes a pointer to a lock.
                    let mut lock = unsafe { reach::value(at) }.ok_or(Errno::EFAULT)?;
                    let done = world.lock_range(file, command, &mut lock)?;
                    let gets = matches!(command, libc::F_GETLK | libc::F_OFD_GETLK);
                    // SAFETY: the same.
                    let stored = !gets || unsafe { reach::store(at, lock) };
                    if stored { Ok(done) } else { Err(Errno::EFAULT) }
                })
            };
            Some(answer(until_free(waits.then_some(Errno::EAGAIN), attempt)?))
        }
        _ => {
            // The other commands take no argument: its register may hold anything.
            let sets = matches!(command, libc::F_SETFD | libc::F_SETFL);
            let shown = if sets { number } else { 0 };
            let called = Called::on(door, fd, [bits(command), bits(shown)]);
            let outcome = baton::serve(|world| {
                world.call(&called, |world| match command {
                    libc::F_GETFD | libc::F_SETFD | libc::F_GETFL | libc::F_SETFL => {
                        world.flags(fd, command, number)
                    }
                    // SAFETY: fcntl(2) takes the argument that its command asks for.
                    _ => unsafe { world.other_command(fd, command, argument) },
                })
            })?;
            Some(answer(outcome))
        }
    }
}

/// Commands that the `libc` crate does not declare for this C library; include/uapi/linux/fcntl.h.
const F_GETSIG: c_int = 11;
const F_GETOWN_EX: c_int = 16;
const F_SETOWN_EX: c_int = 15;
const F_SETSIG: c_int = 10;
const F_GET_RW_HINT: c_int = 1035;
const F_SET_RW_HINT: c_int = 1036;
/// The last of the hints about the life of written data, `RWH_WRITE_LIFE_EXTREME`.
const LAST_HINT: u64 = 5;

impl World {
    fn flags(&mut self, fd: c_int, command: c_int, number: c_int) -> CallResult {
        let descriptor = self.descriptors.get_mut(fd).ok_or(Errno::EBADF)?;
        match command {
            libc::F_GETFD => {
                let set = descriptor.close_on_exec;
                Ok(if set { libc::FD_CLOEXEC.into() } else { 0 })
            }
            libc::F_SETFD => {
                descriptor.close_on_exec = number & libc::FD_CLOEXEC != 0;
                Ok(0)
            }
            libc::F_GETFL => Ok(self.disk.flags(self.file(fd)?)?.into()),
            libc::F_SETFL => {
                let file = self.file(fd)?;
                self.disk.set_flags(file, number).map(|()| 0)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The rarer commands of fcntl(2), in the order of `do_fcntl` in the kernel's fs/fcntl.c. Files
    /// send no signals, so what asks for some is not simulated.
    ///
    /// # Safety
    /// The argument is that of the command; nothing else uses it during the call.
    unsafe fn other_command(&mut self, fd: c_int, command: c_int, argument: usize) -> CallResult {
        let file = self.file(fd)?;
        self.disk.check_usable(file)?;
        let refused = |world: &mut Self, name: &str, error| {
            world.not_simulated(&format!("fcntl with {name}"));
            Err(error)
        };
        let hint = argument as *mut u64;
        match command {
            libc::F_GETLEASE => Ok(libc::F_UNLCK.into()),
            libc::F_SETLEASE => match argument as c_int {
                libc::F_UNLCK => Err(Errno::EAGAIN),
                libc::F_RDLCK | libc::F_WRLCK => refused(self, "F_SETLEASE", Errno::EAGAIN),
                _ => Err(Errno::EINVAL),
            },
            libc::F_SETPIPE_SZ | libc::F_GETPIPE_SZ => Err(Errno::EBADF),
            libc::F_GETOWN | F_GETSIG => Ok(0),
            // SAFETY: the argument is a pointer to an owner, by this function's contract.
            F_GETOWN_EX => match unsafe { reach::store(argument as *mut [c_int; 2], [0; 2]) } {
                true => Ok(0),
                false => Err(Errno::EFAULT),
            },
            libc::F_SETOWN | F_SETOWN_EX => refused(self, "F_SETOWN", Errno::EINVAL),
            F_SETSIG => refused(self, "F_SETSIG", Errno::EINVAL),
            libc::F_NOTIFY if self.disk.stat(file)?.kind != Kind::Directory => Err(Errno::ENOTDIR),
            libc::F_NOTIFY => refused(self, "F_NOTIFY", Errno::EINVAL),
            // SAFETY: the argument is a pointer to a hint, by this function's contract.
            F_GET_RW_HINT => match unsafe { reach::store(hint, self.disk.hint(file)?) } {
                true => Ok(0),
                false => Err(Errno::EFAULT),
            },
            // SAFETY: the same.
            F_SET_RW_HINT => match unsafe { reach::value(hint) }.ok_or(Errno::EFAULT)? {
                hint @ 0..=LAST_HINT => self.disk.set_hint(file, hint).map(|()| 0),
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::EINVAL),
        }
    }

    fn lock_range(&mut self, file: Handle, command: c_int, lock: &mut libc::flock) -> CallResult {
        let range = self.disk.byte_range(file, lock.l_whence.into(), lock.l_start, lock.l_len)?;
        let kind = match c_int::from(lock.l_type) {
            libc::F_RDLCK => Some(LockKind::Shared),
            libc::F_WRLCK => Some(LockKind::Exclusive),
            libc::F_UNLCK => None,
            _ => return Err(Errno::EINVAL),
        };
        let of_handle =
            matches!(command, libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW);
        if of_handle && lock.l_pid != 0 {
            return Err(Errno::EINVAL);
        }
        let owner = match of_handle {
            true => LockOwner::Handle(file),
            false => LockOwner::Process(self.pid),
        };
        match command {
            libc::F_GETLK | libc::F_OFD_GETLK => {
                self.test_range(file, owner, kind.ok_or(Errno::EINVAL)?, range, lock)
            }
            _ => self.disk.lock_range(file, owner, kind, range).map(|()| 0),
        }
    }

    fn test_range(
        &mut self,
        file: Handle,
        owner: LockOwner,
        kind: LockKind,
        range: ByteRange,
        lock: &mut libc::flock,
    ) -> CallResult {
        let Some(held) = self.disk.test_range(file, owner, kind, range)? else {
            lock.l_type = libc::F_UNLCK as c_short;
            return Ok(0);
        };
        lock.l_type = match held.kind {
            LockKind::Shared => libc::F_RDLCK as c_short,
            LockKind::Exclusive => libc::F_WRLCK as c_short,
        };
        lock.l_whence = libc::SEEK_SET as c_short;
        lock.l_start = held.range.first.cast_signed();
        lock.l_len = match held.range.last {
            last if last == ByteRange::ALL.last => 0,
            last => (last - held.range.first + 1).cast_signed(),
        };
        lock.l_pid = match held.owner {
            LockOwner::Process(pid) => pid,
            LockOwner::Handle(_) => -1,
        };
        Ok(0)
    }
}

/// Retries `attempt` while another owner holds the lock, which it reports as the error `conflict`.
/// A call that does not wait passes no such error. Afterwards the threads that wait for a lock try
/// again: this one may have been released.
fn until_free(
    conflict: Option<Errno>,
    mut attempt: impl FnMut() -> Option<CallResult>,
) -> Option<CallResult> {
    loop {
        let outcome = attempt()?;
        match outcome {
            Err(errno) if Some(errno) == conflict => drop(baton::wait(WaitFor::FileLock, None)),
            _ => {
                world::enter(|world| world.schedule.wake_all(WaitFor::FileLock));
                return Some(outcome);
            }
        }
    }
}

fn lock_whole(door: &'static Door, fd: c_int, operation: c_int) -> Option<c_int> {
    let outcome = until_free(Some(Errno::EDEADLK), || {
        on_descriptor(door, fd, [bits(operation), 0], |world, file| {
            world.disk.flock(file, operation).map(|()| 0)
        })
    })?;
    Some(answer(outcome))
}

/// lockf(3) is `fcntl` on a range that starts at the descriptor's offset.
unsafe fn lock_from_here(
    door: &'static Door,
    fd: c_int,
    command: c_int,
    length: off_t,
) -> Option<c_int> {
    if !is_simulated(fd) {
        return None;
    }
    let (kind, command) = match command {
        libc::F_LOCK => (libc::F_WRLCK, libc::F_SETLKW),
        libc::F_TLOCK => (libc::F_WRLCK, libc::F_SETLK),
        libc::F_ULOCK => (libc::F_UNLCK, libc::F_SETLK),
        libc::F_TEST => (libc::F_RDLCK, libc::F_GETLK),
        _ => return Some(answer(Err(Errno::EINVAL))),
    };
    let mut lock = libc::flock {
        l_type: kind as c_short,
        l_whence: libc::SEEK_CUR as c_short,
        l_start: 0,
        l_len: length,
        l_pid: 0 as pid_t,
    };
    // SAFETY: the pointer is to our own lock.
    let done = unsafe { control(door, fd, command, (&raw mut lock).addr()) }?;
    let taken = command == libc::F_GETLK && c_int::from(lock.l_type) != libc::F_UNLCK;
    Some(if done == 0 && taken { answer(Err(Errno::EACCES)) } else { done })
}

// Requests that the `libc` crate does not declare; include/uapi/linux/fs.h.
const FIGETBSZ: u64 = 2;
const FIEMAP: u64 = 0xc020_660b;

/// What the extents of ext4 show as a flag of their file.
const EXTENTS: c_int = 0x8_0000;

/// The requests of any file, and some of ext4. Cloning fails as it does on ext4, so that callers
/// copy instead.
unsafe fn device_control(
    door: &'static Door,
    fd: c_int,
    request: u64,
    argument: usize,
) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [request, 0], |world, file| {
        world.disk.check_usable(file)?;
        let close_on_exec = match request {
            libc::FIOCLEX => Some(true),
            libc::FIONCLEX => Some(false),
            _ => None,
        };
        if let Some(set) = close_on_exec {
            world.descriptors.get_mut(fd).ok_or(Errno::EBADF)?.close_on_exec = set;
            return Ok(0);
        }
        // Only the lower half of a request counts.
        let answered = match request & u64::from(u32::MAX) {
            FIGETBSZ => 4096,
            libc::FIONREAD => world.left_to_read(file)?,
            libc::FS_IOC_GETFLAGS => EXTENTS,
            libc::FS_IOC_GETVERSION => {
                let ino = world.disk.ino(file)?;
                world.see_number(ino);
                hash(&ino.0.to_le_bytes()) as c_int
            }
            libc::FS_IOC_SETFLAGS | libc::FS_IOC_SETVERSION | FIEMAP => {
                world.not_simulated(&format!("{door} with request {request:#x}"));
                return Err(Errno::EOPNOTSUPP);
            }
            libc::FICLONE | libc::FICLONERANGE => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno(libc::ENOTTY)),
        };
        // SAFETY: these requests take a pointer to an `int`.
        let stored = unsafe { reach::store(argument as *mut c_int, answered) };
        if stored { Ok(0) } else { Err(Errno::EFAULT) }
    })?;
    Some(answer(outcome))
}

impl World {
    /// How many bytes of a file come after its offset; other inodes know no such request.
    fn left_to_read(&mut self, file: Handle) -> Result<c_int, Errno> {
        let stat = self.disk.stat(file)?;
        if stat.kind != Kind::File {
            return Err(Errno(libc::ENOTTY));
        }
        let offset = self.disk.seek(file, 0, libc::SEEK_CUR)?;
        Ok((stat.size.cast_signed() - offset.cast_signed()) as c_int)
    }
}

fn is_terminal(door: &'static Door, fd: c_int) -> Option<c_int> {
    let outcome = on_descriptor(door, fd, [0; 2], |_, _| Err(Errno(libc::ENOTTY)))?;
    Some(answer::<c_int>(outcome).max(0))
}
