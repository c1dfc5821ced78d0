//! What a store promised, and whether what came back keeps it. (Interim.)

pub mod model;

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;

use crate::engine::{Ack, Level};
use crate::state::State;
use crate::time::Time;
use model::Model;

macro_rules! classes {
    ($($name:ident $text:literal $headline:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Class { $($name),* }
        impl Class {
            pub const ALL: [Self; 16] = [$(Self::$name),*];
            pub fn headline(self) -> &'static str { match self { $(Self::$name => $headline),* } }
        }
        impl fmt::Display for Class {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text),* })
            }
        }
        impl FromStr for Class {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$name),)* _ => Err(()) }
            }
        }
    };
}
classes! {
    LostWrite "lost-write" "lost a write that had been acknowledged",
    Hole "hole" "kept a later write and lost an earlier one",
    TornBatch "torn-batch" "kept a part of an atomic op",
    Resurrected "resurrected" "brought back what was gone",
    WrongValue "wrong-value" "shows a value that is not allowed",
    PhantomValue "phantom-value" "shows a value that was never written",
    OpenFailed "open-failed" "the store cannot be opened",
    ReadFailed "read-failed" "the store cannot be read",
    Inconsistent "inconsistent" "the parts of a read-back disagree",
    Panicked "panicked" "the engine panicked",
    Aborted "aborted" "the engine aborted",
    Hung "hung" "the engine hung",
    OutOfMemory "out-of-memory" "the engine ran out of memory",
    NotIdempotent "not-idempotent" "recovering twice gave two results",
    Leaked "leaked" "the engine left something behind",
    CreateInterrupted "create-interrupted" "a crash in the first open leaves a store that cannot be opened",
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashKind { Process, Power }
impl fmt::Display for CrashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self { Self::Process => "process", Self::Power => "power" })
    }
}
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(String);
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
}
impl FromStr for Signature {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> { Ok(Self(text.to_owned())) }
}
#[derive(Clone, Debug)]
pub struct ItemDiff { pub item: Vec<u8>, pub expected: Option<Vec<u8>>, pub found: Option<Vec<u8>>, pub note: String }
#[derive(Clone, Debug)]
pub struct Violation { pub class: Class, pub signature: Signature, pub details: Vec<ItemDiff>, pub message: String }
impl Violation {
    pub fn new(class: Class, what: &str, location: Option<String>, message: String) -> Self {
        let signature = Signature(format!("{class}:{what}:{}", location.unwrap_or_default()));
        Self { class, signature, details: Vec::new(), message }
    }
}
pub struct Promises<M> { pub sources: Vec<(&'static str, &'static str)>, pub survives_errors: bool, m: std::marker::PhantomData<M> }
impl<M> Promises<M> {
    pub fn new(sources: &[(&'static str, &'static str)]) -> Self {
        Self { sources: sources.to_vec(), survives_errors: false, m: std::marker::PhantomData }
    }
    pub fn surviving_errors(mut self) -> Self { self.survives_errors = true; self }
}
pub type OpId = usize;
struct Entry<Op> { op: Op, at: Time, maybe: bool }
impl<Op: Clone> Clone for Entry<Op> { fn clone(&self) -> Self { Self { op: self.op.clone(), at: self.at, maybe: self.maybe } } }
pub struct Oracle<M: Model> { history: Rc<Vec<Entry<M::Op>>>, low: [usize; 2], cands: Vec<Vec<bool>> , ids: Vec<usize>}
impl<M: Model> Clone for Oracle<M> {
    fn clone(&self) -> Self { Self { history: self.history.clone(), low: self.low, cands: self.cands.clone(), ids: self.ids.clone() } }
}
impl<M: Model> Oracle<M> {
    pub fn new(_: Promises<M>) -> Self { Self { history: Rc::default(), low: [0, 0], cands: Vec::new(), ids: Vec::new() } }
    pub fn issue(&mut self, op: M::Op, _client: u32, at: Time) -> OpId {
        let mut history = (*self.history).clone();
        history.push(Entry { op, at, maybe: true });
        self.history = Rc::new(history);
        self.ids.push(self.history.len() - 1);
        self.ids.len() - 1
    }
    pub fn returned(&mut self, id: OpId, result: Result<Ack, ()>, _at: Time) {
        let Ok(ack) = result else { return };
        let index = self.ids[id];
        let mut history = (*self.history).clone();
        history[index].maybe = false;
        self.history = Rc::new(history);
        let Ack::Now(level) = ack else { return };
        if level >= Level::Flushed { self.low[0] = self.low[0].max(index + 1); }
        if level >= Level::Durable { self.low[1] = self.low[1].max(index + 1); }
    }
    pub fn acknowledge_all(&mut self, level: Level) {
        if level >= Level::Flushed { self.low[0] = self.history.len(); }
        if level >= Level::Durable { self.low[1] = self.history.len(); }
    }
    pub fn bound(&self, kind: CrashKind, _at: Time) -> u64 { self.low[kind as usize] as u64 }
    fn states(&self, low: usize) -> Vec<(Vec<Entry<M::Op>>, State)> {
        let mut found: Vec<(Vec<Entry<M::Op>>, M)> = vec![(Vec::new(), M::default())];
        let mut all = Vec::new();
        for index in 0..=self.history.len() {
            if index >= low {
                for (h, m) in &mut found { all.push((h.clone(), m.state(Time::START).clone())); }
            }
            let Some(entry) = self.history.get(index) else { break };
            let mut next = Vec::new();
            for (h, m) in found {
                if entry.maybe { next.push((h.clone(), m.clone())); }
                let (mut h, mut m) = (h, m);
                h.push(Entry { maybe: false, ..entry.clone() });
                m.apply(&entry.op, entry.at);
                next.push((h, m));
            }
            next.truncate(64);
            found = next;
        }
        all
    }
    fn hit(&self, low: usize, state: &State) -> Option<Vec<Entry<M::Op>>> {
        self.states(low).into_iter().find(|(_, s)| s == state).map(|(h, _)| h)
    }
    pub fn check(&self, kind: CrashKind, _crash: Time, _read: (Time, Time), state: &State) -> Result<(), Violation> {
        self.judge(self.low[kind as usize], state)
    }
    fn judge(&self, low: usize, state: &State) -> Result<(), Violation> {
        if self.hit(low, state).is_some() { return Ok(()); }
        let class = if self.hit(0, state).is_some() { Class::LostWrite } else { Class::WrongValue };
        let best = self.states(low).pop().map(|(_, s)| s).unwrap_or_default();
        let mut v = Violation::new(class, "", None, format!("found {state:?}"));
        for (item, value) in best.iter() {
            if state.get(item) != Some(value) {
                v.details.push(ItemDiff { item: item.to_vec(), expected: Some(value.to_vec()), found: state.get(item).map(<[u8]>::to_vec), note: String::new() });
            }
        }
        Err(v)
    }
    pub fn check_live(&self, _read: (Time, Time), state: &State) -> Result<(), Violation> {
        self.judge(self.history.len(), state)
    }
    pub fn recovered(&mut self, kind: CrashKind, _crash: Time, _read: (Time, Time), state: &State) {
        if let Some(history) = self.hit(self.low[kind as usize], state) {
            let len = history.len();
            self.low = self.low.map(|low| low.min(len));
            self.history = Rc::new(history);
        }
    }
    pub fn interrupted(&mut self, kind: CrashKind, _at: Time) {
        if kind == CrashKind::Power { self.low[0] = self.low[1].min(self.low[0]); }
    }
    pub fn same(first: &State, second: &State) -> Result<(), Violation> {
        if first == second { Ok(()) } else { Err(Violation::new(Class::NotIdempotent, "", None, format!("first {first:?}, then {second:?}"))) }
    }
}
