//! A call of the engine that is not simulated, as a user reads of it.

use crate::host::ending::{Abort, Ending};
use crate::process::doors::way_out;

use super::site::CallSite;

/// A call that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) call: String,
    /// Its return addresses.
    pub(crate) stack: Vec<u8>,
}

impl Refusal {
    /// What was called, where, and what to do instead.
    pub(crate) fn text(&self, engine: &str, site: &CallSite) -> String {
        let at = if site.0.is_empty() { String::new() } else { format!(" ({site})") };
        let call = &self.call;
        let way_out = way_out(call);
        format!("{engine} called {call}, which is not simulated{at}; {way_out}")
    }
}

/// The text about a child that the kernel killed because it could not hand over a call.
pub(crate) fn unserved(engine: &str, ending: &Ending) -> Option<String> {
    let killed = matches!(ending, Ending::Aborted { by: Abort::Signal(libc::SIGSYS), .. });
    killed.then(|| {
        format!(
            "{engine} made a system call past the C library's functions, or inside it, while \
             SIGSYS was blocked (sighold, sigsetmask or a raw rt_sigprocmask); crashpoint serves \
             such calls by that signal, so leave it unblocked"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::site::SourceLine;
    use super::*;

    #[test]
    fn a_refusal_names_the_call_its_line_and_a_way_out() {
        let refusal = Refusal { call: "io_uring_setup".to_owned(), stack: Vec::new() };
        let line = SourceLine { place: "src/ring.rs".to_owned(), line: Some(7) };
        assert_eq!(
            refusal.text("mine", &CallSite(vec![line])),
            "mine called io_uring_setup, which is not simulated (src/ring.rs:7); choose the \
             engine's backend of plain reads and writes (pread, pwrite, fsync)"
        );
        let without = refusal.text("mine", &CallSite(Vec::new()));
        assert!(without.contains("not simulated; choose"), "{without}");
    }
}
