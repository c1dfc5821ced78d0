//! Doors that describe the machine: its names, and how many processors and how much memory the
//! engine sees.

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};
use std::time::Duration;

use libc::{cpu_set_t, pid_t, sysinfo, utsname};

use crate::disk::Errno;
use crate::process::seam::auxv;
use crate::process::world::door::Door;
use crate::process::world::views::{DOMAIN, HOST, MEMORY, PROCESSES, RELEASE, VERSION};
use crate::process::world::{self, CallResult, World};

use super::refuse::refused;
use super::{answer, doors};

doors! {
    fn sched_getaffinity(pid: pid_t, size: usize, mask: *mut cpu_set_t) -> c_int = affinity;
    fn sched_getcpu() -> c_int = current_processor;
    fn sysconf(name: c_int) -> c_long = configuration;
    fn __sysconf(name: c_int) -> c_long = configuration;
    fn get_nprocs() -> c_int = processors;
    fn get_nprocs_conf() -> c_int = processors;
    fn sysinfo(info: *mut sysinfo) -> c_int = overview;
    fn get_phys_pages() -> c_long = pages;
    fn get_avphys_pages() -> c_long = pages;
    fn getloadavg(to: *mut f64, count: c_int) -> c_int = load;
    fn getcpu(cpu: *mut c_uint, node: *mut c_uint) -> c_int = processor_and_node;
    fn uname(to: *mut utsname) -> c_int = names;
    fn gethostname(to: *mut c_char, size: usize) -> c_int = host_name;
    fn __gethostname_chk(to: *mut c_char, size: usize, room: usize) -> c_int = host_name_checked;
    fn getdomainname(to: *mut c_char, size: usize) -> c_int = domain_name;
    fn __getdomainname_chk(to: *mut c_char, size: usize, room: usize) -> c_int
        = domain_name_checked;
    fn gethostid() -> c_long = host_id;
    fn sethostname(name: *const c_char, length: usize) -> c_int = set_name;
    fn setdomainname(name: *const c_char, length: usize) -> c_int = set_name;
    fn sethostid(id: c_long) -> c_int = set_host_id;
    // Variadic: the kernel's call has four arguments after the first.
    fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int = attribute;
}

/// The size of a page is the real machine's: memory is not simulated.
const PAGE: u64 = 4096;

fn seen(door: &'static Door, world: &mut World) -> u32 {
    world.call_unrecorded(door.name, Duration::ZERO, [world.cpus.into(), 0, 0]);
    world.cpus
}

unsafe fn affinity(
    door: &'static Door,
    _: pid_t,
    size: usize,
    mask: *mut cpu_set_t,
) -> Option<c_int> {
    let cpus = world::enter(|world| seen(door, world))? as usize;
    let needed = cpus.div_ceil(64) * 8;
    if size < needed || !size.is_multiple_of(8) {
        return Some(answer(Err(Errno::EINVAL)));
    }
    // SAFETY: sched_getaffinity(2) takes a mask of `size` bytes.
    let mask = unsafe {
        mask.cast::<u8>().write_bytes(0, size);
        std::slice::from_raw_parts_mut(mask.cast::<u8>(), size)
    };
    for cpu in 0..cpus {
        mask[cpu / 8] |= 1 << (cpu % 8);
    }
    Some(0)
}

fn current_processor(door: &'static Door) -> Option<c_int> {
    world::enter(|world| seen(door, world)).map(|_| 0)
}

fn processors(door: &'static Door) -> Option<c_int> {
    world::enter(|world| seen(door, world)).map(|cpus| c_int::try_from(cpus).unwrap_or(c_int::MAX))
}

fn configuration(door: &'static Door, name: c_int) -> Option<c_long> {
    match name {
        libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF => {
            world::enter(|world| seen(door, world)).map(c_long::from)
        }
        libc::_SC_PHYS_PAGES | libc::_SC_AVPHYS_PAGES => {
            world::enter(|world| seen(door, world))?;
            Some((MEMORY / PAGE).cast_signed())
        }
        libc::_SC_CHILD_MAX | libc::_SC_SIGQUEUE_MAX => world::enter(|_| PROCESSES.cast_signed()),
        CACHES..CACHES_END => world::enter(|_| cache(name)),
        _ => None,
    }
}

/// The first and the last name of sysconf(3) that asks for a cache of the processor, of which the
/// C library has fifteen in a row.
const CACHES: c_int = 185;
const CACHES_END: c_int = CACHES + 15;

/// A property of a cache: for each of five caches its size, associativity and length of a line.
fn cache(name: c_int) -> c_long {
    const KIB: c_long = 1 << 10;
    const SIZES: [c_long; 5] = [32 * KIB, 32 * KIB, 1024 * KIB, 16384 * KIB, 0];
    let (level, property) = ((name - CACHES) / 3, (name - CACHES) % 3);
    let size = usize::try_from(level).ok().and_then(|level| SIZES.get(level)).copied();
    match (size.unwrap_or(0), property) {
        (0, _) => 0,
        (size, 0) => size,
        (_, 1) => 8,
        _ => 64,
    }
}

fn pages(door: &'static Door) -> Option<c_long> {
    configuration(door, libc::_SC_PHYS_PAGES)
}

/// Nothing else runs on the machine.
unsafe fn load(_: &'static Door, to: *mut f64, count: c_int) -> Option<c_int> {
    world::enter(|_| ())?;
    let count = count.clamp(0, 3);
    for at in 0..count.cast_unsigned() as usize {
        // SAFETY: getloadavg(3) takes room for `count` numbers.
        unsafe { to.add(at).write(0.0) };
    }
    Some(count)
}

unsafe fn processor_and_node(
    door: &'static Door,
    cpu: *mut c_uint,
    node: *mut c_uint,
) -> Option<c_int> {
    world::enter(|world| seen(door, world))?;
    for to in [cpu, node] {
        if !to.is_null() {
            // SAFETY: getcpu(2) takes null or room for a number.
            unsafe { to.write(0) };
        }
    }
    Some(0)
}

/// Writes a name and its NUL, if there is room.
///
/// # Safety
/// `to` is null or has room for `size` bytes.
unsafe fn write_name(name: &str, to: *mut c_char, size: usize) -> CallResult {
    if to.is_null() {
        return Err(Errno::EFAULT);
    }
    let short = name.len().min(size);
    // SAFETY: `to` has room for `size` bytes, by this function's contract.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), to.cast(), short) };
    if short == size {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    // SAFETY: there is room for one more byte.
    unsafe { to.add(short).write(0) };
    Ok(0)
}

unsafe fn names(_: &'static Door, to: *mut utsname) -> Option<c_int> {
    world::enter(|_| ())?;
    // SAFETY: uname(2) takes room for the answer, for which all zeros are a valid value.
    let to = unsafe {
        if to.is_null() {
            return Some(answer(Err(Errno::EFAULT)));
        }
        to.write_bytes(0, 1);
        &mut *to
    };
    for (name, field) in [
        ("Linux", &mut to.sysname),
        (HOST, &mut to.nodename),
        (RELEASE, &mut to.release),
        (VERSION, &mut to.version),
        ("x86_64", &mut to.machine),
        (DOMAIN, &mut to.domainname),
    ] {
        for (to, &byte) in field.iter_mut().zip(name.as_bytes()) {
            *to = byte.cast_signed();
        }
    }
    Some(0)
}

unsafe fn host_name(_: &'static Door, to: *mut c_char, size: usize) -> Option<c_int> {
    world::enter(|_| ())?;
    // SAFETY: gethostname(2) takes room for `size` bytes.
    Some(answer(unsafe { write_name(HOST, to, size) }))
}

unsafe fn host_name_checked(
    door: &'static Door,
    to: *mut c_char,
    size: usize,
    room: usize,
) -> Option<c_int> {
    // SAFETY: the size is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { host_name(door, to, size.min(room)) }
}

unsafe fn domain_name(_: &'static Door, to: *mut c_char, size: usize) -> Option<c_int> {
    world::enter(|_| ())?;
    // SAFETY: getdomainname(2) takes room for `size` bytes.
    Some(answer(unsafe { write_name(DOMAIN, to, size) }))
}

unsafe fn domain_name_checked(
    door: &'static Door,
    to: *mut c_char,
    size: usize,
    room: usize,
) -> Option<c_int> {
    // SAFETY: the size is at most `room`, the size of the buffer as the compiler knows it.
    unsafe { domain_name(door, to, size.min(room)) }
}

/// The id of a machine whose only address is 127.0.0.1, as the C library computes it.
fn host_id(_: &'static Door) -> Option<c_long> {
    world::enter(|_| 0x7f_0100)
}

/// It would change the host.
fn set_name(door: &'static Door, _: *const c_char, _: usize) -> Option<c_int> {
    refused(door.name, libc::EPERM)
}

fn set_host_id(door: &'static Door, _: c_long) -> Option<c_int> {
    refused(door.name, libc::EPERM)
}

/// Attributes of the process that the harness sets itself, or that would show the host.
unsafe fn attribute(
    door: &'static Door,
    option: c_int,
    a: usize,
    b: usize,
    _: usize,
    _: usize,
) -> Option<c_int> {
    const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
    const PR_GET_AUXV: c_int = 0x4155_5856;
    world::enter(|_| ())?;
    match option {
        PR_SET_SYSCALL_USER_DISPATCH
        | libc::PR_SET_TSC
        | libc::PR_SET_SECCOMP
        | libc::PR_SET_PDEATHSIG => refused(door.name, libc::EINVAL),
        libc::PR_GET_TSC => {
            let to = std::ptr::with_exposed_provenance_mut::<c_int>(a);
            if to.is_null() {
                return Some(answer(Err(Errno::EFAULT)));
            }
            // SAFETY: the caller gives the address of room for a number (prctl(2)).
            unsafe { to.write(libc::PR_TSC_ENABLE) };
            Some(0)
        }
        PR_GET_AUXV => {
            let to = std::ptr::with_exposed_provenance_mut::<c_void>(a);
            // SAFETY: the caller gives the address of room for `b` bytes (PR_GET_AUXV(2const)).
            Some(answer(unsafe { auxiliary(to, b) }))
        }
        _ => None,
    }
}

/// Copies the auxiliary vector, as far as there is room; returns its length.
///
/// # Safety
/// `to` is null or has room for `size` bytes.
unsafe fn auxiliary(to: *mut c_void, size: usize) -> CallResult {
    let vector = auxv::bytes();
    let shown = &vector[..size.min(vector.len())];
    // SAFETY: by this function's contract.
    let mut room = unsafe { super::room(to, shown.len()) };
    room.push(shown);
    room.done()?;
    Ok(world::length(vector.len()))
}

unsafe fn overview(door: &'static Door, info: *mut sysinfo) -> Option<c_int> {
    let uptime = world::enter(|world| {
        seen(door, world);
        world.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default()
    })?;
    // SAFETY: sysinfo(2) takes room for the answer, for which all zeros are a valid value.
    let info = unsafe {
        info.write_bytes(0, 1);
        &mut *info
    };
    info.uptime = uptime.as_secs().cast_signed();
    info.totalram = MEMORY;
    info.freeram = MEMORY / 2;
    info.procs = 1;
    info.mem_unit = 1;
    Some(0)
}
