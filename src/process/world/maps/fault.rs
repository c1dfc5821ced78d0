//! The handler of faults in maps: it loads and opens the page that was touched.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::process::seam;
use crate::process::seam::kernel::{errno, set_errno};

use super::backing::{Dirty, PAGE_BYTES};
use super::{MAPS, Maps, PAGE, set_access};

/// What is to be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The page is open: the access is made again.
    Again,
    /// The file has no such page, or the disk no room for it.
    Bus,
    /// The maps are not the reason.
    Other,
}

/// How the engine touched memory.
#[derive(Clone, Copy)]
pub(super) struct Access {
    address: usize,
    writes: bool,
    executes: bool,
}

impl Access {
    /// A store to an address.
    pub(super) fn store(address: usize) -> Self {
        Self { address, writes: true, executes: false }
    }
}

/// Most pages that one fault opens for stores.
const AROUND: u64 = 8;

/// The handler of `SIGSEGV` before ours.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Handles faults in maps from now on, and passes on all others, to a handler of the engine too if
/// it installed one before it mapped a file.
pub(super) fn install() {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = faulted;
    // SAFETY: zero is a value of this plain structure.
    let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the kernel fills the structure.
    unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), &raw mut before) };
    if before.sa_sigaction == action.sa_sigaction {
        return;
    }
    // It is leaked: a handler may be running.
    BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
    // SAFETY: the handler has the type that SA_SIGINFO requires, and takes a lock only if it is
    // free. It uses the harness's heap, in which no thread is while it touches a map.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
}

extern "C" fn faulted(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // It may have interrupted the engine: what it calls must not go through doors.
    let side = seam::harness();
    let before = errno();
    // SAFETY: the kernel passes both to a handler that was installed with SA_SIGINFO.
    let access = unsafe { access(&*info, context) };
    let answer = access.map_or(Answer::Other, |access| match MAPS.try_take() {
        Some(mut maps) => maps.fault(access),
        None => Answer::Other,
    });
    set_errno(before);
    drop(side);
    match answer {
        Answer::Again => {}
        // SAFETY: as above; the kernel would have raised this signal.
        Answer::Bus => unsafe { raise_bus(info, context) },
        Answer::Other => {
            // SAFETY: `install` stored it before the handler could run, and nothing frees it.
            let before = unsafe { BEFORE.load(Ordering::Acquire).as_ref() };
            if let Some(before) = before {
                // SAFETY: the signal came with these arguments.
                unsafe { pass_on(before, signal, info, context) };
            }
        }
    }
}

/// The access that raised a signal; `None` if it is not one that a protection forbids.
///
/// # Safety
/// Both are those of a signal handler.
unsafe fn access(info: &libc::siginfo_t, context: *mut c_void) -> Option<Access> {
    /// `SEGV_ACCERR`.
    const FORBIDDEN: c_int = 2;
    /// Bits of the error code of a page fault on x86.
    const WRITES: i64 = 1 << 1;
    const EXECUTES: i64 = 1 << 4;
    if info.si_code != FORBIDDEN {
        return None;
    }
    // SAFETY: a fault has an address; the context is a `ucontext_t`, by this function's contract.
    let (address, error) = unsafe {
        let context = &*context.cast::<libc::ucontext_t>();
        (info.si_addr().addr(), context.uc_mcontext.gregs[libc::REG_ERR as usize])
    };
    Some(Access { address, writes: error & WRITES != 0, executes: error & EXECUTES != 0 })
}

/// Has the handler of `SIGBUS` act as if the kernel had raised it.
///
/// # Safety
/// Both are those of a signal handler.
unsafe fn raise_bus(info: *mut libc::siginfo_t, context: *mut c_void) {
    /// `BUS_ADRERR`.
    const NO_ADDRESS: c_int = 2;
    // SAFETY: zero is a value of this plain structure, which the kernel fills.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // The engine may not ask for this signal.
    let side = seam::harness();
    // SAFETY: the kernel writes one structure.
    unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) };
    drop(side);
    // SAFETY: the handler's argument may be changed, as it is on its own stack.
    unsafe {
        (*info).si_signo = libc::SIGBUS;
        (*info).si_code = NO_ADDRESS;
        pass_on(&action, libc::SIGBUS, info, context);
    }
}

/// Calls another handler.
///
/// # Safety
/// The arguments are those of a signal handler, and the action is one of the process's.
unsafe fn pass_on(
    action: &libc::sigaction,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    type Full = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
    type Plain = extern "C" fn(c_int);
    match action.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            let _harness = seam::harness();
            // SAFETY: with the default restored, a signal of this kind ends the process, as it
            // does if a fault is ignored.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
        // SAFETY: the flag says which type the handler has.
        handler if action.sa_flags & libc::SA_SIGINFO != 0 => unsafe {
            mem::transmute::<usize, Full>(handler)(signal, info, context);
        },
        // SAFETY: the same.
        handler => unsafe { mem::transmute::<usize, Plain>(handler)(signal) },
    }
}

impl Maps {
    /// Opens the page that was touched, if the engine may touch it in this way.
    pub(super) fn fault(&mut self, access: Access) -> Answer {
        let Some(map) = self.list.at(access.address).cloned() else { return Answer::Other };
        let needed = match access {
            Access { writes: true, .. } => libc::PROT_WRITE,
            Access { executes: true, .. } => libc::PROT_EXEC,
            _ => map.protection,
        };
        if map.protection & needed == 0 {
            return Answer::Other;
        }
        let start = access.address & !(PAGE - 1);
        let offset = map.offset_of(start);
        let Some(backing) = self.backings.iter_mut().find(|backing| backing.ino == map.ino) else {
            return Answer::Other;
        };
        if offset >= backing.size {
            return Answer::Bus;
        }
        let page = offset / PAGE_BYTES;
        let chunk = backing.load(page);
        if access.writes && map.stores() {
            return self.open_for_stores(&map, page);
        }
        let bytes = chunk.start * PAGE_BYTES..chunk.end * PAGE_BYTES;
        // Pages that were stored to are closed for that, and fault once more.
        let opened = map.lazy && set_access(&map.shows(&bytes), map.clean());
        if opened { Answer::Again } else { Answer::Other }
    }

    /// Lets stores to a page pass, and to some after it if those before it were stored to.
    fn open_for_stores(&mut self, map: &super::Mapping, page: u64) -> Answer {
        if self.stopped || !self.has_room(map.ino, page) {
            return Answer::Bus;
        }
        let unlimited = self.room.is_none();
        let Some(backing) = self.backing(map.ino) else { return Answer::Other };
        let in_row =
            |by: u64| page.checked_sub(by).is_some_and(|at| backing.dirty.contains_key(&at));
        let ahead = if unlimited && in_row(1) && in_row(2) { AROUND } else { 1 };
        let end = (page + ahead).min(backing.size.div_ceil(PAGE_BYTES));
        let memory = map.shows(&(page * PAGE_BYTES..end * PAGE_BYTES));
        if !set_access(&memory, map.protection | libc::PROT_READ) {
            return Answer::Other;
        }
        for (page, address) in (page..).zip(memory.step_by(PAGE)) {
            backing.load(page);
            let dirty = backing.dirty.entry(page).or_insert(Dirty { address, idle: 0 });
            *dirty = Dirty { address, idle: 0 };
        }
        Answer::Again
    }

    /// Takes the room for a page that is stored to, unless it has its place.
    fn has_room(&mut self, ino: crate::disk::Ino, page: u64) -> bool {
        let Some(room) = &mut self.room else { return true };
        if self.places.contains(&(ino, page)) {
            return true;
        }
        if *room == 0 {
            return false;
        }
        *room -= 1;
        self.places.insert((ino, page));
        true
    }
}
