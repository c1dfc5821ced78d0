//! Directories: names, links, metadata and paths.
#![expect(clippy::disallowed_methods, reason = "on the engine's side this clock is the run's own")]

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crashpoint::inner::disk::effect::Effect;
use rustix::fs::{AtFlags, CWD, RenameFlags};

use crate::harness::{at, errno, names, run};

#[test]
fn directories_are_made_listed_and_removed() {
    run(|| {
        fs::create_dir_all(at("a/b/c"))?;
        fs::write(at("a/one"), b"")?;
        symlink("one", at("a/two"))?;
        assert_eq!(names("a")?, ["b", "one", "two"]);
        let kind = |name| Ok::<_, io::Error>(fs::symlink_metadata(at(name))?.file_type());
        assert!(kind("a/b")?.is_dir() && kind("a/one")?.is_file() && kind("a/two")?.is_symlink());
        assert_eq!(errno(fs::remove_dir(at("a"))), Some(libc::ENOTEMPTY));
        assert_eq!(errno(fs::create_dir(at("a"))), Some(libc::EEXIST));
        fs::remove_dir_all(at("a"))?;
        assert_eq!(names("")?, [""; 0]);
        Ok(())
    });
}

#[test]
fn the_mount_point_is_a_directory() {
    run(|| {
        assert!(fs::metadata(at(""))?.is_dir());
        assert!(Path::new("/proc/./crashpoint/").is_dir());
        assert_eq!(fs::canonicalize("/proc/crashpoint")?, Path::new("/proc/crashpoint"));
        Ok(())
    });
}

#[test]
fn a_rename_replaces_and_moves() {
    let ran = run(|| {
        fs::write(at("a"), b"new")?;
        fs::write(at("b"), b"old")?;
        fs::rename(at("a"), at("b"))?;
        assert_eq!((fs::read(at("b"))?, names("")?), (b"new".to_vec(), vec!["b".to_owned()]));
        fs::create_dir(at("d"))?;
        fs::rename(at("b"), at("d/b"))?;
        fs::write(at("c"), b"c")?;
        let kept = rustix::fs::renameat_with(CWD, at("c"), CWD, at("d/b"), RenameFlags::NOREPLACE);
        assert_eq!(kept, Err(rustix::io::Errno::EXIST));
        rustix::fs::renameat_with(CWD, at("c"), CWD, at("d/b"), RenameFlags::EXCHANGE)?;
        assert_eq!(fs::read(at("c"))?, b"new");
        assert_eq!(errno(fs::rename(at("c"), std::env::temp_dir().join("c"))), Some(libc::EXDEV));
        Ok(())
    });
    let first = ran.calls().into_iter().find(|call| call.door == "rename").expect("it arrived");
    assert_eq!((first.path, first.other), (&b"a"[..], &b"b"[..]));
}

#[test]
fn persisting_a_temporary_file_reaches_the_disk_as_a_rename() {
    let ran = run(|| {
        let mut file = tempfile::NamedTempFile::new_in(at(""))?;
        file.write_all(b"x")?;
        file.as_file().sync_all()?;
        file.persist(at("current"))?;
        let other = tempfile::NamedTempFile::new_in(at(""))?;
        assert!(other.persist_noclobber(at("current")).is_err());
        assert_eq!(names("")?, ["current"]);
        Ok(())
    });
    let renames = ran.effects().into_iter().filter(|e| matches!(e, Effect::Rename { .. })).count();
    assert_eq!(renames, 1);
}

#[test]
fn relative_paths_start_at_a_simulated_directory() {
    let ran = run(|| {
        fs::create_dir_all(at("a/b"))?;
        let a = File::open(at("a"))?;
        rustix::fs::mkdirat(&a, "c", 0o700.into())?;
        rustix::fs::renameat(&a, "c", &a, "b/d")?;
        rustix::fs::unlinkat(&a, "b/d", AtFlags::REMOVEDIR)?;
        assert_eq!(rustix::fs::statat(&a, "b", AtFlags::empty())?.st_nlink, 2);
        assert_eq!(names("a")?, ["b"]);
        Ok(())
    });
    let paths: Vec<_> = ran
        .calls()
        .into_iter()
        .filter(|c| c.door == "renameat")
        .map(|c| (c.path, c.other))
        .collect();
    assert_eq!(paths, [(&b"a/c"[..], &b"a/b/d"[..])]);
}

#[test]
fn the_working_directory_can_be_on_the_disk() {
    let before = std::env::current_dir().expect("the host has one");
    run(|| {
        fs::create_dir(at("a"))?;
        std::env::set_current_dir(at("a"))?;
        fs::write("file", b"x")?;
        assert_eq!(std::env::current_dir()?, at("a"));
        assert_eq!(fs::canonicalize("../a/file")?, at("a/file"));
        std::env::set_current_dir("..")?;
        assert_eq!(fs::read("a/file")?, b"x");
        std::env::set_current_dir(&before)?;
        assert_eq!(std::env::current_dir()?, before);
        assert_eq!(errno(fs::read("a/file")), Some(libc::ENOENT));
        Ok(())
    });
    assert_eq!(std::env::current_dir().expect("it is as before"), before);
}

#[test]
fn links_name_the_same_file() {
    run(|| {
        fs::write(at("a"), b"x")?;
        fs::hard_link(at("a"), at("b"))?;
        let (a, b) = (fs::metadata(at("a"))?, fs::metadata(at("b"))?);
        assert_eq!((a.nlink(), a.ino(), a.dev()), (2, b.ino(), b.dev()));
        symlink(at("a"), at("absolute"))?;
        symlink("a", at("relative"))?;
        assert_eq!(fs::read_link(at("absolute"))?, at("a"));
        assert_eq!(fs::read_link(at("relative"))?, Path::new("a"));
        assert_eq!((fs::read(at("absolute"))?, fs::read(at("relative"))?.len()), (vec![b'x'], 1));
        assert_eq!(fs::canonicalize(at("absolute"))?, at("a"));
        assert_eq!(errno(fs::read_link(at("a"))), Some(libc::EINVAL));
        Ok(())
    });
}

#[test]
fn permissions_follow_the_mask_and_are_kept() {
    run(|| {
        fs::write(at("a"), b"")?;
        assert_eq!(fs::metadata(at("a"))?.permissions().mode(), 0o100_644);
        fs::set_permissions(at("a"), Permissions::from_mode(0o400))?;
        assert!(File::open(at("a"))?.metadata()?.permissions().readonly());
        rustix::fs::access(at("a"), rustix::fs::Access::READ_OK)?;
        let runs = rustix::fs::access(at("a"), rustix::fs::Access::EXEC_OK);
        assert_eq!(runs, Err(rustix::io::Errno::ACCESS));
        assert_eq!(fs::metadata(at("a"))?.uid(), rustix::process::geteuid().as_raw());
        Ok(())
    });
}

#[test]
fn file_times_come_from_the_virtual_clock() {
    run(|| {
        let before = SystemTime::now();
        fs::write(at("a"), b"")?;
        let modified = fs::metadata(at("a"))?.modified()?;
        // It is that of the last tick of the kernel's timer.
        let tick = Duration::from_millis(4);
        assert!(before < modified + tick && modified <= SystemTime::now());
        let set = before + Duration::from_secs(1000);
        let file = File::open(at("a"))?;
        file.set_times(FileTimes::new().set_modified(set))?;
        assert_eq!(file.metadata()?.modified()?, set);
        assert!(file.metadata()?.accessed()? <= SystemTime::now());
        Ok(())
    });
}

#[test]
fn the_disk_reports_its_size() {
    run(|| {
        let volume = rustix::fs::statvfs(at(""))?;
        assert_eq!((volume.f_bsize, volume.f_namemax), (4096, 255));
        assert_eq!(rustix::fs::statfs(at(""))?.f_type, 0xef53);
        assert_eq!(rustix::fs::fstatfs(File::open(at(""))?)?.f_bsize, 4096);
        Ok(())
    });
}
