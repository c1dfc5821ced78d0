//! Ways out: what the author of an engine can do about a call that is not simulated.

/// The advice for a group of calls.
struct WayOut {
    calls: &'static [&'static str],
    advice: &'static str,
}

const PROCESS: &str =
    "do the work in the engine's own process, or leave that feature off under test";
const THREADS_OF_LIBC: &str =
    "choose the engine's backend of plain reads and writes on threads of its own";
const RING: &str = "choose the engine's backend of plain reads and writes (pread, pwrite, fsync)";
const TIMERS: &str = "let a thread sleep instead: virtual time passes in sleeps and timed waits";
const HOST_CLOCK: &str = "read clock_gettime, which is simulated";
const SIGNALS: &str = "leave handlers of crashes and messages by signals off under test";
const SOCKETS: &str = "put sockets and pipes outside the store's directory";
const MOUNTS: &str = "mount, quota and swap calls have no meaning in a store's directory";
const HANDLES: &str = "open files by their paths";
const WATCHES: &str = "leave watching of files off under test: only the engine changes its store";
const NAMED: &str =
    "share memory between threads, or map a file of the store: a named object outlives a crash";
const WAITS_FOR_HOST: &str =
    "nothing in this process can end that wait: leave the network and the input off under test";

const WAYS_OUT: &[WayOut] = &[
    WayOut {
        calls: &[
            "fork", "Fork", "clone", "vfork", "exec", "spawn", "daemon", "popen", "system",
            "wordexp",
        ],
        advice: PROCESS,
    },
    WayOut { calls: &["io_uring", "io_setup", "io_submit"], advice: RING },
    WayOut { calls: &["aio_", "lio_", "getaddrinfo_a", "mq_notify"], advice: THREADS_OF_LIBC },
    WayOut { calls: &["timer", "alarm", "setitimer", "sigtimedwait"], advice: TIMERS },
    WayOut { calls: &["adjtime", "ntp_", "clock_", "settimeofday", "ftime"], advice: HOST_CLOCK },
    WayOut { calls: &["sig", "tkill", "tgkill", "rt_", "pthread_sigqueue"], advice: SIGNALS },
    WayOut { calls: &["bind", "connect", "send", "mkfifo", "mknod"], advice: SOCKETS },
    WayOut {
        calls: &["mount", "pivot_root", "chroot", "acct", "swap", "quota", "fspick", "open_tree"],
        advice: MOUNTS,
    },
    WayOut { calls: &["name_to_handle_at", "open_by_handle_at"], advice: HANDLES },
    WayOut { calls: &["inotify", "fanotify"], advice: WATCHES },
    WayOut { calls: &["shm", "sem_open", "semget", "mq_open", "msgget"], advice: NAMED },
    WayOut { calls: &["waits for the host", "waits for descriptor"], advice: WAITS_FOR_HOST },
];

/// The advice for a call that is not simulated, by the name under which it was refused.
pub(crate) fn way_out(call: &str) -> &'static str {
    let waits = WAYS_OUT.last().filter(|way| way.calls.iter().any(|part| call.contains(part)));
    let named = || WAYS_OUT.iter().find(|way| way.calls.iter().any(|part| call.contains(part)));
    waits
        .or_else(named)
        .map_or("configure the engine not to make it, or ask for it in an issue", |way| way.advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_kind_have_one_way_out() {
        for call in ["fork", "_Fork", "clone3", "execve", "posix_spawnp"] {
            assert_eq!(way_out(call), PROCESS, "{call}");
        }
        assert_eq!(way_out("io_uring_setup"), RING);
        assert_eq!(way_out("timer_create"), TIMERS);
        assert_eq!(way_out("sigaction of SIGSYS"), SIGNALS);
        assert_eq!(way_out("connect that waits for the host"), WAITS_FOR_HOST);
        assert!(way_out("teleport").contains("issue"));
    }
}
