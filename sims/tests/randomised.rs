//! The same seed gives the same digest where the system refuses to disable address-space
//! randomisation, as default containers do. The test has its own process, since a seccomp filter
//! cannot be removed.
#![expect(unsafe_code, reason = "a seccomp filter is installed by system calls")]
#![expect(clippy::print_stderr, reason = "the log says that a test was skipped")]

use crashpoint::inner::host::fork_server::ForkServer;
use crashpoint::{Entry, Seed, find, sim};
use libc::{sock_filter, sock_fprog};
use sims::append_log::AppendLog;
use sims::toy::ToySim;

/// Makes `personality` fail for this thread and all that it starts; returns whether this worked.
fn refuse_personality() -> bool {
    let step = |code: u32, yes, no, k| sock_filter { code: code as u16, jt: yes, jf: no, k };
    let filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_personality as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the first call takes only numbers. The second takes a pointer to `program`, which
    // points to `filter` with its length; both outlive the call, and the kernel copies the filter.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

/// A line of digests for each sim and seed. Each call of `find` starts its own fork server.
fn digests(entries: &[Entry], seeds: u64) -> Vec<String> {
    let digest = |entry: &Entry, seed| {
        let found = find(entry, "posix", Seed(seed), 1);
        format!("{} {seed}: {} {}", entry.name, found.run, found.digest)
    };
    entries.iter().flat_map(|entry| (0..seeds).map(|seed| digest(entry, seed))).collect()
}

#[test]
fn a_seed_gives_the_same_digest_with_and_without_randomised_addresses() {
    let seeds = std::env::var_os("DETERMINISM_SEEDS");
    let seeds = seeds.and_then(|n| n.to_str()?.parse().ok()).unwrap_or(2);
    let entries = [sim::<AppendLog>(), sim::<ToySim<0>>()];
    let fixed = digests(&entries, seeds);
    if !refuse_personality() {
        eprintln!("skipped: this system does not allow a seccomp filter");
        return;
    }
    assert!(ForkServer::start().expect("a fork server").aslr(), "randomisation is off");
    for _ in 0..2 {
        assert_eq!(digests(&entries, seeds), fixed);
    }
}
