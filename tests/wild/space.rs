//! A machine that limits address space: addresses then depend on the harness, which is announced.

use std::io::Write;
use std::process::Command;

use super::fork_server;

/// Set in a process that only prints the notices.
const LIMITED: &str = "CRASHPOINT_TEST_LIMITED";

/// The notices of a fork server in a process with this many KiB of address space.
fn notices_with(limit: u64) -> String {
    let test = "space::a_heap_or_a_shelf_without_address_space_is_announced";
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {limit} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a path"))
        .args([test, "--exact", "--nocapture"])
        .env(LIMITED, "yes")
        .output()
        .expect("there is a shell");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_heap_or_a_shelf_without_address_space_is_announced() {
    if std::env::var_os(LIMITED).is_some() {
        let notices = fork_server().notices().join("\n");
        writeln!(std::io::stdout(), "{notices}").expect("it is a pipe");
        return;
    }
    for (limit, heap, shelf) in [(20 << 20, true, true), (200 << 20, false, true)] {
        let notices = notices_with(limit);
        assert_eq!(notices.contains("64 GiB of address space are refused"), heap, "{notices}");
        assert_eq!(notices.contains("1 TiB of address space is refused"), shelf, "{notices}");
    }
}
