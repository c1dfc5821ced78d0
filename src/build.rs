//! Decides whether there is anything to simulate on: the rest of the crate asks `cfg(simulated)`.

use std::env::var_os;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rustc-check-cfg=cfg(simulated)");
    println!("cargo::rustc-check-cfg=cfg(crashpoint_elsewhere)");
    let target = ["OS", "ARCH", "ENV"].map(|part| var_os(format!("CARGO_CFG_TARGET_{part}")));
    let supported = target.map(Option::unwrap_or_default) == ["linux", "x86_64", "gnu"];
    // With this cfg the crate is built as on any other platform, to check that it builds there.
    let elsewhere = var_os("CARGO_CFG_CRASHPOINT_ELSEWHERE").is_some();
    if supported && !elsewhere {
        println!("cargo::rustc-cfg=simulated");
    }
}
