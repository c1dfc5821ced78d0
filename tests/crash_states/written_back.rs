//! Tears of data that is written back by a later call or by the sync.

use crashpoint::Profile;
use crashpoint::inner::base::text::words;
use crashpoint::inner::disk::fate::Fate;
use crashpoint::inner::disk::{family, tearing};

use crate::POSIX;
use crate::rig::Rig;

#[test]
fn a_block_tears_when_it_is_written_back_on_every_profile_whose_blocks_tear() {
    let tearing: Vec<&str> = Profile::all()
        .iter()
        .filter(|profile| {
            let mut rig = Rig::new(profile, "write f 0 8192 o; creat g");
            rig.run("write f 4096 4096 n; write g 0 1 x");
            let fates: Vec<Fate> = family::exhaustive(&rig.pending, None).collect();
            let ranked = tearing::ranked(&rig.pending, None);
            let torn = |fate: &Fate| rig.kept(fate) == "f=o*4096 n*512 o*3584; g=x*1";
            assert_eq!(fates.iter().any(torn), ranked.iter().any(torn), "{}", profile.name);
            for fate in fates.iter().chain(&ranked) {
                let text = fate.text(&rig.pending);
                let words = words(&text).expect("words");
                assert_eq!(Fate::parse(&words, &rig.pending).as_ref(), Ok(fate), "{text}");
            }
            fates.iter().any(torn)
        })
        .map(|profile| profile.name)
        .collect();
    let expected = ["posix", "tail-prefix", "ext4", "ext4-writeback", "ext4-dioread-lock"];
    assert_eq!(tearing, [&expected[..], &["ext4-nodelalloc", "xfs"]].concat());
}

#[test]
fn the_tears_of_a_long_log_are_few_and_those_of_rewritten_blocks_and_headers_come_first() {
    let mut rig = Rig::quiet(POSIX);
    rig.run("write a 0 65536 o; write b 0 8192 o; sync");
    rig.run("write b 0 4096 n; write a 8192 4096 n; write a 4096 4096 m; write a 4096 4096 n");
    let ranked = tearing::ranked(&rig.pending, None);
    let torn = |fate: &Fate| fate.text(&rig.pending).split_once("tear=").map(|(_, t)| t.to_owned());
    let first: Vec<String> = ranked.iter().take(4).filter_map(torn).collect();
    assert_eq!(first, ["a@4096:512", "a@4096:512", "b@0:512", "a@8192:512"]);
    for _ in 0..2_000 {
        rig.run("write a 4096 4096 m");
    }
    assert!(tearing::ranked(&rig.pending, None).len() <= 128);
    assert_eq!(family::count(&rig.pending, None, 1_000), None);
}
