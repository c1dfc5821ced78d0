//! The processor's time stamps: `rdtsc` and `rdtscp` fault on the engine's threads, and the handler
//! of the fault answers with virtual time.
//!
//! The kernel keeps the switch for each thread, and a thread inherits it from the one that starts
//! it (prctl(2), `PR_SET_TSC`). The harness reads the real clock through the vDSO, which uses the
//! same instruction: it gets the real stamp.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::seam::kernel::{errno, next, set_errno};
use crate::process::seam::{self, Side};

use super::{World, try_enter};

/// The kernel's code for a fault that is no page fault (`SI_KERNEL` in sigaction(2)).
const BY_KERNEL: c_int = 0x80;

const RDTSC: [u8; 2] = [0x0f, 0x31];
const RDTSCP: [u8; 3] = [0x0f, 0x01, 0xf9];

/// The first address of the vDSO; 0 if there is none.
static VDSO: AtomicUsize = AtomicUsize::new(0);
/// More than the bytes of its code.
const VDSO_LENGTH: usize = 4 * 4096;

/// Notes where the vDSO is.
pub(crate) fn vdso_is_at(address: usize) {
    VDSO.store(address, Ordering::Relaxed);
}

/// Has the instructions fault on the calling thread and on threads that it starts from now on;
/// returns whether the kernel allows it.
pub(crate) fn arm() -> bool {
    switch(libc::PR_TSC_SIGSEGV) == 0
}

/// Whether the kernel can have the instructions fault. Changes nothing.
pub(crate) fn can_arm() -> bool {
    let can = arm();
    switch(libc::PR_TSC_ENABLE);
    can
}

fn switch(to: c_int) -> c_int {
    let prctl = next!(prctl(c_int, c_int, usize, usize, usize) -> c_int);
    // SAFETY: sets one attribute of the calling thread. The fault that it may cause has a handler
    // in every process that runs an engine.
    unsafe { prctl(libc::PR_SET_TSC, to, 0, 0, 0) }
}

/// Answers an instruction that reads the time stamp; returns false, and does nothing, if the fault
/// has another cause.
///
/// # Safety
/// The arguments are those of a handler of `SIGSEGV` that was installed with `SA_SIGINFO`.
pub(crate) unsafe fn answer(info: &libc::siginfo_t, context: *mut c_void) -> bool {
    if info.si_code != BY_KERNEL {
        return false;
    }
    // SAFETY: the context is a `ucontext_t`, by this function's contract.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize];
    // SAFETY: the processor has just decoded the instruction at this address, and raised a fault
    // that is no page fault, so its bytes can be read. One byte is read after another, because the
    // next one may be in a page of another instruction.
    let is = |bytes: &[u8]| unsafe {
        let code = std::ptr::with_exposed_provenance::<u8>(at.cast_unsigned() as usize);
        bytes.iter().enumerate().all(|(index, &byte)| code.add(index).read() == byte)
    };
    let length = match () {
        () if is(&RDTSC) => RDTSC.len(),
        () if is(&RDTSCP) => RDTSCP.len(),
        () => return false,
    };
    let stamp = stamp(at.cast_unsigned() as usize);
    registers[libc::REG_RAX as usize] = (stamp & 0xffff_ffff).cast_signed();
    registers[libc::REG_RDX as usize] = (stamp >> 32).cast_signed();
    if length == RDTSCP.len() {
        // The number of the processor.
        registers[libc::REG_RCX as usize] = 0;
    }
    registers[libc::REG_RIP as usize] += length as i64;
    true
}

/// The stamp that the instruction at an address reads.
fn stamp(at: usize) -> u64 {
    let before = errno();
    let in_vdso = at.checked_sub(VDSO.load(Ordering::Relaxed)).is_some_and(|at| at < VDSO_LENGTH);
    let engine = seam::side() == Side::Engine;
    let stamp = match (engine, in_vdso) {
        (true, true) => {
            try_enter(|world| world.reads_host(b"a clock, through the vDSO"));
            None
        }
        (true, false) => try_enter(World::time_stamp),
        (false, _) => None,
    };
    let stamp = stamp.unwrap_or_else(real);
    set_errno(before);
    stamp
}

fn real() -> u64 {
    switch(libc::PR_TSC_ENABLE);
    // SAFETY: the instruction reads a counter, and does not fault now.
    let stamp = unsafe { std::arch::x86_64::_rdtsc() };
    switch(libc::PR_TSC_SIGSEGV);
    stamp
}

impl World {
    /// Reads the time stamp of a processor that counts nanoseconds since it was started.
    fn time_stamp(&mut self) -> u64 {
        let shown = self.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default();
        self.call_unrecorded("rdtsc", std::time::Duration::ZERO, [0; 3]);
        u64::try_from(shown.as_nanos()).unwrap_or(u64::MAX)
    }
}
