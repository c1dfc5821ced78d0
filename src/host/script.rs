//! The script of a child: one epoch of an engine, from its opening to its last closing.
//!
//! The script runs in the child and knows no model: it logs its actions and observations as marks,
//! which the explorer judges. The methods of [`Engine`] run on the engine's side of the seam, and
//! so does all code of its errors: their `Display`, `Debug`, `source` and `drop`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_bytes::Bytes;

use super::pair;
use crate::case::Creation;
use crate::log::{EngineError, Mark, Phase};
use crate::process::seam;
use crate::process::world::{self, STORE};
use crate::process::{self, UnseenPanic};
use crate::sim::Step;
use crate::sim::engine::{Ack, Engine, Error, Refused, Uncertain};
use crate::sim::state::State;

/// The actions of a child.
pub(crate) struct Script<'a, Op> {
    /// The epoch begins with a crash state: read back first, close, open and read back again.
    pub(crate) recovery: bool,
    /// The steps after that.
    pub(crate) steps: &'a [Step<Op>],
    /// The items that each read-back looks up, whether they exist or not.
    pub(crate) items: &'a BTreeSet<Vec<u8>>,
    /// What earlier epochs acknowledged, in addition to the steps' own promises.
    pub(crate) acked: &'a [String],
    /// Threads of the engine may outlive a close.
    pub(crate) threads_may_stay: bool,
    /// How often a failing open or read-back is retried: faults were injected, and they pass.
    pub(crate) retries: u32,
    /// How the store is created, if no crash may interrupt that.
    pub(crate) creation: Option<Creation>,
}

/// Carries a script out. Returns early when the store cannot be opened or read.
pub(crate) fn run<E: Engine>(script: &Script<'_, E::Op>) {
    pair::set_acked(script.acked);
    let done = run_epoch::<E>(script).is_some();
    mark_panics();
    if world::saw_clock() {
        world::mark(Mark::SawClock);
    }
    let decisions = world::decisions();
    if decisions > 0 {
        world::mark(Mark::Decisions(decisions));
    }
    if done {
        world::mark(Mark::Done);
    }
}

/// A value of the engine, which is always dropped on the engine's side of the seam.
struct Held<T>(Option<T>);

impl<T> Held<T> {
    fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Calls the engine's code.
    fn of(call: impl FnOnce() -> T) -> Self {
        Self::new(seam::engine(call))
    }

    fn get(&self) -> &T {
        self.0.as_ref().expect("only `take` takes the value out, and it consumes the holder")
    }

    fn get_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only `take` takes the value out, and it consumes the holder")
    }

    fn take(mut self) -> T {
        self.0.take().expect("only `take` takes the value out, and it consumes the holder")
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            seam::engine(|| drop(value));
        }
    }
}

fn run_epoch<E: Engine>(script: &Script<'_, E::Op>) -> Option<()> {
    if script.creation == Some(Creation::Apart) {
        create::<E>(script.threads_may_stay);
    }
    let syncs = script.creation == Some(Creation::InSession);
    let mut engine = open::<E>(script.retries, syncs)?;
    if script.recovery {
        engine = look(engine, script)?;
        engine = reopen(engine, script)?;
        engine = look(engine, script)?;
    }
    let mut errors = StepErrors::default();
    for (index, step) in script.steps.iter().enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        world::step(number);
        world::mark(Mark::Issued(number));
        let result: Held<Result<Ack, Error>> = match step {
            Step::Op(op) => Held::of(|| engine.get_mut().apply(op)),
            Step::Reopen => {
                engine = reopen(engine, script)?;
                engine = look(engine, script)?;
                Held::new(Ok(Ack::BUFFERED))
            }
            Step::ReadBack => {
                engine = look(engine, script)?;
                Held::new(Ok(Ack::BUFFERED))
            }
            Step::Sleep(duration) => {
                seam::engine(|| std::thread::sleep(*duration));
                Held::new(Ok(Ack::BUFFERED))
            }
        };
        mark_returned(number, result.get());
        let need_reopening = errors.need_reopening(result.get());
        drop(result);
        if need_reopening {
            engine = reopen(engine, script)?;
            engine = look(engine, script)?;
        }
    }
    world::step(u32::try_from(script.steps.len() + 1).unwrap_or(u32::MAX));
    engine = look(engine, script)?;
    engine = reopen(engine, script)?;
    engine = look(engine, script)?;
    close(engine, script.threads_may_stay);
    Some(())
}

/// The errors since the store was last opened.
#[derive(Default)]
struct StepErrors {
    /// How many of them leave it open whether the op happened.
    indefinite: u32,
    /// Whether the last step failed.
    last: bool,
}

impl StepErrors {
    /// Each op that may have happened or not doubles the number of possible histories, until a
    /// reopening shows which one it is.
    const MOST: u32 = 3;

    /// Counts the result of a step; returns whether to reopen the store. An engine that refuses all
    /// work after an error has to be opened again: two errors in a row are taken for that.
    fn need_reopening(&mut self, result: &Result<Ack, Error>) -> bool {
        let failed = result.is_err();
        self.indefinite += u32::from(result.as_ref().is_err_and(|error| !error.is::<Refused>()));
        let needed = failed && (self.last || self.indefinite >= Self::MOST);
        if needed {
            *self = Self::default();
        } else {
            self.last = failed;
        }
        needed
    }
}

fn reopen<E: Engine>(engine: Held<E>, script: &Script<'_, E::Op>) -> Option<Held<E>> {
    close(engine, script.threads_may_stay);
    open::<E>(script.retries, false)
}

/// Creates the store without a mark, so that no crash is placed here. An error shows again when the
/// store is opened.
fn create<E: Engine>(threads_may_stay: bool) {
    seam::engine(|| {
        if let Ok(engine) = E::open(Path::new(STORE)) {
            // An error of the close shows in the next opening, or does not matter.
            let _ = engine.close();
        }
        rustix::fs::sync();
    });
    if !threads_may_stay {
        process::settle(world::now() + GRACE);
    }
}

/// Opens the store; `syncs` puts what that left on the disk before the opening counts as returned.
fn open<E: Engine>(retries: u32, syncs: bool) -> Option<Held<E>> {
    for _ in 0..=retries {
        world::mark(Mark::Begin(Phase::Open));
        let result = Held::of(|| E::open(Path::new(STORE)));
        if syncs {
            seam::engine(rustix::fs::sync);
        }
        mark_end(Phase::Open, result.get());
        if result.get().is_ok() {
            return result.take().ok().map(Held::new);
        }
    }
    None
}

/// How long the threads of a closed engine have to end.
const GRACE: Duration = Duration::from_secs(1);

/// Closes the store. An error is logged; the judge decides what it means for the writes before it.
fn close<E: Engine>(engine: Held<E>, threads_may_stay: bool) {
    world::mark(Mark::Begin(Phase::Close));
    let engine = engine.take();
    let result = Held::of(|| engine.close());
    mark_end(Phase::Close, result.get());
    drop(result);
    // Work of its threads from here on comes after its promise.
    if !threads_may_stay {
        let left = process::settle(world::now() + GRACE);
        if left > 0 {
            world::mark(Mark::Leaked(u32::try_from(left).unwrap_or(u32::MAX)));
        }
    }
    mark_panics();
}

/// Logs the panics that ended threads of the engine which were not joined until now.
fn mark_panics() {
    for UnseenPanic { thread, name, place, message } in &process::take_unseen_panics() {
        world::mark(Mark::Panicked { thread: *thread, name, place, message });
    }
}

/// Reads back. A store that fails to after an injected fault is opened again, like one that refuses
/// all work.
fn look<E: Engine>(mut engine: Held<E>, script: &Script<'_, E::Op>) -> Option<Held<E>> {
    if read_back(&mut engine, script).is_none() {
        if script.retries == 0 {
            return None;
        }
        engine = reopen(engine, script)?;
        read_back(&mut engine, script)?;
    }
    Some(engine)
}

/// A scan, a lookup of each item, and the count: they must agree.
fn read_back<E: Engine>(engine: &mut Held<E>, script: &Script<'_, E::Op>) -> Option<()> {
    (0..=script.retries).find_map(|_| read_once(engine, script.items))
}

fn read_once<E: Engine>(engine: &mut Held<E>, items: &BTreeSet<Vec<u8>>) -> Option<()> {
    world::mark(Mark::Begin(Phase::ReadBack));
    let engine = engine.get_mut();
    let state = match seam::engine(|| engine.scan()) {
        Ok(state) => state,
        Err(error) => {
            mark_end::<()>(Phase::ReadBack, Held::new(Err(error)).get());
            return None;
        }
    };
    let disagreement = disagreement(engine, &state, items);
    match disagreement.get() {
        Err(_) => {
            mark_end(Phase::ReadBack, disagreement.get());
            return None;
        }
        Ok(Some(how)) => world::mark(Mark::Inconsistent(how)),
        Ok(None) => {}
    }
    world::mark(Mark::Observed(&encode(&state)));
    mark_end(Phase::ReadBack, &Ok(()));
    Some(())
}

/// A lookup failed.
#[derive(Debug, thiserror::Error)]
#[error("get {item}")]
struct Get {
    item: String,
    source: Error,
}

/// The first contradiction between the scan and the lookups or the count, in words.
fn disagreement<E: Engine>(
    engine: &mut E,
    state: &State,
    items: &BTreeSet<Vec<u8>>,
) -> Held<Result<Option<String>, Error>> {
    let listed = state.iter().map(|(item, _)| item.to_vec());
    for item in items.iter().cloned().chain(listed).collect::<BTreeSet<_>>() {
        let found = match seam::engine(|| engine.get(&item)) {
            None => continue,
            Some(Ok(found)) => found,
            Some(Err(source)) => {
                return Held::new(Err(Get { item: quoted(&item), source }.into()));
            }
        };
        if found.as_deref() != state.get(&item) {
            let [get, scan] = [found.as_deref(), state.get(&item)].map(shown);
            let how = format!("get {} is {get}, the scan has {scan}", quoted(&item));
            return Held::new(Ok(Some(how)));
        }
    }
    Held::new(match seam::engine(|| engine.count()) {
        Some(Ok(count)) if count != state.len() => {
            Ok(Some(format!("the count is {count}, the scan has {} items", state.len())))
        }
        Some(Err(error)) => Err(error),
        _ => Ok(None),
    })
}

fn quoted(bytes: &[u8]) -> String {
    crate::base::text::quote(bytes)
}

fn shown(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "absent".to_owned(), quoted)
}

/// The wire form of a state; [`decode`] reads it.
fn encode(state: &State) -> Vec<u8> {
    let items: Vec<(&Bytes, &Bytes)> =
        state.iter().map(|(item, value)| (Bytes::new(item), Bytes::new(value))).collect();
    postcard::to_allocvec(&items).unwrap_or_default()
}

/// The state in a [`Mark::Observed`].
pub(crate) fn decode(bytes: &[u8]) -> State {
    let items: Vec<(&[u8], &[u8])> = postcard::from_bytes(bytes).unwrap_or_default();
    items.into_iter().collect()
}

fn mark_returned(number: u32, result: &Result<Ack, Error>) {
    match result {
        Ok(ack) => world::mark(Mark::Returned(number, Ok(*ack))),
        Err(error) if error.is::<Refused>() => {
            world::mark(Mark::Refused(number, &chain(&**error)));
        }
        Err(error) if error.is::<Uncertain>() => {
            world::mark(Mark::Uncertain(number, &chain(&**error)));
        }
        Err(error) => {
            with_kind(error, |error| world::mark(Mark::Returned(number, Err(error))));
        }
    }
}

/// Hands over an error with its kind, as marks have it.
pub(super) fn with_kind(error: &Error, mark: impl FnOnce(EngineError<'_>)) {
    let (kind, text) = (kind(&written(format_args!("{error:?}"))), chain(&**error));
    mark(EngineError { kind: &kind, text: &text });
}

fn mark_end<T>(phase: Phase, result: &Result<T, Error>) {
    match result {
        Ok(_) => world::mark(Mark::End(phase, Ok(()))),
        Err(error) => with_kind(error, |error| world::mark(Mark::End(phase, Err(error)))),
    }
}

/// The most words in the kind of an error.
const KIND: usize = 8;

/// The kind of an error: the names of its types and variants in its `Debug` form, without texts,
/// fields and numbers. `Io(Os { code: 17, kind: AlreadyExists, message: "File exists" })` is
/// `Io.Os.AlreadyExists`.
fn kind(debug: &str) -> String {
    let mut plain = String::new();
    let mut quoted = false;
    let mut letters = debug.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => drop(letters.next()),
            _ if quoted => {}
            _ => plain.push(letter),
        }
    }
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()));
    names.take(KIND).collect::<Vec<_>>().join(".")
}

/// The text that the engine's code writes, on the engine's side of the seam. The text itself is the
/// harness's: its memory is none of the engine's.
fn written(text: fmt::Arguments<'_>) -> String {
    struct Text(String);

    impl fmt::Write for Text {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            let _harness = seam::harness();
            self.0.push_str(part);
            Ok(())
        }
    }

    let mut written = Text(String::new());
    // A `Display` that fails has written what it could.
    let _ = seam::engine(|| fmt::Write::write_fmt(&mut written, text));
    written.0
}

/// An error with its sources, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = written(format_args!("{error}"));
    let mut source = seam::engine(|| error.source());
    while let Some(cause) = source {
        let cause_text = written(format_args!("{cause}"));
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = seam::engine(|| cause.source());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_has_the_names_of_its_variants_and_none_of_its_text() {
        let os = std::io::Error::from_raw_os_error(17);
        assert_eq!(kind(&format!("{:?}", Some(os))), "Some.Os.AlreadyExists");
        let said = std::io::Error::other("Not \"This\" one: \\");
        assert_eq!(kind(&format!("{said:?}")), "Custom.Other");
        assert_eq!(kind(&format!("{:?}", Error::from("Only words"))), "");
        assert_eq!(kind("Bad { at: 0xAB, of: [1, 2], Key: A_1 }"), "Bad.Key.A_1");
        assert_eq!(kind(&"A ".repeat(20)), "A.A.A.A.A.A.A.A");
    }
}
