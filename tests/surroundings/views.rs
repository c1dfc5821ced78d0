//! A store that writes all it can see of its machine and its process into a file.
#![expect(unsafe_code, reason = "what only C functions and instructions show")]

use std::arch::asm;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_int};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::mem::zeroed;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crashpoint::{Error, Store};

/// The store.
pub(crate) struct Views {
    log: File,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A function that shows a property.
type View = fn() -> String;

/// The properties.
const VIEWS: [(&str, View); 17] = [
    ("variables", || format!("{:?}", std::env::vars_os().collect::<Vec<_>>())),
    ("arguments", || format!("{:?} {:?}", std::env::args_os(), std::env::current_exe())),
    ("directory", || format!("{:?} {:?}", std::env::current_dir(), fs::canonicalize("."))),
    ("process", process),
    ("users", users),
    ("names", names),
    ("numbers", || (0..256).map(|name| format!("{} ", configuration(name))).collect()),
    ("auxiliary", auxiliary),
    ("processor", processor),
    ("usage", usage),
    ("room", || format!("{} {}", room(c"/proc/crashpoint"), room(c"/tmp"))),
    ("terminals", || (0..3).map(|fd| format!("{} ", is_terminal(fd))).collect()),
    ("addresses", addresses),
    ("zone", zone),
    ("random", || format!("{:x}", RandomState::new().hash_one(0))),
    ("links", links),
    ("mount", mount),
];

/// Files that are read whole.
const FILES: [&str; 32] = [
    "/proc/self/stat",
    "/proc/self/status",
    "/proc/self/statm",
    "/proc/self/mountinfo",
    "/proc/self/mounts",
    "/proc/mounts",
    "/proc/filesystems",
    "/proc/thread-self/comm",
    "/proc/self/task/../maps",
    "/proc/self/cmdline",
    "/proc/self/environ",
    "/proc/self/auxv",
    "/proc/self/cgroup",
    "/proc/self/oom_score_adj",
    "/proc/self/loginuid",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/cpuinfo",
    "/proc/version",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/random/uuid",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/max_map_count",
    "/proc/sys/fs/file-max",
    "/sys/devices/system/cpu/online",
    "/sys/fs/cgroup/cpu.max",
    "/etc/machine-id",
    "/etc/hostname",
    "/etc/passwd",
    "/etc/localtime",
];

fn process() -> String {
    // SAFETY: the calls take numbers.
    unsafe {
        let own = [libc::getpid(), libc::gettid(), libc::getppid()];
        let groups = [libc::getpgrp(), libc::getpgid(0), libc::getsid(0)];
        let mask = libc::umask(0o022);
        libc::umask(mask);
        let priority = libc::getpriority(libc::PRIO_PROCESS, 0);
        let policy = libc::sched_getscheduler(0);
        let by_number = libc::syscall(libc::SYS_getppid);
        format!("{own:?} {groups:?} {mask:o} {priority} {policy} {by_number}")
    }
}

fn users() -> String {
    let mut groups = [0; 64];
    // SAFETY: the room for groups has the length that is given; the other calls take nothing.
    unsafe {
        let count = libc::getgroups(64, groups.as_mut_ptr());
        let ids = [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()];
        format!("{ids:?} {count} {groups:?} {}", libc::syscall(libc::SYS_getuid))
    }
}

fn names() -> String {
    let text = |name: &[i8]| {
        let bytes: Vec<u8> = name.iter().map(|&b| b.cast_unsigned()).collect();
        let name = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    // SAFETY: the structure may be all zeros, and the buffer has the length that is given.
    unsafe {
        let mut machine: libc::utsname = zeroed();
        libc::uname(&mut machine);
        let mut host = [0; 65];
        libc::gethostname(host.as_mut_ptr(), host.len());
        let all = [machine.nodename, machine.release, machine.version, machine.domainname, host];
        format!("{:?} {}", all.map(|name| text(&name)), libc::gethostid())
    }
}

fn configuration(name: c_int) -> i64 {
    // SAFETY: sysconf(3) takes any number.
    unsafe { libc::sysconf(name) }
}

fn auxiliary() -> String {
    let mut text = String::new();
    // SAFETY: getauxval(3) takes any number; the address of the random bytes is that of sixteen.
    unsafe {
        for kind in 0..64 {
            let _ = write!(text, "{kind} {:x}, ", libc::getauxval(kind));
        }
        let random = libc::getauxval(libc::AT_RANDOM) as usize;
        let random = std::ptr::with_exposed_provenance::<[u8; 16]>(random);
        let _ = write!(text, "{:x?}", random.read());
        let name = libc::getauxval(libc::AT_EXECFN) as usize;
        let name = CStr::from_ptr(std::ptr::with_exposed_provenance(name));
        let _ = write!(text, "{name:?}");
    }
    text
}

/// The number of the processor, by every way to it; and its time stamp.
fn processor() -> String {
    let (mut low, mut high, mut number): (u64, u64, u64);
    // SAFETY: the calls take room for numbers or nothing, and the instruction changes three
    // registers.
    unsafe {
        let (mut cpu, mut node) = (0_u32, 0_u32);
        libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, 0);
        asm!("rdtscp", out("rax") low, out("rdx") high, out("rcx") number);
        let stamp = std::arch::x86_64::_rdtsc();
        let current = libc::sched_getcpu();
        format!("{cpu} {node} {current} {} {low} {high} {number} {stamp}", restartable())
    }
}

/// The number of the processor that the kernel shows in the thread's own memory (rseq(2)).
fn restartable() -> i32 {
    // SAFETY: the C library documents the offset of the structure from the thread pointer, whose
    // second number is the processor; without the symbol there is no structure.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let Some(offset) = offset.as_ref() else { return -3 };
        let thread: *const u8;
        asm!("mov {}, fs:[0]", out(reg) thread);
        thread.offset(*offset + 4).cast::<i32>().read_volatile()
    }
}

fn usage() -> String {
    // SAFETY: the structures may be all zeros, and the calls fill them.
    unsafe {
        let (mut used, mut ticks): (libc::rusage, libc::tms) = (zeroed(), zeroed());
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        let now = libc::times(&mut ticks);
        let mut load = [0.0; 3];
        libc::getloadavg(load.as_mut_ptr(), 3);
        let time = (used.ru_utime.tv_sec, used.ru_utime.tv_usec);
        format!("{time:?} {} {} {now} {} {load:?}", used.ru_maxrss, used.ru_minflt, ticks.tms_utime)
    }
}

fn room(path: &CStr) -> String {
    // SAFETY: the structure may be all zeros, and the path is a C string.
    unsafe {
        let mut disk: libc::statfs = zeroed();
        libc::statfs(path.as_ptr(), &mut disk);
        format!("{} {} {} {}", disk.f_blocks, disk.f_bfree, disk.f_bavail, disk.f_ffree)
    }
}

/// The mount of the store's device: the type of its file system, as both tables have it.
fn mount() -> String {
    let device = fs::metadata("/proc/crashpoint/store").map(|at| at.dev()).unwrap_or_default();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of_device = |line: &&str| line.split(' ').nth(2) == Some(&number);
    let lines: Vec<&str> = text.lines().filter(of_device).collect();
    let [line] = lines[..] else { panic!("{number} in {text}") };
    let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    // SAFETY: the paths are C strings, and an entry has the strings of its line until the next.
    unsafe {
        let table = libc::setmntent(c"/etc/mtab".as_ptr(), c"r".as_ptr());
        let mut listed = None;
        while let Some(entry) = libc::getmntent(table).as_ref() {
            if CStr::from_ptr(entry.mnt_dir) == c"/proc/crashpoint" {
                listed = CStr::from_ptr(entry.mnt_type).to_str().ok().map(str::to_owned);
            }
        }
        libc::endmntent(table);
        assert_eq!(listed.as_deref(), Some(kind));
    }
    kind.to_owned()
}

fn is_terminal(fd: c_int) -> c_int {
    // SAFETY: isatty(3) takes any number.
    unsafe { libc::isatty(fd) }
}

fn addresses() -> String {
    static STATIC: u8 = 0;
    let local = 0_u8;
    let heap = Box::new(0_u8);
    format!(
        "{:p} {:p} {:p} {:p}",
        &raw const STATIC, &raw const local, heap, addresses as fn() -> _
    )
}

fn zone() -> String {
    // SAFETY: the structure may be all zeros, and the call fills it.
    unsafe {
        let (mut then, now): (libc::tm, libc::time_t) = (zeroed(), 1_767_225_600);
        libc::localtime_r(&now, &mut then);
        format!("{} {} {}", then.tm_hour, then.tm_yday, then.tm_gmtoff)
    }
}

fn links() -> String {
    let all = ["/proc/self", "/proc/self/exe", "/proc/self/cwd", "/proc/self/root"];
    format!("{:?}", all.map(fs::read_link))
}

/// Everything, one property after another.
fn everything() -> String {
    let mut text = String::new();
    for (name, view) in VIEWS {
        let _ = writeln!(text, "{name}: {}", view());
    }
    for path in FILES {
        let read = fs::read(path);
        let read = read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let _ = writeln!(text, "{path}: {:?}", read.map_err(|error| error.kind()));
    }
    text
}

impl Store for Views {
    const NAME: &'static str = "views";

    fn open(dir: &Path) -> Result<Self, Error> {
        assert_eq!(dir.as_os_str().as_bytes(), b"/proc/crashpoint/store");
        fs::write(dir.join("views"), everything())?;
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        File::open(dir)?.sync_all()?;
        let bytes = fs::read(dir.join("log"))?;
        let written = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        let whole = bytes[..written].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        log.set_len(whole as u64)?;
        log.sync_all()?;
        let mut items = BTreeMap::new();
        for line in bytes[..whole].split(|&b| b == b'\n') {
            match line.splitn(3, |&b| b == b' ').collect::<Vec<_>>()[..] {
                [b"put", key, value] => drop(items.insert(key.to_vec(), value.to_vec())),
                [b"delete", key] => drop(items.remove(key)),
                _ => {}
            }
        }
        Ok(Self { log, items })
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"put ", key, b" ", value, b"\n"].concat())?;
        self.items.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.log.write_all(&[b"delete ", key, b"\n"].concat())?;
        self.items.remove(key);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(self.log.sync_data()?)
    }

    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(self.items.clone().into_iter().collect())
    }
}
