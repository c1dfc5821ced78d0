//! The simulated machine as text: what its files in `/proc`, `/sys` and `/etc` say.

use std::fmt::Write;
use std::time::Duration;

use crate::base::digest::hash;

use super::World;
use super::mounts::FILE_SYSTEMS;

/// The name of the machine.
pub(crate) const HOST: &str = "crashpoint";
/// The release of its kernel (uname(2)).
pub(crate) const RELEASE: &str = "6.1.0";
/// The build of its kernel (uname(2)).
pub(crate) const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC 2026-01-01";
/// Its domain, as a machine has it that was given none.
pub(crate) const DOMAIN: &str = "(none)";
/// Its memory, in bytes.
pub(crate) const MEMORY: u64 = 8 << 30;
/// The most processes of a user.
pub(crate) const PROCESSES: u64 = 31_000;
/// The name of the process's first thread.
const COMMAND: &str = "crashpoint";
/// The memory of the process, in bytes: mapped, and in use.
const MAPPED: u64 = 256 << 20;
const IN_USE: u64 = 64 << 20;
const PAGE: u64 = 4096;

/// What is at the path of a file of the machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A file with this text.
    Text(String),
    /// Nothing.
    Absent,
}

impl World {
    /// The file of the machine at an absolute path without `.`, `..` and double slashes; `None` if
    /// the path is the host's. The process is `/proc/self`.
    pub(crate) fn view(&mut self, path: &str) -> Option<View> {
        // These state the number of processors, too. Without them the affinity mask decides.
        const LIMITS: [&str; 2] = ["/proc/self/cgroup", "/sys/fs/cgroup"];
        if LIMITS.iter().any(|limits| path.starts_with(limits)) || ABSENT.contains(&path) {
            return Some(View::Absent);
        }
        let text = match path.strip_prefix("/proc/self/") {
            Some(name) => self.of_process(name),
            None if path == "/etc/mtab" => Some(self.mount_table()),
            None => match path.strip_prefix("/proc/") {
                Some(name) => self.of_machine(name),
                None => self.of_system(path),
            },
        };
        text.map(View::Text)
    }

    fn of_process(&mut self, name: &str) -> Option<String> {
        let pages = [MAPPED / PAGE, IN_USE / PAGE];
        Some(match name {
            "stat" => self.process_numbers(),
            "status" => self.process_status(),
            "statm" => format!("{} {} 1024 256 0 {} 0\n", pages[0], pages[1], pages[1]),
            "mountinfo" => self.mount_info(),
            "mounts" => self.mount_table(),
            "comm" => format!("{COMMAND}\n"),
            "loginuid" | "sessionid" => u32::MAX.to_string(),
            "oom_score" | "oom_score_adj" | "oom_adj" => "0\n".to_owned(),
            "wchan" | "timerslack_ns" | "coredump_filter" | "autogroup" => return None,
            "io" => "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n\
                     cancelled_write_bytes: 0\n"
                .to_owned(),
            _ => return None,
        })
    }

    /// `/proc/self/stat`, as proc_pid_stat(5) lists its fields.
    fn process_numbers(&mut self) -> String {
        let uptime = self.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default();
        let ran = self.clock.running();
        let (pid, threads) = (self.pid, self.schedule.started());
        let (ran, started) = (ticks(ran), ticks(uptime.saturating_sub(ran)));
        let (nice, rss) = (self.priority, IN_USE / PAGE);
        format!(
            "{pid} ({COMMAND}) R 1 {pid} {pid} 0 -1 4194304 0 0 0 0 {ran} 0 0 0 {} {nice} \
             {threads} 0 {started} {MAPPED} {rss} {} 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 \
             0 0 0 0 0\n",
            20 + nice,
            u64::MAX,
        )
    }

    /// `/proc/self/status`, as proc_pid_status(5) lists its lines.
    fn process_status(&self) -> String {
        let (pid, threads, umask) = (self.pid, self.schedule.started(), self.umask);
        let (mapped, in_use) = (MAPPED >> 10, IN_USE >> 10);
        let mask = u64::MAX >> (64 - self.cpus.clamp(1, 64));
        format!(
            "Name:\t{COMMAND}\nUmask:\t{umask:04o}\nState:\tR (running)\nTgid:\t{pid}\nNgid:\t0\n\
             Pid:\t{pid}\nPPid:\t1\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n\
             FDSize:\t64\nGroups:\t0\nVmPeak:\t{mapped} kB\nVmSize:\t{mapped} kB\nVmLck:\t0 kB\n\
             VmPin:\t0 kB\nVmHWM:\t{in_use} kB\nVmRSS:\t{in_use} kB\nVmData:\t{in_use} kB\n\
             VmStk:\t132 kB\nVmSwap:\t0 kB\nThreads:\t{threads}\nSeccomp:\t0\n\
             Cpus_allowed:\t{mask:x}\nCpus_allowed_list:\t{}\n\
             voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
            self.processors(),
        )
    }

    fn of_machine(&mut self, name: &str) -> Option<String> {
        Some(match name {
            "stat" => self.machine_numbers(),
            "uptime" => {
                let up = self.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default();
                let up = format!("{}.{:02}", up.as_secs(), up.subsec_millis() / 10);
                format!("{up} {up}\n")
            }
            "loadavg" => format!("0.00 0.00 0.00 1/{} {}\n", self.schedule.started(), self.pid),
            "meminfo" => memory(),
            "cpuinfo" => (0..self.cpus).map(|cpu| processor(cpu, self.cpus)).collect(),
            "mounts" => self.mount_table(),
            "filesystems" => FILE_SYSTEMS.to_owned(),
            "version" => format!("Linux version {RELEASE} (crashpoint) {VERSION}\n"),
            "cmdline" => "\n".to_owned(),
            "swaps" => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned(),
            _ => self.setting(name.strip_prefix("sys/")?)?,
        })
    }

    /// `/proc/stat`, as proc_stat(5) lists its lines.
    fn machine_numbers(&mut self) -> String {
        let up = self.clock.read(libc::CLOCK_MONOTONIC).unwrap_or_default();
        let now = self.clock.show(libc::CLOCK_REALTIME).unwrap_or_default();
        let (ran, booted) = (ticks(self.clock.running()), now.saturating_sub(up).as_secs());
        let idle = ticks(up).saturating_sub(ran);
        let all = idle * u64::from(self.cpus);
        let mut text = format!("cpu  {ran} 0 0 {all} 0 0 0 0 0 0\n");
        for cpu in 0..self.cpus {
            let ran = if cpu == 0 { ran } else { 0 };
            let _ = writeln!(text, "cpu{cpu} {ran} 0 0 {idle} 0 0 0 0 0 0");
        }
        let _ = write!(
            text,
            "intr 0\nctxt 0\nbtime {booted}\nprocesses {}\nprocs_running 1\nprocs_blocked 0\n",
            self.pid
        );
        text
    }

    /// The files in `/proc/sys`.
    fn setting(&mut self, name: &str) -> Option<String> {
        let text = match name {
            "kernel/random/boot_id" => uuid(boot_id(self.boot())),
            "kernel/random/uuid" => {
                let mut bytes = [0; 16];
                self.entropy.fill(&mut bytes);
                uuid(bytes)
            }
            "kernel/random/entropy_avail" | "kernel/random/poolsize" => "256".to_owned(),
            "kernel/ostype" => "Linux".to_owned(),
            "kernel/osrelease" => RELEASE.to_owned(),
            "kernel/version" => VERSION.to_owned(),
            "kernel/hostname" => HOST.to_owned(),
            "kernel/domainname" => DOMAIN.to_owned(),
            "kernel/pid_max" => "32768".to_owned(),
            "kernel/threads-max" => PROCESSES.to_string(),
            "kernel/randomize_va_space" | "vm/nr_hugepages" | "vm/overcommit_memory" => {
                "0".to_owned()
            }
            "kernel/perf_event_paranoid" => "2".to_owned(),
            "vm/max_map_count" => "65530".to_owned(),
            "vm/swappiness" => "60".to_owned(),
            "vm/overcommit_ratio" => "50".to_owned(),
            "fs/file-max" => i64::MAX.to_string(),
            "fs/nr_open" => (1 << 20).to_string(),
            "fs/aio-max-nr" => "65536".to_owned(),
            "fs/aio-nr" => "0".to_owned(),
            "fs/pipe-max-size" => (1 << 20).to_string(),
            _ => return None,
        };
        Some(text + "\n")
    }

    /// Files in `/sys` and `/etc`.
    fn of_system(&self, path: &str) -> Option<String> {
        let text = match path {
            "/sys/devices/system/cpu/online"
            | "/sys/devices/system/cpu/possible"
            | "/sys/devices/system/cpu/present" => self.processors(),
            "/sys/devices/system/node/online" | "/sys/devices/system/node/possible" => {
                "0".to_owned()
            }
            "/sys/kernel/mm/transparent_hugepage/enabled"
            | "/sys/kernel/mm/transparent_hugepage/defrag" => "always [madvise] never".to_owned(),
            "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size" => "2097152".to_owned(),
            "/etc/hostname" => HOST.to_owned(),
            "/etc/machine-id" | "/var/lib/dbus/machine-id" => {
                hex(boot_id(0)).chars().filter(|&letter| letter != '-').collect()
            }
            "/etc/passwd" => "root:x:0:0:root:/root:/bin/sh".to_owned(),
            "/etc/group" => "root:x:0:".to_owned(),
            _ => return None,
        };
        Some(text + "\n")
    }

    /// The processors as the kernel lists them.
    fn processors(&self) -> String {
        match self.cpus {
            0 | 1 => "0".to_owned(),
            cpus => format!("0-{}", cpus - 1),
        }
    }
}

/// Files that the machine lacks: its time zone is UTC, and its users are in `/etc/passwd` alone.
const ABSENT: [&str; 4] =
    ["/etc/localtime", "/etc/timezone", "/etc/hostid", "/var/run/nscd/socket"];

/// Clock ticks of a time, as the kernel counts it for programs.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / 10).unwrap_or(u64::MAX)
}

/// `/proc/meminfo`, in its most used lines.
fn memory() -> String {
    let all = MEMORY >> 10;
    let free = all / 2;
    format!(
        "MemTotal:       {all:8} kB\nMemFree:        {free:8} kB\nMemAvailable:   {free:8} kB\n\
         Buffers:               0 kB\nCached:                0 kB\nSwapCached:            0 kB\n\
         SwapTotal:             0 kB\nSwapFree:              0 kB\nDirty:                 0 kB\n\
         Writeback:             0 kB\nHugePages_Total:       0\nHugePages_Free:        0\n\
         Hugepagesize:       2048 kB\n"
    )
}

/// A processor in `/proc/cpuinfo`. Its flags are those that every processor of this kind has.
fn processor(number: u32, all: u32) -> String {
    format!(
        "processor\t: {number}\nvendor_id\t: crashpoint\nmodel name\t: crashpoint virtual \
         processor\ncpu MHz\t\t: 1000.000\ncache size\t: 1024 KB\nphysical id\t: 0\nsiblings\t: \
         {all}\ncore id\t\t: {number}\ncpu cores\t: {all}\nflags\t\t: fpu tsc cx8 cmov mmx fxsr \
         sse sse2 syscall nx lm\n\n"
    )
}

/// Bytes from a seed, for an id.
fn boot_id(seed: u64) -> [u8; 16] {
    let half = |number: u64| hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
    let halves = [half(1).to_le_bytes(), half(2).to_le_bytes()];
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&halves[0]);
    bytes[8..].copy_from_slice(&halves[1]);
    bytes
}

/// A random id of version 4 (RFC 9562).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    hex(bytes)
}

fn hex(bytes: [u8; 16]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_form_that_rfc_9562_gives_it() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_ne!(boot_id(1), boot_id(2));
    }
}
