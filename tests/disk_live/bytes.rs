//! Reading, writing, seeking, sizes, and the attributes that stat shows.

use crashpoint::Time;
use crashpoint::inner::disk::clock::TICK;
use crashpoint::inner::disk::io::SIZE_MAX;
use crashpoint::inner::disk::{Disk, Errno, Handle};

use crate::{CREATE, READ, ROOT, contents, disk, get, mkdir, open, put, symlink};

const LIMIT: i64 = SIZE_MAX.cast_signed();
const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE;
const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE;
const COLLAPSE: i32 = libc::FALLOC_FL_COLLAPSE_RANGE;
const INSERT: i32 = libc::FALLOC_FL_INSERT_RANGE;

/// A disk with one open file that holds `bytes`; the offset is after them.
fn file(bytes: &[u8]) -> (Disk, Handle) {
    let mut disk = disk();
    let h = open(&mut disk, "f", CREATE);
    assert_eq!(disk.write(h, bytes), Ok(bytes.len()));
    (disk, h)
}

fn size(disk: &Disk, h: Handle) -> u64 {
    disk.stat(h).expect("it is open").size
}

#[test]
fn a_read_stops_at_the_end() {
    let (mut disk, h) = file(b"abc");
    let mut bytes = [b'.'; 4];
    assert_eq!(disk.read_at(h, &mut bytes, 1), Ok(2));
    assert_eq!(&bytes, b"bc..");
    assert_eq!(disk.read_at(h, &mut bytes, 3), Ok(0));
    assert_eq!(disk.read_at(h, &mut bytes, LIMIT + 1), Ok(0));
    assert_eq!(disk.read(h, &mut bytes), Ok(0));
}

#[test]
fn reads_and_writes_move_the_offset_and_those_at_an_offset_do_not() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.write_at(h, b"X", 0), Ok(1));
    assert_eq!(disk.read_at(h, &mut [0; 2], 0), Ok(2));
    assert_eq!(disk.write(h, b"d"), Ok(1));
    assert_eq!(disk.seek(h, 1, libc::SEEK_SET), Ok(1));
    assert_eq!(disk.read(h, &mut [0; 2]), Ok(2));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(3));
    assert_eq!(contents(&disk, h), b"Xbcd");
}

#[test]
fn an_append_goes_to_the_end_even_at_an_offset() {
    let (mut disk, h) = file(b"abc");
    disk.set_flags(h, libc::O_APPEND).expect("it is open");
    disk.seek(h, 0, libc::SEEK_SET).expect("it is open");
    assert_eq!(disk.write_at(h, b"d", 0), Ok(1));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(0));
    assert_eq!(disk.write(h, b"e"), Ok(1));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(5));
    assert_eq!(contents(&disk, h), b"abcde");
}

#[test]
fn writing_nothing_changes_nothing() {
    let (mut disk, h) = file(b"abc");
    disk.set_time(Time(7));
    assert_eq!(disk.write_at(h, b"", 100), Ok(0));
    assert_eq!(disk.write(h, b""), Ok(0));
    let stat = disk.stat(h).expect("it is open");
    assert_eq!((stat.size, stat.modified), (3, Time(0)));
}

#[test]
fn the_gap_before_a_write_beyond_the_end_is_zeros() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.write_at(h, b"x", 10_000), Ok(1));
    let bytes = contents(&disk, h);
    assert_eq!(bytes.len(), 10_001);
    assert_eq!((&bytes[..3], bytes[10_000]), (&b"abc"[..], b'x'));
    assert!(bytes[3..10_000].iter().all(|&b| b == 0));
    assert_eq!(disk.stat(h).map(|stat| stat.blocks), Ok(16), "the hole takes no blocks");
}

#[test]
fn an_offset_is_not_negative_and_an_end_fits_an_i64() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.read_at(h, &mut [0], -1), Err(Errno::EINVAL));
    assert_eq!(disk.write_at(h, b"x", -1), Err(Errno::EINVAL));
    assert_eq!(disk.read_at(h, &mut [0], i64::MAX), Err(Errno::EINVAL));
    assert_eq!(disk.write_at(h, b"x", i64::MAX), Err(Errno::EINVAL));
    assert_eq!(disk.read_at(h, &mut [], i64::MAX), Ok(0));
    assert_eq!(disk.write_at(h, b"", i64::MAX), Ok(0));
}

#[test]
fn a_file_ends_before_16_tib() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.write_at(h, b"xyz", LIMIT - 2), Ok(2), "a short write up to the limit");
    assert_eq!(disk.write_at(h, b"x", LIMIT), Err(Errno::EFBIG));
    assert_eq!(disk.truncate(h, LIMIT), Ok(()));
    assert_eq!(disk.truncate(h, LIMIT + 1), Err(Errno::EFBIG));
    assert_eq!(disk.truncate_path(ROOT, b"f", i64::MAX), Err(Errno::EFBIG));
    assert_eq!(disk.allocate(h, 0, LIMIT, 1), Err(Errno::EFBIG));
    assert_eq!(disk.allocate(h, 0, i64::MAX, i64::MAX), Err(Errno::EFBIG));
    assert_eq!(disk.seek(h, LIMIT, libc::SEEK_SET), Ok(SIZE_MAX));
    assert_eq!(disk.write(h, b"x"), Err(Errno::EFBIG));
    assert_eq!(disk.seek(h, LIMIT + 1, libc::SEEK_SET), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, 1, libc::SEEK_CUR), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(SIZE_MAX), "a failed seek moves nothing");
}

#[test]
fn seeks_count_from_the_start_the_offset_or_the_end() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.seek(h, 10, libc::SEEK_SET), Ok(10));
    assert_eq!(disk.seek(h, -3, libc::SEEK_CUR), Ok(7));
    assert_eq!(disk.seek(h, -1, libc::SEEK_END), Ok(2));
    assert_eq!(disk.seek(h, -4, libc::SEEK_END), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, -3, libc::SEEK_CUR), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, i64::MAX, libc::SEEK_CUR), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, i64::MIN, libc::SEEK_SET), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, 0, 5), Err(Errno::EINVAL));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(2));
}

#[test]
fn data_and_holes_are_found_page_by_page() {
    let (mut disk, h) = file(b"abc");
    disk.write_at(h, b"x", 10_000).expect("it is writable");
    disk.write_at(h, b"x", 3 * 4096).expect("it is writable");
    let mut seek = |offset, whence| disk.seek(h, offset, whence);
    assert_eq!(seek(0, libc::SEEK_DATA), Ok(0));
    assert_eq!(seek(1, libc::SEEK_DATA), Ok(1));
    assert_eq!(seek(1, libc::SEEK_HOLE), Ok(4096));
    assert_eq!(seek(5000, libc::SEEK_HOLE), Ok(5000));
    assert_eq!(seek(5000, libc::SEEK_DATA), Ok(8192));
    assert_eq!(seek(8192, libc::SEEK_HOLE), Ok(12_289), "the end is a hole");
    assert_eq!(seek(12_289, libc::SEEK_HOLE), Err(Errno::ENXIO));
    assert_eq!(seek(-1, libc::SEEK_DATA), Err(Errno::ENXIO));
}

#[test]
fn a_hole_of_16_tib_is_crossed_in_one_step() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.truncate(h, LIMIT), Ok(()));
    assert_eq!(disk.seek(h, 4096, libc::SEEK_DATA), Err(Errno::ENXIO));
    assert_eq!(disk.seek(h, 0, libc::SEEK_HOLE), Ok(4096));
    disk.write_at(h, b"x", LIMIT - 1).expect("it is writable");
    assert_eq!(disk.seek(h, 4096, libc::SEEK_DATA), Ok(SIZE_MAX - 4096));
}

#[test]
fn truncated_bytes_come_back_as_zeros() {
    let (mut disk, h) = file(&[b'x'; 5000]);
    assert_eq!(disk.truncate(h, 10), Ok(()));
    assert_eq!(disk.truncate(h, 6000), Ok(()));
    let bytes = contents(&disk, h);
    assert_eq!(bytes.len(), 6000);
    assert_eq!(&bytes[..10], &[b'x'; 10]);
    assert!(bytes[10..].iter().all(|&b| b == 0));
    assert_eq!(disk.seek(h, 0, libc::SEEK_CUR), Ok(5000), "the offset stays");
}

#[test]
fn only_files_have_a_size_to_set() {
    let (mut disk, h) = file(b"abc");
    mkdir(&mut disk, "d");
    symlink(&mut disk, "f", "l");
    assert_eq!(disk.truncate_path(ROOT, b"l", 1), Ok(()));
    assert_eq!(get(&mut disk, "f"), b"a");
    assert_eq!(disk.truncate_path(ROOT, b"d", 1), Err(Errno::EISDIR));
    assert_eq!(disk.truncate_path(ROOT, b"no", 1), Err(Errno::ENOENT));
    assert_eq!(disk.truncate_path(ROOT, b"no", -1), Err(Errno::EINVAL));
    assert_eq!(disk.truncate(h, -1), Err(Errno::EINVAL));
    let d = open(&mut disk, "d", READ);
    assert_eq!(disk.truncate(d, 1), Err(Errno::EINVAL));
}

#[test]
fn allocation_grows_a_file_without_the_flag_to_keep_its_size() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.allocate(h, KEEP, 0, 100), Ok(()));
    assert_eq!(size(&disk, h), 3);
    assert_eq!(disk.allocate(h, 0, 0, 2), Ok(()));
    assert_eq!(size(&disk, h), 3);
    assert_eq!(disk.allocate(h, 0, 50, 50), Ok(()));
    assert_eq!(contents(&disk, h), [&b"abc"[..], &[0; 97]].concat());
}

#[test]
fn a_punched_range_reads_as_zeros_and_the_size_stays() {
    let (mut disk, h) = file(&[b'x'; 10_000]);
    assert_eq!(disk.allocate(h, PUNCH | KEEP, 4000, 20_000), Ok(()));
    assert_eq!(contents(&disk, h), [&[b'x'; 4000][..], &[0; 6000]].concat());
    assert_eq!(disk.stat(h).map(|stat| stat.blocks), Ok(8));
}

#[test]
fn a_zeroed_range_grows_a_file_without_the_flag_to_keep_its_size() {
    let (mut disk, h) = file(b"abc");
    assert_eq!(disk.allocate(h, ZERO | KEEP, 1, 9), Ok(()));
    assert_eq!(contents(&disk, h), b"a\0\0");
    assert_eq!(disk.allocate(h, ZERO | KEEP, 5, 5), Ok(()));
    assert_eq!(size(&disk, h), 3);
    assert_eq!(disk.allocate(h, ZERO, 0, 5), Ok(()));
    assert_eq!(contents(&disk, h), [0; 5]);
}

#[test]
fn cutting_a_range_out_or_putting_one_in_is_checked_as_ext4_does_and_not_simulated() {
    let (mut disk, h) = file(&[7; 20_000]);
    let reader = open(&mut disk, "f", READ);
    for (mode, offset, length, error) in [
        (COLLAPSE, 100, 4096, Errno::EINVAL),
        (COLLAPSE, 0, 100, Errno::EINVAL),
        (COLLAPSE, 16384, 4096, Errno::EINVAL),
        (COLLAPSE, 1 << 50, 4096, Errno::EFBIG),
        (COLLAPSE, 4096, 4096, Errno::ENOSYS),
        (INSERT, 20480, 4096, Errno::EINVAL),
        (INSERT, 4096, 100, Errno::EINVAL),
        (INSERT, 0, (1 << 44) - 4096, Errno::EFBIG),
        (INSERT, 16384, 4096, Errno::ENOSYS),
    ] {
        assert_eq!(disk.allocate(h, mode, offset, length), Err(error), "{mode} {offset} {length}");
    }
    assert_eq!(disk.allocate(reader, COLLAPSE, 0, 4096), Err(Errno::EBADF));
}

#[test]
fn other_allocations_are_not_supported() {
    let (mut disk, h) = file(b"abc");
    for mode in
        [PUNCH, ZERO | PUNCH | KEEP, COLLAPSE | KEEP, libc::FALLOC_FL_UNSHARE_RANGE, 1 << 20]
    {
        assert_eq!(disk.allocate(h, mode, 0, 1), Err(Errno::EOPNOTSUPP), "{mode}");
    }
    assert_eq!(disk.allocate(h, 0, -1, 1), Err(Errno::EINVAL));
    assert_eq!(disk.allocate(h, 0, 0, 0), Err(Errno::EINVAL));
    assert_eq!(disk.allocate(h, 0, 0, -1), Err(Errno::EINVAL));
}

#[test]
fn times_move_with_changes_and_not_with_reads() {
    let (mut disk, h) = file(b"abc");
    let [one, two] = [Time(TICK), Time(2 * TICK)];
    disk.set_time(one);
    disk.read_at(h, &mut [0; 3], 0).expect("it is readable");
    disk.chmod(h, 0o600).expect("it is open");
    let stat = disk.stat(h).expect("it is open");
    assert_eq!((stat.accessed, stat.modified, stat.changed), (Time(0), Time(0), one));
    disk.set_time(two);
    disk.write(h, b"x").expect("it is writable");
    let stat = disk.stat(h).expect("it is open");
    assert_eq!((stat.accessed, stat.modified, stat.changed), (Time(0), two, two));
    disk.set_times(h, Some(Time(9)), None).expect("it is open");
    disk.set_times_path(ROOT, b"f", (None, Some(Time(8))), true).expect("a file");
    let stat = disk.stat(h).expect("it is open");
    assert_eq!((stat.accessed, stat.modified, stat.created), (Time(9), Time(8), Time(0)));
}

/// As ext4, xfs and btrfs of Linux 6.18 were seen to stamp changes within a tick.
#[test]
fn a_change_within_a_tick_has_a_finer_time_only_if_a_process_saw_the_last_one() {
    let (mut disk, first) = file(b"abc");
    put(&mut disk, "g", b"abc");
    let second = open(&mut disk, "g", libc::O_RDWR);
    let modified = |disk: &Disk, h| disk.stat(h).map(|stat| stat.modified).expect("it is open");
    let write = |disk: &mut Disk, h, after: u64| {
        disk.set_time(Time(TICK + after));
        disk.write(h, b"x").expect("it is writable");
        modified(disk, h)
    };
    assert_eq!(write(&mut disk, first, 1), Time(TICK));
    assert_eq!(write(&mut disk, second, 2), Time(TICK), "one tick has one time");
    disk.see_times(disk.ino(first).expect("it is open"));
    assert_eq!(write(&mut disk, second, 3), Time(TICK), "nothing saw this one");
    assert_eq!(write(&mut disk, first, 4), Time(TICK + 4));
    assert_eq!(write(&mut disk, first, 5), Time(TICK + 4), "it was not seen since");
    assert_eq!(write(&mut disk, second, 6), Time(TICK + 4), "no time is before one that was given");
    disk.see_times(disk.ino(first).expect("it is open"));
    assert_eq!(write(&mut disk, first, TICK + 7), Time(2 * TICK), "a tick has passed");
}

/// As ext4, xfs and btrfs of Linux 6.18 were seen to answer root.
#[test]
fn a_new_owner_costs_an_executable_its_bits_and_can_be_left_as_it_is() {
    let (mut disk, h) = file(b"abc");
    let mut set = |mode, owner| {
        disk.chmod(h, mode).expect("it is open");
        disk.chown(h, owner).expect("it is open");
        let stat = disk.stat(h).expect("it is open");
        (stat.owner, stat.mode & 0o7777)
    };
    assert_eq!(set(0o6755, (Some(1), Some(2))), ((1, 2), 0o755));
    assert_eq!(set(0o2644, (Some(3), None)), ((3, 2), 0o2644));
    assert_eq!(set(0o600, (None, None)), ((3, 2), 0o600));
}

#[test]
fn setting_no_time_checks_nothing() {
    let mut disk = disk();
    let h = open(&mut disk, "/", libc::O_PATH);
    assert_eq!(disk.set_times(h, None, None), Ok(()));
    assert_eq!(disk.set_times_path(ROOT, b"no", (None, None), true), Ok(()));
    assert_eq!(disk.set_times(h, Some(Time(1)), None), Err(Errno::EBADF));
}

#[test]
fn a_stat_shows_type_permissions_and_links() {
    let mut disk = disk();
    mkdir(&mut disk, "d");
    mkdir(&mut disk, "d/e");
    put(&mut disk, "d/f", b"abc");
    symlink(&mut disk, "nowhere", "l");
    disk.link(ROOT, b"d/f", ROOT, b"g", false).expect("a name");
    disk.chmod_path(ROOT, b"g", 0o17777, true).expect("a file");
    let stat = |path: &str| disk.stat_path(ROOT, path.as_bytes(), false).expect("it exists");
    assert_eq!((stat("d").mode, stat("d").nlink), (libc::S_IFDIR | 0o755, 3));
    assert_eq!((stat("d/f").mode, stat("d/f").nlink), (libc::S_IFREG | 0o7777, 2));
    assert_eq!((stat("l").mode, stat("l").size), (libc::S_IFLNK | 0o777, 7));
    assert_eq!(stat("d/f").ino, stat("g").ino);
    assert_eq!((stat("g").size, stat("g").blocks, stat("g").block_size), (3, 8, 4096));
}

#[test]
fn permission_bits_of_a_link_cannot_be_set() {
    let mut disk = disk();
    symlink(&mut disk, "nowhere", "l");
    assert_eq!(disk.chmod_path(ROOT, b"l", 0o600, false), Err(Errno::EOPNOTSUPP));
    assert_eq!(disk.chmod_path(ROOT, b"l", 0o600, true), Err(Errno::ENOENT));
}

#[test]
fn root_may_do_everything_except_run_a_file_without_an_execute_bit() {
    let mut disk = disk();
    put(&mut disk, "f", b"");
    let access = |disk: &Disk, path: &[u8], mode| disk.access(ROOT, path, mode);
    disk.chmod_path(ROOT, b"f", 0, true).expect("a file");
    assert_eq!(access(&disk, b"f", libc::R_OK | libc::W_OK), Ok(()));
    assert_eq!(access(&disk, b"f", libc::X_OK), Err(Errno::EACCES));
    assert_eq!(access(&disk, b"/", libc::X_OK), Ok(()));
    assert_eq!(access(&disk, b"no", libc::F_OK), Err(Errno::ENOENT));
    assert_eq!(access(&disk, b"f", 8), Err(Errno::EINVAL));
    disk.chmod_path(ROOT, b"f", 0o001, true).expect("a file");
    assert_eq!(access(&disk, b"f", libc::X_OK), Ok(()));
}

#[test]
fn an_errno_shows_its_name() {
    assert_eq!(Errno::ENOENT.to_string(), "ENOENT");
    assert_eq!(Errno::EWOULDBLOCK.to_string(), "EAGAIN");
    assert_eq!(Errno(9999).to_string(), "errno 9999");
    let error = std::io::Error::from(Errno::EEXIST);
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
}
