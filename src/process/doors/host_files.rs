//! Files that describe the machine and the process: the engine reads those of the simulated
//! machine. A read of another file of the host is noted, if its content may differ between two
//! machines or two runs.

use std::ffi::{CString, OsString, c_int, c_void};
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use crate::base::digest::hash;
use crate::disk::Errno;
use crate::process::seam::{self, auxv};
use crate::process::world;
use crate::process::world::door::Door;
use crate::process::world::views::View;

use super::{answer, doors};

doors! {
    fn getifaddrs(list: *mut *mut c_void) -> c_int = interfaces;
    fn if_nameindex() -> *mut c_void = interface_names;
}

/// The link to the running program, which is what the engine gets as its path.
const PROGRAM: &str = "/proc/self/exe";

/// Files and folders that may be read without a note: devices, and what belongs to the installed
/// system or to the program and is not changed while it runs.
const SILENT: [&str; 18] = [
    "/bin/",
    "/dev/fd/",
    "/dev/full",
    "/dev/null",
    "/dev/tty",
    "/dev/zero",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/ld.so",
    "/etc/nsswitch.conf",
    "/lib",
    "/nix/",
    "/opt/",
    "/proc/self/cmdline",
    "/proc/self/exe",
    "/proc/self/fd/",
    "/sbin/",
    "/usr/",
];

/// An absolute path of the host without `.`, `..` and double slashes, in which the engine's own
/// process is `/proc/self`. No link is followed.
fn plain(dirfd: c_int, path: &[u8]) -> Option<String> {
    let mut whole = match path.first()? {
        b'/' => Vec::new(),
        _ => directory(dirfd)?,
    };
    whole.push(b'/');
    whole.extend_from_slice(path);
    let mut words: Vec<&[u8]> = Vec::new();
    for word in whole.split(|&byte| byte == b'/') {
        match word {
            b"" | b"." => {}
            b".." => drop(words.pop()),
            word => words.push(word),
        }
    }
    let words: Option<Vec<&str>> =
        words.into_iter().map(|word| std::str::from_utf8(word).ok()).collect();
    Some(own_process(words?))
}

/// Names the engine's process in one way, whichever way a path does.
fn own_process(mut words: Vec<&str>) -> String {
    let own = world::enter(|world| world.pid.to_string()).unwrap_or_default();
    if let ["proc", process, ..] = words[..]
        && (process == own || process == "thread-self")
    {
        words[1] = "self";
    }
    if let ["proc", "self", "task", _, ..] = words[..] {
        words.drain(2..4);
    }
    words.iter().flat_map(|word| ["/", word]).collect()
}

/// The directory of the host that a relative path starts at.
fn directory(dirfd: c_int) -> Option<Vec<u8>> {
    let directory = match dirfd {
        libc::AT_FDCWD => std::env::current_dir().ok()?,
        fd => fs::read_link(format!("/proc/self/fd/{fd}")).ok()?,
    };
    Some(directory.into_os_string().into_vec())
}

/// Serves the opening of a file of the machine for reading; `None` passes the call on to the host.
pub(super) fn open(door: &'static Door, dirfd: c_int, path: &[u8], flags: c_int) -> Option<c_int> {
    let changes = flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) != 0;
    if changes || flags & (libc::O_DIRECTORY | libc::O_PATH) != 0 {
        return None;
    }
    // Nothing of this may show in the engine's heap.
    let _harness = seam::harness();
    let path = plain(dirfd, path)?;
    let text = match path.as_str() {
        "/proc/self/maps" => maps().into_bytes(),
        "/proc/self/environ" => environment(),
        "/proc/self/auxv" => auxv::bytes(),
        _ => match world::enter(|world| world.view(&path))? {
            Some(View::Absent) => return Some(answer(Err(Errno::ENOENT))),
            Some(View::Text(text)) => text.into_bytes(),
            None => {
                note(&path);
                return None;
            }
        },
    };
    let digest = hash(&text);
    world::enter(|world| world.call_unrecorded(door.name, Duration::ZERO, [digest, 0, 0]))?;
    with_text(&path, &text, flags)
}

/// A descriptor of the host that reads as a text: a file in memory, which has every property that a
/// file of `/proc` has for its readers.
fn with_text(path: &str, text: &[u8], flags: c_int) -> Option<c_int> {
    let name = CString::new(path).ok()?;
    let close_on_exec = if flags & libc::O_CLOEXEC == 0 { 0 } else { libc::MFD_CLOEXEC };
    // SAFETY: the name is a C string, the text has the length that is given, and the descriptor is
    // new.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), close_on_exec | libc::MFD_ALLOW_SEALING);
        if fd < 0 {
            return Some(fd);
        }
        let wrote = libc::pwrite(fd, text.as_ptr().cast(), text.len(), 0);
        if usize::try_from(wrote).ok() != Some(text.len()) {
            libc::close(fd);
            return Some(answer(Err(Errno::EIO)));
        }
        let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK;
        libc::fcntl(fd, libc::F_ADD_SEALS, seals);
        Some(fd)
    }
}

/// Notes that the engine reads a file of the host, unless it may.
fn note(path: &str) {
    let exists =
        || Path::new(path).is_file() || path.starts_with("/proc/") && Path::new(path).exists();
    let silent = SILENT.iter().any(|prefix| path.starts_with(prefix)) || is_of_the_program(path);
    if !silent && exists() {
        world::enter(|world| world.reads_host(path.as_bytes()));
    }
}

/// Whether a file is the program or one of its libraries, which readers of symbols open.
fn is_of_the_program(path: &str) -> bool {
    let mapped = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    mapped.lines().filter_map(file_of).any(|(_, file)| file == path)
}

/// The part of a line of `/proc/self/maps` before the device, and its file.
fn file_of(line: &str) -> Option<(&str, &str)> {
    let at = line.find('/')?;
    let file = &line[at..];
    let memory = file.ends_with(" (deleted)") || file.starts_with("/memfd:");
    // Addresses, access and offset: the first three words.
    let words = line.match_indices(' ').nth(2)?.0;
    (!memory).then_some((&line[..words], file))
}

/// `/proc/self/maps`, as far as it is the same in every process of this program: the parts of the
/// program and of its libraries. Memory without a file is the harness's, too.
fn maps() -> String {
    let mapped = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = fs::read_link(PROGRAM).unwrap_or_default();
    let mut files: Vec<&str> = Vec::new();
    let mut text = String::new();
    for (place, file) in mapped.lines().filter_map(file_of) {
        if !files.contains(&file) {
            files.push(file);
        }
        let inode = files.iter().position(|&known| known == file).unwrap_or(0) + 1;
        let shown = if Path::new(file) == program { PROGRAM } else { file };
        // The path begins in column 74 (proc_pid_maps(5)).
        let line = format!("{place} 00:4d {inode}");
        let _ = writeln!(text, "{line:<72} {shown}");
    }
    text
}

/// `/proc/self/environ`, with the variables of now.
fn environment() -> Vec<u8> {
    let variable = |(name, value): (OsString, OsString)| {
        [name.as_encoded_bytes(), b"=", value.as_encoded_bytes(), b"\0"].concat()
    };
    std::env::vars_os().flat_map(variable).collect()
}

/// Where a link of the machine leads; `None` for a path of the host.
pub(super) fn link(dirfd: c_int, path: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
    let _harness = seam::harness();
    let written = path;
    let path = plain(dirfd, written)?;
    let target = |text: String| Some(Ok(text.into_bytes()));
    // The two links to the process itself are gone from the plain form of a path.
    match written {
        b"/proc/self" => return target(world::enter(|world| world.pid.to_string())?),
        b"/proc/thread-self" => {
            let thread = crate::process::threads::baton::own();
            return target(world::enter(|world| {
                let thread = world.pid + libc::pid_t::try_from(thread).unwrap_or(1).max(1) - 1;
                format!("{}/task/{thread}", world.pid)
            })?);
        }
        _ => {}
    }
    match path.as_str() {
        PROGRAM => target(PROGRAM.to_owned()),
        "/proc/self/root" => target("/".to_owned()),
        "/proc/self/cwd" => {
            let inside = world::enter(|world| world.current())??;
            Some(Ok(inside))
        }
        _ => match world::enter(|world| world.view(&path))?? {
            View::Absent => Some(Err(Errno::ENOENT)),
            View::Text(_) => Some(Err(Errno::EINVAL)),
        },
    }
}

/// The addresses of the machine in its networks: those of the host.
fn interfaces(_: &'static Door, _: *mut *mut c_void) -> Option<c_int> {
    world::enter(|world| world.reads_host(b"the network interfaces"))?;
    None
}

fn interface_names(_: &'static Door) -> Option<*mut c_void> {
    world::enter(|world| world.reads_host(b"the network interfaces"))?;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_plain_by_its_words() {
        for (path, plain_path) in [
            ("/proc//self/./maps", "/proc/self/maps"),
            ("/proc/thread-self/stat", "/proc/self/stat"),
            ("/proc/self/task/77/stat", "/proc/self/stat"),
            ("/etc/../proc/stat", "/proc/stat"),
            ("/", ""),
        ] {
            assert_eq!(plain(libc::AT_FDCWD, path.as_bytes()).as_deref(), Some(plain_path));
        }
        assert_eq!(plain(libc::AT_FDCWD, b""), None);
    }

    #[test]
    fn a_line_of_a_map_has_a_place_and_perhaps_a_file() {
        let line = "7ffff7dc0000-7ffff7de8000 r--p 00001000 fe:00 247030      /usr/lib/a b.so";
        let place = "7ffff7dc0000-7ffff7de8000 r--p 00001000";
        assert_eq!(file_of(line), Some((place, "/usr/lib/a b.so")));
        assert_eq!(file_of("7ffff7dc0000-7ffff7de8000 rw-p 00000000 00:00 0"), None);
        assert_eq!(file_of("1-2 rw-s 00000000 00:01 5   /memfd:x (deleted)"), None);
    }
}
