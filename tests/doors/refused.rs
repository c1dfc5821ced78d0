//! A call that is not simulated fails, and is noted by its name.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use crashpoint::inner::log::{Mark, Payload};
use crashpoint::inner::process::world::Note;

use crate::bypasses;
use crate::calls;
use crate::harness::{Ran, at, errno, run};
use crate::mapped::Mapped;

fn refused(ran: &Ran<()>) -> Vec<String> {
    let marked = |event| match event {
        Payload::Mark(Mark::NotSimulated(call, _)) => Some(call.to_owned()),
        _ => None,
    };
    let marks: Vec<String> = ran.events().filter_map(marked).collect();
    let noted = |note: &Note| match note {
        Note::NotSimulated(call) => call.clone(),
        Note::Outside(_) => "outside".to_owned(),
        Note::Host(_) => "host".to_owned(),
    };
    assert_eq!(ran.notes.iter().map(noted).collect::<Vec<_>>(), marks);
    marks
}

#[test]
fn another_process_is_refused() {
    let ran = run(|| {
        assert!(Command::new("true").status().is_err());
        Ok(())
    });
    let calls = refused(&ran);
    assert!(calls.iter().any(|call| call.contains("spawn") || call == "fork"), "{calls:?}");
}

#[test]
fn a_fork_is_refused() {
    let ran = run(|| {
        assert_eq!(errno(calls::fork()), Some(libc::ENOSYS));
        Ok(())
    });
    assert_eq!(refused(&ran), ["fork"]);
}

#[test]
fn polling_a_file_of_the_disk_finds_it_ready() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    run(|| {
        let file = File::create(at("a"))?;
        let mut list = [PollFd::new(&file, PollFlags::IN)];
        let forever: Option<&Timespec> = None;
        assert_eq!(poll(&mut list, forever)?, 1);
        assert_eq!(list[0].revents(), PollFlags::IN);
        Ok(())
    });
}

fn path(name: &str) -> CString {
    CString::new(name).expect("a path has no NUL")
}

#[test]
fn each_call_on_a_path_is_refused_on_the_disk_by_its_name_and_nowhere_else() {
    let lists = [bypasses::ON_PATHS, bypasses::ON_PATHS_BY_NUMBER];
    for &(name, call) in lists.into_iter().flatten() {
        for inside in ["/proc/crashpoint/a", "/proc/crashpoint/*"] {
            let ran = run(|| {
                call(&path(inside));
                Ok(())
            });
            assert_eq!(refused(&ran), [name], "{name} of {inside}");
        }
        let ran = run(|| {
            call(&path("/no-such-directory/a"));
            Ok(())
        });
        assert_eq!(refused(&ran), [""; 0], "{name} outside");
    }
}

#[test]
fn a_relative_path_is_refused_below_a_directory_of_the_disk() {
    let ran = run(|| {
        std::env::set_current_dir(at(""))?;
        bypasses::make_pipe(&path("p"));
        std::env::set_current_dir("/")?;
        bypasses::make_pipe(&path("no-such-folder/p"));
        Ok(())
    });
    assert_eq!(refused(&ran), ["mkfifo"]);
}

#[test]
fn each_call_on_a_descriptor_is_refused_on_the_disk_by_its_name_and_nowhere_else() {
    for &(name, call) in bypasses::ON_DESCRIPTORS {
        let ran = run(|| {
            call(File::create(at("a"))?.as_raw_fd());
            call(-1);
            Ok(())
        });
        assert_eq!(refused(&ran), [name], "{name}");
    }
}

#[test]
fn each_call_that_leaves_the_simulation_is_refused_by_its_name() {
    for &(name, call) in bypasses::ALWAYS {
        let ran = run(|| {
            call();
            Ok(())
        });
        assert_eq!(refused(&ran), [name]);
    }
    for &(name, number) in bypasses::BY_NUMBER {
        let ran = run(|| {
            bypasses::by_number(number);
            Ok(())
        });
        assert_eq!(refused(&ran), [name], "{number}");
    }
}

#[test]
fn both_names_of_vfork_are_refused() {
    let ran = run(|| {
        assert!(bypasses::vfork().is_err());
        Ok(())
    });
    assert!(ran.notes.iter().all(|note| *note == Note::NotSimulated("fork".to_owned())));
    assert_eq!(ran.notes.len(), 1);
}

#[test]
fn the_tests_above_call_every_refused_symbol() {
    use std::collections::BTreeSet;
    let mut called: BTreeSet<&str> = ["vfork", "__vfork"].into();
    called.extend(bypasses::ON_PATHS.iter().map(|(name, _)| name));
    called.extend(bypasses::ON_DESCRIPTORS.iter().map(|(name, _)| name));
    called.extend(bypasses::ALWAYS.iter().map(|(name, _)| name));
    let refused: BTreeSet<&str> = crashpoint::inner::process::doors::refused_symbols().collect();
    // The test below calls it.
    let maps: BTreeSet<&str> = ["remap_file_pages"].into();
    assert_eq!(refused.difference(&called).copied().collect::<BTreeSet<_>>(), maps);
    assert_eq!(called.difference(&refused).count(), 0);
}

#[test]
fn the_pages_of_a_map_of_a_file_of_the_disk_are_not_rearranged() {
    let ran = run(|| {
        File::create(at("a"))?;
        for path in [at("a"), "/proc/self/exe".into()] {
            assert_eq!(Mapped::of(&File::open(path)?)?.rearrange(), [false, true, false]);
        }
        Ok(())
    });
    assert_eq!(refused(&ran), ["remap_file_pages"]);
    let ran = run(|| {
        let new = File::options().read(true).write(true).create_new(true).open(at("a"))?;
        assert_eq!(errno(calls::rearrange_pages(&new)), Some(libc::ENOSYS));
        Ok(())
    });
    assert_eq!(refused(&ran), ["remap_file_pages"]);
}

#[test]
fn closing_a_range_closes_the_descriptors_of_the_disk() {
    for by_range in [true, false] {
        let ran = run(|| {
            let one = File::create(at("a"))?;
            let other = one.try_clone()?;
            bypasses::close_all(other.as_raw_fd(), by_range);
            assert_eq!(errno(other.metadata()), Some(libc::EBADF));
            assert_eq!(one.metadata()?.len(), 0);
            std::mem::forget(other);
            Ok(())
        });
        assert_eq!(refused(&ran), [""; 0]);
    }
}
