//! Runs a test of this binary as a process in surroundings of several kinds.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The mark before a line that a test tells.
const TOLD: &str = "told: ";

/// Tells the test that started this process.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
pub(crate) fn tell(line: &str) {
    println!("\n{TOLD}{line}");
}

/// Changes the surroundings of the calling process, and of those that it starts. A change that is
/// refused is left out.
type Change = fn();

/// The lines that a test tells in each of the surroundings.
pub(crate) fn everywhere(test: &str) -> Vec<String> {
    let quiet: Change = || {};
    let mut all = vec![told(test, "/", quiet, &[])];
    all.push(told(test, "/tmp", elsewhere, &[("TZ", "Asia/Tokyo"), ("LANG", "de_DE.UTF-8")]));
    let long = "x".repeat(3000);
    all.push(told(test, "/usr", on_another_machine, &[("LONG", &long), ("HOME", "/nowhere")]));
    all.into_iter().flatten().collect()
}

/// What a test tells; `None` if the process could not be started there.
fn told(test: &str, directory: &str, change: Change, variables: &[(&str, &str)]) -> Option<String> {
    let own = std::env::current_exe().expect("a path");
    let mut command = Command::new(&own);
    command.args([test, "--exact", "--ignored", "--nocapture"]).current_dir(directory);
    command.envs(variables.iter().copied());
    // SAFETY: the changes are system calls, with numbers and with memory that they own.
    unsafe {
        command.pre_exec(move || {
            change();
            Ok(())
        });
    }
    let output = command.output().expect("the process starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", Path::new(directory).display());
    text.lines().find_map(|line| line.strip_prefix(TOLD)).map(str::to_owned)
}

/// Another session, processor, priority, limit of the stack, and mask of new files.
fn elsewhere() {
    let stack = libc::rlimit { rlim_cur: 4 << 20, rlim_max: libc::RLIM_INFINITY };
    let few = libc::rlimit { rlim_cur: 512, rlim_max: 4096 };
    // SAFETY: all calls take numbers, or memory that outlives them.
    unsafe {
        libc::setsid();
        libc::umask(0o077);
        libc::nice(3);
        libc::setrlimit(libc::RLIMIT_STACK, &stack);
        libc::setrlimit(libc::RLIMIT_SIGPENDING, &few);
        on_processor(0);
    }
}

/// A machine with another name, on its last processor, with another timer and no dump of memory.
fn on_another_machine() {
    let name = CString::new("elsewhere").expect("no NUL");
    // SAFETY: all calls take numbers, or memory that outlives them.
    unsafe {
        if libc::unshare(libc::CLONE_NEWUTS) == 0 {
            libc::sethostname(name.as_ptr(), name.as_bytes().len());
            libc::setdomainname(name.as_ptr(), name.as_bytes().len());
        }
        let processors = libc::sysconf(libc::_SC_NPROCESSORS_ONLN).max(1) as usize;
        on_processor(processors - 1);
        libc::setpriority(libc::PRIO_PROCESS, 0, 7);
    }
}

/// # Safety
/// None: the kernel refuses a processor that does not exist.
unsafe fn on_processor(number: usize) {
    // SAFETY: zero is a set without processors, and the number is in range of the set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(number % 1024, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}
