//! The command `crashpoint`, with the sims of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    crashpoint::command::main(&sims::registry())
}
