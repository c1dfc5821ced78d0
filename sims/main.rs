//! The command `crashpoint`, with the sims of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    crashpoint::main(&sims::registry())
}
