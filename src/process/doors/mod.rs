//! The doors: definitions of the C library's symbols that storage code calls.
//!
//! In a binary that links this crate they take precedence over the C library's own. A door first
//! reads whose side the thread is on (`seam`). On the harness's side it calls the C library. On the
//! engine's side a handler decides whether the call concerns the simulated world: `Some` is the
//! answer, `None` passes the call on untouched. A file of doors begins with the table of its
//! symbols.

mod attributes;
mod c11;
mod calls;
mod control;
mod data;
mod directory;
mod entries;
mod entropy;
mod filter;
mod futex;
mod host_files;
mod identity;
mod limits;
mod link;
mod locks;
mod machine;
mod map;
mod memory;
mod open;
mod path;
mod random_device;
mod refuse;
mod refuse_files;
mod shared_locks;
mod signals;
mod size;
mod stat;
mod syscall;
mod threads;
mod time;
mod transfer;
pub mod traps;
mod usage;
mod wait;
mod way_out;

use std::ffi::{c_char, c_int};
use std::slice;

use crate::case::fault::FaultClass;
use crate::disk::io::TRANSFER_MAX;
use crate::disk::{Errno, Handle, Ino};

use super::world::{self, CallResult, Called, World};
use crate::process::seam::kernel::set_errno;
use crate::process::seam::reach;
use crate::process::threads::baton;
use crate::process::world::descriptors::is_simulated;
use crate::process::world::door::Door;
use crate::process::world::room::Room;

/// Defines the symbols of a file, the handler that serves each, and where faults hit its calls.
///
/// `may unwind` marks a function that calls back into the engine, which may throw or panic there:
/// its door may be unwound through. Nothing may unwind out of any other door: a panic in it is the
/// harness's, and ends the process.
macro_rules! doors {
    (@door $symbol:ident) => {
        $crate::process::world::door::Door {
            name: stringify!($symbol),
            faults: $crate::process::world::door::FaultSites::None,
        }
    };
    (@door $symbol:ident $sites:ident($class:ident)) => {
        $crate::process::world::door::Door {
            name: stringify!($symbol),
            faults: $crate::process::world::door::FaultSites::$sites(
                $crate::case::fault::FaultClass::$class,
            ),
        }
    };
    (@define [] $($door:tt)*) => { doors!(@define "C" [] $($door)*); };
    (@define [unwind] $($door:tt)*) => { doors!(@define "C-unwind" [unwind] $($door)*); };
    (
        @define $abi:literal [$($unwind:ident)?]
        fn $symbol:ident($($arg:ident: $ty:ty),*) -> $ret:ty
            = $serve:ident $(, faults $sites:ident($class:ident))?
    ) => {
        // A block of its own lets a handler have the same name as its symbol.
        const _: () = {
            #[unsafe(no_mangle)]
            unsafe extern $abi fn $symbol($($arg: $ty),*) -> $ret {
                let engine =
                    $crate::process::seam::side() == $crate::process::seam::Side::Engine;
                if engine {
                    const DOOR: &$crate::process::world::door::Door =
                        &doors!(@door $symbol $($sites($class))?);
                    let serve: unsafe fn(
                        &'static $crate::process::world::door::Door,
                        $($ty),*
                    ) -> Option<$ret> = self::$serve;
                    // SAFETY: the caller keeps the contract that the C library documents for
                    // this function; a handler requires no more.
                    if let Some(answer) = unsafe { serve(DOOR, $($arg),*) } {
                        return answer;
                    }
                }
                let next =
                    $crate::process::seam::kernel::next!($($unwind)? $symbol($($ty),*) -> $ret);
                // SAFETY: the same contract; the arguments are passed on unchanged.
                let call = || unsafe { next($($arg),*) };
                if engine && $crate::process::world::maps::any() {
                    let words = [$($crate::process::world::maps::word(&$arg)),*];
                    // A function that calls back is not called twice.
                    let again = stringify!($($unwind)?).is_empty();
                    return $crate::process::world::maps::host_call(&words, call, again);
                }
                call()
            }
        };
    };
    ($(
        fn $symbol:ident($($arg:ident: $ty:ty),*) -> $ret:ty
            = $serve:ident $(, faults $sites:ident($class:ident))? $(, may $unwind:ident)?;
    )*) => {
        $(
            doors!(
                @define [$($unwind)?] fn $symbol($($arg: $ty),*) -> $ret = $serve
                $(, faults $sites($class))?
            );
        )*

        /// The doors that this file defines.
        pub(super) const DOORS: &[$crate::process::world::door::Door] =
            &[$(doors!(@door $symbol $($sites($class))?)),*];
    };
}
use doors;

/// All doors.
fn all() -> impl Iterator<Item = &'static Door> {
    let files = [
        attributes::DOORS,
        c11::DOORS,
        control::DOORS,
        data::DOORS,
        directory::DOORS,
        entries::DOORS,
        entropy::DOORS,
        host_files::DOORS,
        identity::DOORS,
        limits::DOORS,
        link::DOORS,
        locks::DOORS,
        machine::DOORS,
        map::DOORS,
        memory::DOORS,
        open::DOORS,
        path::DOORS,
        random_device::DOORS,
        refuse::DOORS,
        refuse_files::DOORS,
        signals::DOORS,
        size::DOORS,
        stat::DOORS,
        syscall::DOORS,
        threads::DOORS,
        time::DOORS,
        transfer::DOORS,
        usage::DOORS,
        wait::DOORS,
    ];
    files.into_iter().flatten()
}

/// The symbols of all doors.
pub fn symbols() -> impl Iterator<Item = &'static str> {
    all().map(|door| door.name).chain(refuse::UNLISTED)
}

pub(crate) use way_out::way_out;

/// The symbols among them that the C library does not have. A program may lack these doors.
pub fn optional_symbols() -> impl Iterator<Item = &'static str> {
    random_device::DOORS.iter().map(|door| door.name)
}

/// The symbols of the doors that do nothing but refuse calls, at least those on the disk.
#[cfg(feature = "inner")]
pub fn refused_symbols() -> impl Iterator<Item = &'static str> {
    let files = [refuse::DOORS, refuse_files::DOORS];
    files.into_iter().flatten().map(|door| door.name).chain(refuse::UNLISTED)
}

/// How system calls by number are treated.
#[cfg(feature = "inner")]
pub use calls::{Trap, Treatment};

/// The numbers that the table of system calls has, and what it says of each.
#[cfg(feature = "inner")]
pub fn system_calls() -> impl Iterator<Item = (std::ffi::c_long, Treatment, Trap)> {
    calls::ROWS.iter().map(|row| (row.number, row.treatment, row.trap))
}

/// The class that faults count the calls of a door by, for a door as the log names it.
pub(crate) fn fault_class(name: &str) -> Option<FaultClass> {
    all().find(|door| door.name == name)?.faults.class()
}

/// The return type of a C function.
trait Returned {
    /// The value that reports a success.
    fn success(number: i64) -> Self;
    /// The value that reports a failure, whose reason is in `errno`.
    const FAILURE: Self;
}

impl Returned for c_int {
    fn success(number: i64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }
    const FAILURE: Self = -1;
}

impl Returned for isize {
    fn success(number: i64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }
    const FAILURE: Self = -1;
}

impl Returned for i64 {
    fn success(number: i64) -> Self {
        number
    }
    const FAILURE: Self = -1;
}

/// Turns an outcome into the return value of a C function; sets `errno` if it is an error.
#[inline]
fn answer<R: Returned>(outcome: CallResult) -> R {
    match outcome {
        Ok(number) => R::success(number),
        Err(errno) => {
            set_errno(errno.0);
            R::FAILURE
        }
    }
}

/// As [`answer`], for the functions that return the error number itself.
fn error_number(outcome: CallResult) -> c_int {
    outcome.map_or_else(|errno| errno.0, |_| 0)
}

/// Serves a call on a descriptor if the descriptor is simulated.
#[inline]
fn on_descriptor(
    door: &'static Door,
    fd: c_int,
    arguments: [u64; 2],
    act: impl FnOnce(&mut World, Handle) -> CallResult,
) -> Option<CallResult> {
    if !is_simulated(fd) {
        return None;
    }
    baton::serve(|world| {
        world.call(&Called::on(door, fd, arguments), |world| {
            let file = world.file(fd)?;
            act(world, file)
        })
    })
}

/// Serves a call on a path if the path is on the disk.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn on_path(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    arguments: [u64; 2],
    act: impl FnOnce(&mut World, Ino, &[u8]) -> CallResult,
) -> Option<CallResult> {
    // SAFETY: `path` is null or a C string, by this function's contract.
    let Some(path) = (unsafe { bytes(path) }) else { return unreadable(dirfd) };
    // Calls on the host are not scheduling points: their number may depend on the machine.
    world::enter(|world| world.place(dirfd, path).is_some()).filter(|&is| is)?;
    baton::serve(|world| match world.place(dirfd, path)? {
        Ok((base, path)) => {
            let name = world.name(base, path);
            let called = Called::at(door, &name, arguments);
            Some(world.call(&called, |world| act(world, base, path)))
        }
        Err(errno) => Some(Err(errno)),
    })?
}

/// As [`on_path`], for a call that changes the file at the path: if that is not on the disk, the
/// call is noted before it is passed on.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn change_path(
    door: &'static Door,
    dirfd: c_int,
    path: *const c_char,
    arguments: [u64; 2],
    act: impl FnOnce(&mut World, Ino, &[u8]) -> CallResult,
) -> Option<CallResult> {
    // SAFETY: `path` is null or a C string, by this function's contract.
    let served = unsafe { on_path(door, dirfd, path, arguments, act) };
    if served.is_none() {
        // SAFETY: the same.
        unsafe { note_outside(path) };
    }
    served
}

/// Whether a path is on the disk. A relative one starts at the working directory.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn on_disk(path: *const c_char) -> bool {
    // SAFETY: `path` is null or a C string, by this function's contract.
    unsafe { on_disk_at(libc::AT_FDCWD, path) }
}

/// As [`on_disk`], for a relative path that starts at a descriptor. No path stands for the
/// descriptor itself.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn on_disk_at(dirfd: c_int, path: *const c_char) -> bool {
    // SAFETY: `path` is null or a C string, by this function's contract.
    let Some(path) = (unsafe { bytes(path) }) else { return is_simulated(dirfd) };
    path::descriptor_named(path).is_some_and(is_simulated)
        || world::enter(|world| world.place(dirfd, path).is_some()).unwrap_or(false)
}

/// Notes that the engine changes a file outside the mount.
///
/// # Safety
/// `path` is null or a C string.
unsafe fn note_outside(path: *const c_char) {
    // SAFETY: `path` is null or a C string, by this function's contract.
    if let Some(path) = unsafe { bytes(path) } {
        world::enter(|world| world.outside(path));
    }
}

/// The bytes of a C string; `None` if it cannot be read, as at a null pointer.
///
/// # Safety
/// Nothing changes the string during `'a`.
unsafe fn bytes<'a>(string: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: by this function's contract.
    unsafe { reach::string(string.cast()) }
}

/// A number of any width, as records store it.
fn bits(number: impl Into<i64>) -> u64 {
    number.into().cast_unsigned()
}

/// The bytes that a caller asks to write: as many as can be read, which is all of them unless the
/// buffer is not the caller's.
///
/// # Safety
/// Nothing changes the `length` bytes of `buffer` during the call.
unsafe fn given<'a>(buffer: *const std::ffi::c_void, length: usize) -> Result<&'a [u8], Errno> {
    // One call writes no more.
    match reach::readable(buffer, length.min(TRANSFER_MAX)) {
        0 if length > 0 => Err(Errno::EFAULT),
        0 => Ok(&[]),
        // SAFETY: these bytes were just read, and nothing changes them, by this function's
        // contract.
        readable => Ok(unsafe { slice::from_raw_parts(buffer.cast(), readable) }),
    }
}

/// The caller's buffer, to be filled.
///
/// # Safety
/// As far as the `length` bytes of `buffer` can be written to, nothing else uses them during the
/// call. They may be uninitialised.
unsafe fn room<'a>(buffer: *mut std::ffi::c_void, length: usize) -> Room<'a> {
    // SAFETY: by this function's contract.
    unsafe { Room::new(buffer.cast(), length) }
}

/// The answer to a call of the engine that takes a path which cannot be read, if it starts at a
/// simulated descriptor; the kernel answers the others.
fn unreadable(dirfd: c_int) -> Option<CallResult> {
    is_simulated(dirfd).then_some(Err(Errno::EFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_calls_has_a_door_but_those_that_only_a_call_shows() {
        for class in FaultClass::ALL {
            let served = all().any(|door| door.faults.class() == Some(class));
            let shown_by_a_call = matches!(class, FaultClass::Call | FaultClass::Create);
            assert_ne!(served, shown_by_a_call, "{class:?}");
        }
        assert_eq!(fault_class("readdir"), Some(FaultClass::Read));
        assert_eq!(fault_class("getpid"), None);
    }
}
