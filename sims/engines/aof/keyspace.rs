//! The keyspace in memory, and how commands change it. It has no clock: an expired key stays until
//! a caller that knows the time removes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::AofError;
use super::command::{Command, End, Expiry, Only};
use super::value::{Bytes, Entry, Kind, Value, parse_int, parse_score, score_text};

/// Keys and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyspace {
    entries: BTreeMap<Bytes, Entry>,
    /// The number of entries with a deadline.
    volatile: usize,
}

/// The reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Ok,
    /// No value.
    Nil,
    /// A number: a count, or the value of a counter.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// Several byte strings.
    Many(Vec<Bytes>),
}

impl Keyspace {
    /// The entry of a key, whether it has expired or not.
    pub fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All entries in the order of their keys, whether they have expired or not.
    pub fn entries(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        self.entries.iter()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether some entry has a deadline, so that a reader needs to know the time.
    pub(super) fn has_deadlines(&self) -> bool {
        self.volatile > 0
    }

    /// Sets or replaces an entry; a collection without members removes it.
    pub fn insert(&mut self, key: Bytes, entry: Entry) {
        self.remove(&key);
        if !entry.value.is_empty_collection() {
            self.volatile += usize::from(entry.deadline.is_some());
            self.entries.insert(key, entry);
        }
    }

    /// Removes an entry and returns it.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.volatile -= usize::from(entry.deadline.is_some());
        Some(entry)
    }

    fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        self.volatile -= usize::from(entry.deadline.is_some());
        self.volatile += usize::from(deadline.is_some());
        std::mem::replace(&mut entry.deadline, deadline) != deadline
    }

    /// Checks that a command can be carried out, without carrying it out.
    ///
    /// # Errors
    /// `Command`, in Redis' wording.
    pub(super) fn check(&self, command: &Command) -> Result<(), AofError> {
        match command {
            Command::Add { key, by } => {
                let old = self.str(key)?.map_or(Ok(0), |text| int(text))?;
                old.checked_add(*by).map(drop).ok_or_else(|| refuse(OVERFLOW))
            }
            Command::AddFloat { key, by } => {
                let old = self.str(key)?.map_or(Ok(0.0), |text| float(text))?;
                finite(old + by).map(drop)
            }
            Command::HashAdd { key, field, by } => {
                self.is(key, Kind::Hash)?;
                let old = match self.entries.get(key).map(|entry| &entry.value) {
                    Some(Value::Hash(hash)) => hash.get(field),
                    _ => None,
                };
                let old = old.map_or(Ok(0), |text| int(text))?;
                old.checked_add(*by).map(drop).ok_or_else(|| refuse(OVERFLOW))
            }
            Command::ScoreAdd { key, by, member } => {
                self.is(key, Kind::ZSet)?;
                let old = match self.entries.get(key).map(|entry| &entry.value) {
                    Some(Value::ZSet(scores)) => scores.get(member).copied(),
                    _ => None,
                };
                let sum = old.unwrap_or_default() + by;
                if sum.is_nan() {
                    Err(refuse("resulting score is not a number (NaN)"))
                } else {
                    Ok(())
                }
            }
            Command::ListSet { key, index, .. } => {
                let len = self.list(key)?.ok_or_else(|| refuse("no such key"))?.len();
                position(*index, len).map(drop).ok_or_else(|| refuse("index out of range"))
            }
            Command::Rename { from, .. } if !self.entries.contains_key(from) => {
                Err(refuse("no such key"))
            }
            _ => self.check_kind(command),
        }
    }

    fn check_kind(&self, command: &Command) -> Result<(), AofError> {
        match command {
            Command::GetSet { key, .. } | Command::GetDel { key } | Command::Append { key, .. } => {
                self.is(key, Kind::Str)
            }
            Command::HashSet { key, .. } | Command::HashDelete { key, .. } => {
                self.is(key, Kind::Hash)
            }
            Command::Push { key, .. }
            | Command::Pop { key, .. }
            | Command::ListRemove { key, .. }
            | Command::ListTrim { key, .. } => self.is(key, Kind::List),
            Command::SetAdd { key, .. } | Command::SetRemove { key, .. } => self.is(key, Kind::Set),
            Command::ScoreSet { key, .. } | Command::ScoreRemove { key, .. } => {
                self.is(key, Kind::ZSet)
            }
            _ => Ok(()),
        }
    }

    fn is(&self, key: &[u8], kind: Kind) -> Result<(), AofError> {
        match self.entries.get(key) {
            Some(entry) if entry.value.kind() != kind => Err(refuse(WRONG_TYPE)),
            _ => Ok(()),
        }
    }

    fn str(&self, key: &[u8]) -> Result<Option<&Bytes>, AofError> {
        match self.entries.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(_) => Err(refuse(WRONG_TYPE)),
        }
    }

    fn list(&self, key: &[u8]) -> Result<Option<&VecDeque<Bytes>>, AofError> {
        match self.entries.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(_) => Err(refuse(WRONG_TYPE)),
        }
    }

    /// An equivalent command, without arithmetic that another reader of the log might do in another
    /// precision.
    ///
    /// # Errors
    /// As [`Keyspace::check`].
    pub(super) fn settled(&self, command: Command) -> Result<Command, AofError> {
        self.check(&command)?;
        let Command::AddFloat { key, by } = command else { return Ok(command) };
        let sum = self.str(&key)?.map_or(Ok(0.0), |text| float(text))? + by;
        let value = score_text(sum);
        Ok(Command::Set { key, value, expiry: Expiry::Keep, only: Only::Always })
    }

    /// Carries a command out.
    ///
    /// # Errors
    /// As [`Keyspace::check`]; then nothing has changed.
    pub(super) fn apply(&mut self, command: &Command) -> Result<Reply, AofError> {
        self.check(command)?;
        Ok(match command {
            Command::Set { key, value, expiry, only } => self.set(key, value, *expiry, *only),
            Command::SetMany { pairs } => {
                for (key, value) in pairs {
                    self.set(key, value, Expiry::Never, Only::Always);
                }
                Reply::Ok
            }
            Command::GetSet { key, value } => {
                let old = bytes(self.str(key)?.cloned());
                self.set(key, value, Expiry::Never, Only::Always);
                old
            }
            Command::GetDel { key } => {
                let old = bytes(self.str(key)?.cloned());
                self.remove(key);
                old
            }
            Command::Append { key, value } => {
                if let Some(Value::Str(text)) =
                    self.entries.get_mut(key).map(|entry| &mut entry.value)
                {
                    text.extend_from_slice(value);
                    return Ok(count(text.len()));
                }
                self.set(key, value, Expiry::Never, Only::Always);
                count(value.len())
            }
            Command::Add { key, by } => {
                let sum = self.str(key)?.map_or(Ok(0), |text| int(text))? + by;
                self.set(key, &sum.to_string().into_bytes(), Expiry::Keep, Only::Always);
                Reply::Int(sum)
            }
            Command::AddFloat { key, by } => {
                let sum = finite(self.str(key)?.map_or(Ok(0.0), |text| float(text))? + by)?;
                self.set(key, &score_text(sum), Expiry::Keep, Only::Always);
                Reply::Bytes(score_text(sum))
            }
            Command::Delete { keys } => {
                count(keys.iter().filter(|key| self.remove(key).is_some()).count())
            }
            Command::ExpireAt { key, at } => {
                let found = self.entries.contains_key(key);
                self.set_deadline(key, Some(*at));
                count(usize::from(found))
            }
            Command::Persist { key } => count(usize::from(self.set_deadline(key, None))),
            Command::Rename { from, to } => {
                if let Some(entry) = self.remove(from) {
                    self.insert(to.clone(), entry);
                }
                Reply::Ok
            }
            Command::Clear => {
                *self = Self::default();
                Reply::Ok
            }
            _ => self.apply_to_collection(command),
        })
    }

    fn set(&mut self, key: &Bytes, value: &Bytes, expiry: Expiry, only: Only) -> Reply {
        let old = self.entries.get(key);
        let holds = match only {
            Only::Always => true,
            Only::IfAbsent => old.is_none(),
            Only::IfPresent => old.is_some(),
        };
        if !holds {
            return Reply::Nil;
        }
        let deadline = match expiry {
            Expiry::Never => None,
            Expiry::Keep => old.and_then(|entry| entry.deadline),
            Expiry::At(at) => Some(at),
        };
        self.insert(key.clone(), Entry { value: Value::Str(value.clone()), deadline });
        Reply::Ok
    }

    /// Carries out a command on a collection; its key is removed with the last member.
    fn apply_to_collection(&mut self, command: &Command) -> Reply {
        let keys = command.keys();
        let Some(key) = keys.first().map(|key| (*key).clone()) else { return Reply::Nil };
        let empty = match command {
            Command::HashSet { .. } | Command::HashAdd { .. } => Value::Hash(BTreeMap::new()),
            Command::Push { only, .. } if *only != Only::IfPresent => Value::List(VecDeque::new()),
            Command::SetAdd { .. } => Value::Set(BTreeSet::new()),
            Command::ScoreSet { .. } | Command::ScoreAdd { .. } => Value::ZSet(BTreeMap::new()),
            // There is nothing to take from, and these commands create nothing.
            Command::Pop { .. } if !self.entries.contains_key(&key) => return Reply::Nil,
            _ if !self.entries.contains_key(&key) => return Reply::Int(0),
            _ => Value::Set(BTreeSet::new()),
        };
        let entry = self.entries.entry(key.clone());
        let entry = entry.or_insert(Entry { value: empty, deadline: None });
        let reply = match &mut entry.value {
            Value::Hash(hash) => change_hash(hash, command),
            Value::List(list) => change_list(list, command),
            Value::Set(set) => change_set(set, command),
            Value::ZSet(scores) => change_scores(scores, command),
            Value::Str(_) => Reply::Nil,
        };
        if entry.value.is_empty_collection() {
            self.remove(&key);
        }
        reply
    }
}

fn change_hash(hash: &mut BTreeMap<Bytes, Bytes>, command: &Command) -> Reply {
    match command {
        Command::HashSet { pairs, only, .. } => {
            let mut new = 0;
            for (field, value) in pairs {
                if *only == Only::Always || !hash.contains_key(field) {
                    new += usize::from(hash.insert(field.clone(), value.clone()).is_none());
                }
            }
            count(new)
        }
        Command::HashAdd { field, by, .. } => {
            let sum = hash.get(field).and_then(|text| parse_int(text)).unwrap_or_default() + by;
            hash.insert(field.clone(), sum.to_string().into_bytes());
            Reply::Int(sum)
        }
        Command::HashDelete { fields, .. } => {
            count(fields.iter().filter(|field| hash.remove(*field).is_some()).count())
        }
        _ => Reply::Nil,
    }
}

fn change_list(list: &mut VecDeque<Bytes>, command: &Command) -> Reply {
    match command {
        Command::Push { items, end, .. } => {
            for item in items.iter().cloned() {
                match end {
                    End::Left => list.push_front(item),
                    End::Right => list.push_back(item),
                }
            }
            count(list.len())
        }
        Command::Pop { count, end, .. } => {
            let mut pop = || match end {
                End::Left => list.pop_front(),
                End::Right => list.pop_back(),
            };
            match count {
                None => bytes(pop()),
                Some(count) => Reply::Many((0..*count).map_while(|_| pop()).collect()),
            }
        }
        Command::ListSet { index, item, .. } => {
            if let Some(old) = position(*index, list.len()).and_then(|at| list.get_mut(at)) {
                old.clone_from(item);
            }
            Reply::Ok
        }
        Command::ListRemove { count: most, item, .. } => {
            let before = list.len();
            let mut left = if *most == 0 { u64::MAX } else { most.unsigned_abs() };
            let mut keep = |found: &Bytes| {
                let goes = found == item && left > 0;
                left -= u64::from(goes);
                !goes
            };
            if *most < 0 {
                let kept: Vec<Bytes> = list.drain(..).rev().filter(|found| keep(found)).collect();
                list.extend(kept.into_iter().rev());
            } else {
                list.retain(keep);
            }
            count(before - list.len())
        }
        Command::ListTrim { start, stop, .. } => {
            let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let absolute = |index: i64| if index < 0 { index.saturating_add(len) } else { index };
            let (start, stop) = (absolute(*start).max(0), absolute(*stop).min(len - 1));
            let (start, stop) = if start > stop { (0, 0) } else { (start, stop + 1) };
            list.truncate(usize::try_from(stop).unwrap_or_default());
            list.drain(..usize::try_from(start).unwrap_or_default());
            Reply::Ok
        }
        _ => Reply::Nil,
    }
}

fn change_set(set: &mut BTreeSet<Bytes>, command: &Command) -> Reply {
    match command {
        Command::SetAdd { members, .. } => {
            count(members.iter().filter(|member| set.insert((*member).clone())).count())
        }
        Command::SetRemove { members, .. } => {
            count(members.iter().filter(|member| set.remove(*member)).count())
        }
        _ => Reply::Nil,
    }
}

fn change_scores(scores: &mut BTreeMap<Bytes, f64>, command: &Command) -> Reply {
    match command {
        Command::ScoreSet { pairs, only, .. } => {
            let mut new = 0;
            for (score, member) in pairs {
                let holds = match only {
                    Only::Always => true,
                    Only::IfAbsent => !scores.contains_key(member),
                    Only::IfPresent => scores.contains_key(member),
                };
                // As in Redis, -0 and 0 are the same score.
                if holds && scores.get(member) != Some(score) {
                    new += usize::from(scores.insert(member.clone(), *score).is_none());
                }
            }
            count(new)
        }
        Command::ScoreAdd { by, member, .. } => {
            let sum = scores.get(member).map_or(*by, |old| old + by);
            scores.insert(member.clone(), sum);
            Reply::Bytes(score_text(sum))
        }
        Command::ScoreRemove { members, .. } => {
            count(members.iter().filter(|member| scores.remove(*member).is_some()).count())
        }
        _ => Reply::Nil,
    }
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const OVERFLOW: &str = "increment or decrement would overflow";

fn refuse(why: &str) -> AofError {
    AofError::Command(why.to_owned())
}

fn int(text: &[u8]) -> Result<i64, AofError> {
    parse_int(text).ok_or_else(|| refuse("value is not an integer or out of range"))
}

fn float(text: &[u8]) -> Result<f64, AofError> {
    parse_score(text).ok_or_else(|| refuse("value is not a valid float"))
}

fn finite(sum: f64) -> Result<f64, AofError> {
    if sum.is_finite() { Ok(sum) } else { Err(refuse("increment would produce NaN or Infinity")) }
}

/// The position that an index stands for; a negative one counts from the end.
fn position(index: i64, len: usize) -> Option<usize> {
    let len = i64::try_from(len).ok()?;
    let at = if index < 0 { index.checked_add(len)? } else { index };
    usize::try_from(at).ok().filter(|_| at < len)
}

fn bytes(found: Option<Bytes>) -> Reply {
    found.map_or(Reply::Nil, Reply::Bytes)
}

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
