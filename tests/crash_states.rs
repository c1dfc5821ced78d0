//! Facts about what a crash may leave of a simulated disk.

#[path = "crash_states/rig.rs"]
mod rig;

use crashpoint::disk::profile::Profile;
use rig::{reachable, reachable_torn};

#[test]
fn print_all() {
    for p in Profile::all() {
        for program in [
            "write a 0 9000 o\nbody\ntruncate a 100\nappend a 50 n",
            "body\ncreat t\nwrite t 0 2 n\nrename t f",
            "write f 0 2 o\nbody\ncreat t\nwrite t 0 2 n\nrename t f",
            "write a 0 2509 a\nbody\nappend a 13 b\nappend a 2500 c",
            "write a 0 10 x\nbody\nrename a b\nrename b c",
            "mkdir a\nbody\nrename a b\nrename b c",
            "write f 0 4096 o\nbody\ntruncate f 8192\nwrite f 0 320 n",
        ] {
            println!("{} {program:?}", p.name);
            for s in reachable(p, program) {
                println!("    {s}");
            }
            println!("  torn {}", reachable_torn(p, program).len());
        }
    }
}
