//! Asks an explorer, in a process of its own, and hands on what comes back.

use crate::campaign::registry::Entry;
use crate::explore::protocol::{Failure, Frame, Request, Tally};
use crate::host::fork_server::ForkServer;

/// What stands between a user and a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The request was wrong, or the machine does not allow it: exit 2.
    #[error("{0}")]
    Environment(String),
    /// The same thing was done twice with different calls: exit 3.
    #[error("not deterministic: {0}")]
    NotDeterministic(String),
}

/// What came back for one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The counts at the end.
    pub(crate) tally: Tally,
    /// The violations, one for each signature.
    pub(crate) failures: Vec<Failure>,
    /// The lines of the trace.
    pub(crate) trace: Vec<String>,
    /// The sync call sites, and what they sync.
    pub(crate) sites: Vec<(String, String)>,
    /// What the user should know.
    pub(crate) notices: Vec<String>,
}

/// Serves requests one after the other from one template.
pub(crate) struct Client {
    fork_server: ForkServer,
}

impl Client {
    /// Starts the template: this binary again, with its `main` replaced.
    ///
    /// # Errors
    /// What the machine does not allow.
    pub(crate) fn start() -> Result<Self, Problem> {
        let fork_server =
            ForkServer::start().map_err(|error| Problem::Environment(error.to_string()))?;
        Ok(Self { fork_server })
    }

    /// What this machine does not allow, said once: a line each.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.fork_server.notices()
    }

    /// Carries a request out; `progress` sees the counts as they grow.
    ///
    /// # Errors
    /// See [`Problem`].
    pub(crate) fn ask(
        &mut self,
        entry: &Entry,
        request: &Request,
        progress: &mut dyn FnMut(&Tally),
    ) -> Result<Answer, Problem> {
        let request = serde_json::to_vec(request)
            .map_err(|error| Problem::Environment(format!("the request: {error}")))?;
        let mut answer = Answer::default();
        let mut problem = None;
        let mut on_frame = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(Frame::Progress(tally)) => progress(&tally),
            Ok(Frame::Violation(failure)) => answer.failures.push(*failure),
            Ok(Frame::Trace(line)) => answer.trace.push(line),
            Ok(Frame::Site(site, what)) => answer.sites.push((site, what)),
            Ok(Frame::Notice(line)) => answer.notices.push(line),
            Ok(Frame::Refused(why)) => problem = Some(Problem::Environment(why)),
            Ok(Frame::NotDeterministic(how)) => problem = Some(Problem::NotDeterministic(how)),
            Ok(Frame::Done(tally)) => answer.tally = tally,
            Err(error) => problem = Some(Problem::Environment(format!("a frame: {error}"))),
        };
        let called = self.fork_server.call(entry.explore, &request, &mut on_frame);
        match (problem, called) {
            (Some(problem), _) => Err(problem),
            (None, Err(error)) => Err(Problem::Environment(error.to_string())),
            (None, Ok(())) => Ok(answer),
        }
    }
}
