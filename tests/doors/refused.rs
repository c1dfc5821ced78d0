//! A call that is not simulated fails, and is noted by its name.

use std::fs::File;
use std::process::Command;

use crashpoint::inner::log::{Mark, Payload};
use crashpoint::inner::process::world::Note;

use crate::calls;
use crate::harness::{Ran, at, errno, run};
use crate::mapped::Mapped;

fn refused(ran: &Ran<()>) -> Vec<String> {
    let marked = |event| match event {
        Payload::Mark(Mark::NotSimulated(call)) => Some(call.to_owned()),
        _ => None,
    };
    let marks: Vec<String> = ran.events().filter_map(marked).collect();
    let noted = |note: &Note| match note {
        Note::NotSimulated(call) => call.clone(),
        Note::Outside(_) => "outside".to_owned(),
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
fn mapping_a_file_of_the_disk_for_writing_is_refused() {
    let ran = run(|| {
        let file = File::options().read(true).write(true).create_new(true).open(at("a"))?;
        assert_eq!(errno(calls::map_for_writing(&file)), Some(libc::ENODEV));
        assert_eq!(errno(Mapped::of(&file)?.unprotect()), Some(libc::EACCES));
        Ok(())
    });
    let (mmap, mprotect) = ("mmap of a file for writing", "mprotect of a mapped file for writing");
    assert_eq!(refused(&ran), [mmap, mprotect]);
}

#[test]
fn mapping_for_writing_by_call_number_is_refused_too() {
    let ran = run(|| {
        let file = File::options().read(true).write(true).create_new(true).open(at("a"))?;
        assert_eq!(errno(calls::map_for_writing_by_number(&file)), Some(libc::ENODEV));
        Ok(())
    });
    assert_eq!(refused(&ran), ["mmap of a file for writing"]);
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
