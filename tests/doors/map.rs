//! Files of the disk mapped into memory.

use std::fs::{self, File};
use std::io::Write;

use crate::harness::{at, errno, run};
use crate::mapped::Mapped;

#[test]
fn a_map_shows_the_file_and_what_is_written_to_it_later() {
    run(|| {
        fs::write(at("a"), b"first")?;
        let map = Mapped::of(&File::open(at("a"))?)?;
        assert_eq!(map.first(), *b"first\0");
        let mut file = File::options().write(true).open(at("a"))?;
        file.write_all(b"other")?;
        assert_eq!(map.first(), *b"other\0");
        file.set_len(2)?;
        assert_eq!(map.first(), *b"ot\0\0");
        map.give_back()?;
        assert_eq!(map.first(), *b"ot\0\0");
        Ok(())
    });
}

#[test]
fn a_map_outlives_the_name_and_the_descriptor_of_its_file() {
    run(|| {
        fs::write(at("a"), b"here")?;
        let map = Mapped::of(&File::open(at("a"))?)?;
        fs::remove_file(at("a"))?;
        fs::write(at("a"), b"anew")?;
        assert_eq!(map.first(), *b"here");
        Ok(())
    });
}

#[test]
fn two_maps_of_a_file_follow_it_and_one_of_another_does_not() {
    run(|| {
        fs::write(at("a"), b"aaaa")?;
        fs::write(at("b"), b"bbbb")?;
        let [one, two] = [0, 1].map(|_| Mapped::of(&File::open(at("a")).unwrap()).unwrap());
        let other = Mapped::of(&File::open(at("b"))?)?;
        drop(one);
        fs::write(at("a"), b"AAAA")?;
        assert_eq!((two.first(), other.first()), (*b"AAAA", *b"bbbb"));
        Ok(())
    });
}

#[test]
fn a_write_only_file_cannot_be_mapped_and_a_file_of_the_host_can() {
    run(|| {
        let file = File::create(at("a"))?;
        assert_eq!(errno(Mapped::of(&file)), Some(libc::EACCES));
        let host = Mapped::of(&File::open("/proc/self/exe")?)?;
        assert_eq!(host.first(), *b"\x7fELF");
        Ok(())
    });
}
