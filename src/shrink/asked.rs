//! Whether failures are shrunk before they are shown.

use crate::campaign::problem::Problem;

/// The variable that turns shrinking off for a run or a `cargo test`.
const NAME: &str = "CRASHPOINT_SHRINK";

/// Whether shrinking is asked for: `CRASHPOINT_SHRINK=0` turns it off.
///
/// # Errors
/// The variable is set to something else than 0 or 1.
pub(crate) fn is_asked_for() -> Result<bool, Problem> {
    match std::env::var_os(NAME) {
        None => Ok(true),
        Some(value) => match value.to_str() {
            Some("0") => Ok(false),
            Some("1" | "") => Ok(true),
            _ => {
                let value = value.to_string_lossy();
                Err(Problem::Environment(format!("{NAME}={value}: expected 0 or 1")))
            }
        },
    }
}
