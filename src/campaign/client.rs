//! Sends each job to an explorer in its own process, and collects its messages.

use super::entry::Entry;
use super::problem::Problem;
use crate::explore::activity::Activity;
use crate::explore::finding::Finding;
use crate::explore::job::Job;
use crate::explore::message::{Message, Recording, SyncSite};
use crate::explore::tally::Tally;
use crate::host::fork_server::ForkServer;
use crate::host::interrupt;

/// The results of one job.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobResult {
    /// The counts at the end.
    pub(crate) tally: Tally,
    /// The findings, one of each kind.
    pub(crate) findings: Vec<Finding>,
    /// The recording of each epoch.
    pub(crate) recordings: Vec<Recording>,
    /// The sync call sites.
    pub(crate) sites: Vec<SyncSite>,
    /// Whether the job was ended before its end: these are the results so far.
    pub(crate) interrupted: bool,
    /// Notices for the user.
    pub(crate) notices: Vec<String>,
    /// What came up, if the job asks for it.
    pub(crate) activity: Activity,
}

/// Carries jobs out, one after the other, with one fork server.
pub(crate) struct Client {
    fork_server: ForkServer,
}

impl Client {
    /// Starts the fork server: this binary again, with its `main` replaced.
    ///
    /// # Errors
    /// The machine does not allow it.
    pub(crate) fn start() -> Result<Self, Problem> {
        Ok(Self { fork_server: ForkServer::start().map_err(Problem::environment)? })
    }

    /// Notices about features that this machine does not allow, a line each.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.fork_server.notices()
    }

    /// Carries a job out; `progress` sees the counts as they grow.
    ///
    /// # Errors
    /// See [`Problem`].
    pub(crate) fn run(
        &mut self,
        entry: &Entry,
        job: &Job,
        progress: &mut dyn FnMut(&Tally),
    ) -> Result<JobResult, Problem> {
        let job = postcard::to_allocvec(job)
            .map_err(|error| Problem::Environment(format!("the job cannot be sent: {error}")))?;
        let mut result = JobResult::default();
        let mut problem = None;
        let mut on_message = |bytes: &[u8]| match postcard::from_bytes(bytes) {
            Ok(Message::Progress(tally)) => {
                progress(&tally);
                result.tally = tally;
            }
            Ok(Message::Finding(finding)) => result.findings.push(*finding),
            Ok(Message::Recording(recording)) => result.recordings.push(recording),
            Ok(Message::Site(site)) => result.sites.push(site),
            Ok(Message::Notice(line)) => result.notices.push(line),
            Ok(Message::Refused(refusal)) => problem = Some(Problem::Refused(refusal)),
            Ok(Message::NotDeterministic(how)) => problem = Some(Problem::NotDeterministic(how)),
            Ok(Message::Activity(activity)) => result.activity = *activity,
            Ok(Message::Done(tally)) => result.tally = tally,
            Err(error) => {
                problem = Some(Problem::Environment(format!("a message cannot be read: {error}")));
            }
        };
        let called = self.fork_server.call(entry.explore, &job, &mut on_message);
        match (problem, called) {
            (Some(Problem::NotDeterministic(mut how)), _) => {
                how.notices = result.notices;
                Err(Problem::NotDeterministic(how))
            }
            (Some(problem), _) => Err(problem),
            (None, Err(_)) if interrupt::requested().is_some() => {
                Ok(JobResult { interrupted: true, ..result })
            }
            (None, Err(error)) => Err(Problem::environment(error)),
            (None, Ok(())) => Ok(result),
        }
    }
}
