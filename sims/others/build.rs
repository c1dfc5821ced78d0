//! Finds the C libraries of the engines; an engine without its library is left out, with a line.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Each engine's `cfg`, its library, and Debian's package of it.
const ENGINES: [(&str, &str, &str); 6] = [
    ("leveldb", "leveldb", "libleveldb-dev"),
    ("rocksdb", "rocksdb", "librocksdb-dev"),
    ("lmdb", "lmdb", "liblmdb-dev"),
    ("sqlite", "sqlite3", "libsqlite3-dev"),
    ("gdbm", "gdbm", "libgdbm-dev"),
    ("berkeley", "db-5.3", "libdb5.3-dev"),
];

/// `std::random_device`, which libstdc++ takes from the processor without a call. The linker
/// exports crashpoint's own only on request: libstdc++ is not on its command line.
const RANDOM_DEVICE: [&str; 3] = [
    "_ZNSt13random_device9_M_getvalEv",
    "_ZNSt13random_device16_M_getval_pretr1Ev",
    "_ZNKSt13random_device13_M_getentropyEv",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/berkeley.c");
    let mut skipped = Vec::new();
    for (engine, library, package) in ENGINES {
        println!("cargo::rustc-check-cfg=cfg({engine})");
        let built = is_installed(library) && (engine != "berkeley" || shim());
        if built {
            println!("cargo::rustc-cfg={engine}");
            println!("cargo::rustc-link-lib=dylib={library}");
        } else {
            println!("cargo::warning=skipped: {package} is not installed");
            skipped.push(package);
        }
    }
    println!("cargo::rustc-env=OTHERS_SKIPPED={}", skipped.join(" "));
    for symbol in RANDOM_DEVICE {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
    }
}

/// Whether the C compiler finds a shared library to link with. The file of this name comes with
/// the headers. It is watched, so that an install or a removal is noticed.
fn is_installed(library: &str) -> bool {
    let file = format!("lib{library}.so");
    let Ok(found) = Command::new("cc").arg(format!("-print-file-name={file}")).output() else {
        return false;
    };
    // A file that is not found is printed as it was given.
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    if path.is_absolute() && path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
        return true;
    }
    // A file that does not exist makes cargo run this script each time.
    println!("cargo::rerun-if-changed={file}");
    false
}

/// Builds the functions around Berkeley DB's tables of methods, whose places only its header
/// knows. False if it cannot be built.
fn shim() -> bool {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let (object, archive) = (out.join("berkeley.o"), out.join("libberkeley_shim.a"));
    // `ar` adds to an archive that exists.
    if archive.exists() && fs::remove_file(&archive).is_err() {
        return false;
    }
    let compile: [&Path; 5] = ["-O1", "-fPIC", "-c", "src/berkeley.c", "-o"].map(Path::new);
    let built = runs(Command::new("cc").args(compile).arg(&object))
        && runs(Command::new("ar").arg("crs").arg(&archive).arg(&object));
    if built {
        println!("cargo::rustc-link-search=native={}", out.display());
        println!("cargo::rustc-link-lib=static=berkeley_shim");
    }
    built
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
