//! The entry of an explorer process: it serves one job and sends back its results.

use crate::host::fork_server::Reply;
use crate::host::probe;
use crate::host::region::Region;
use crate::process::doors::traps;
use crate::sim::Sim;
use crate::sim::model::Model;

use super::activity::Activity;
use super::explorer::Explorer;
use super::job::{Job, Task};
use super::message::{Message, Refusal};
use super::stop::Stop;
use super::subject::{Subject, subject};
use super::{fail_calls, replay, schedules};

/// Serves one job: the entry of an explorer process.
pub fn serve<S: Sim>(job: &[u8], reply: &mut Reply<'_>) {
    serve_subject(subject::<S>(), job, reply);
}

fn serve_subject<M: Model>(subject: Subject<M>, job: &[u8], reply: &mut Reply<'_>) {
    let refused = match explore(subject, job, reply) {
        Ok(()) => return,
        Err(Stop::Refused(why)) => Message::Refused(why),
        Err(Stop::NotDeterministic(how)) => Message::NotDeterministic(how),
        Err(Stop::Found) => Message::Refused(Refusal::from("stopped outside a task".to_owned())),
    };
    send(reply, &refused);
}

fn explore<M: Model>(subject: Subject<M>, job: &[u8], reply: &mut Reply<'_>) -> Result<(), Stop> {
    let job: Job = postcard::from_bytes(job)
        .map_err(|error| Stop::refused(format!("the job cannot be read: {error}")))?;
    let task = job.task;
    arm(reply)?;
    let activity = job.activity.then(Activity::default);
    let mut explorer = Explorer::new(subject, job, |message| send(reply, message))?;
    explorer.reporter.activity = activity;
    let done = match task {
        Task::Explore => schedules::explore(&mut explorer),
        Task::Replay { trace, debug } => replay::replay(&mut explorer, trace, debug),
        Task::Run => schedules::run_uncut(&mut explorer),
        Task::Record => explorer.record_alone(),
        Task::Faults => fail_calls::fail_calls(&mut explorer),
    };
    for notice in std::mem::take(&mut explorer.runner.notices) {
        explorer.reporter.send(&Message::Notice(notice));
    }
    match done {
        Ok(()) | Err(Stop::Found) => {
            let tally = explorer.tally();
            if let Some(activity) = explorer.reporter.activity.take() {
                explorer.reporter.send(&Message::Activity(Box::new(activity)));
            }
            explorer.reporter.send(&Message::Done(tally));
            Ok(())
        }
        Err(stop) => Err(stop),
    }
}

/// Makes sure that calls go through the doors, and reports those that may not.
fn arm(reply: &mut Reply<'_>) -> Result<(), Stop> {
    if let Some(probe::StrayCall { called, reached }) = probe::self_test().into_iter().next() {
        let why = format!("`{called}` resolves to {reached}, not to crashpoint");
        return Err(Stop::refused(why));
    }
    for probe::StrayCall { called, reached } in probe::missing_doors() {
        let text = format!(
            "`{called}` resolves to {reached}, not to crashpoint: what the engine gets from it \
             does not follow from the seed (link the program with -Wl,--export-dynamic-symbol={called})"
        );
        send(reply, &Message::Notice(text));
    }
    if let Err(refused) = traps::install() {
        let text = format!("{refused}: calls that pass the doors are not noticed");
        send(reply, &Message::Notice(text));
    }
    let region = Region::with_capacity(0).map_err(Stop::refused)?;
    if !probe::raw_calls_arrive(&region) {
        let text = "raw system calls pass the doors: an engine that makes them is not followed";
        send(reply, &Message::Notice(text.to_owned()));
    }
    Ok(())
}

fn send(reply: &mut Reply<'_>, message: &Message) {
    if let Ok(bytes) = postcard::to_allocvec(message) {
        reply.send(&bytes);
    }
}
