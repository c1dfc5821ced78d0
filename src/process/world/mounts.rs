//! The mounts of the simulated machine: the simulated disk, its root, and `/proc`.

use std::ffi::c_uint;

use super::World;

/// The number of the simulated device: minor 77 of the devices without hardware.
pub(crate) const DEVICE: (c_uint, c_uint) = (0, 77);
/// The type that statfs(2) reports for ext2, ext3 and ext4.
pub(crate) const EXT4: i64 = 0xef53;
/// The id of the simulated disk's mount, which statx(2) and mountinfo show.
pub(crate) const MOUNT_ID: u32 = 77;
/// The path of the simulated disk.
const MOUNT: &str = "/proc/crashpoint";

/// The name and the type, as statfs(2) reports it, of a profile's file system; ext4's for profiles
/// that are no file system.
pub(crate) fn file_system(profile: &str) -> (&'static str, i64) {
    match profile {
        name if name.starts_with("xfs") => ("xfs", libc::XFS_SUPER_MAGIC),
        name if name.starts_with("btrfs") => ("btrfs", libc::BTRFS_SUPER_MAGIC),
        _ => ("ext4", EXT4),
    }
}

/// A mount: its ids, its parent's, its device, its path, its file system and its source.
type Mount = ([u32; 2], (u32, u32), &'static str, &'static str, &'static str);

/// The file systems that the kernel knows, as proc_filesystems(5) lists them.
pub(super) const FILE_SYSTEMS: &str = "nodev\ttmpfs\nnodev\tproc\n\text4\n\txfs\n\tbtrfs\n";

impl World {
    fn mounts(&self) -> [Mount; 3] {
        let (disk, _) = file_system(self.profile);
        [
            ([21, 1], (8, 1), "/", "ext4", "/dev/sda1"),
            ([22, 21], (0, 20), "/proc", "proc", "proc"),
            ([MOUNT_ID, 22], DEVICE, MOUNT, disk, "/dev/sdb1"),
        ]
    }

    /// `/proc/self/mountinfo`, as proc_pid_mountinfo(5) describes its lines.
    pub(super) fn mount_info(&self) -> String {
        let line = |([id, parent], (major, minor), path, kind, source): Mount| {
            format!("{id} {parent} {major}:{minor} / {path} rw,relatime - {kind} {source} rw\n")
        };
        self.mounts().into_iter().map(line).collect()
    }

    /// `/proc/self/mounts`, which has the lines of fstab(5).
    pub(super) fn mount_table(&self) -> String {
        let line =
            |(.., path, kind, source): Mount| format!("{source} {path} {kind} rw,relatime 0 0\n");
        self.mounts().into_iter().map(line).collect()
    }
}
