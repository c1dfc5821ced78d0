//! The commands that change a keyspace: parsed from Redis' syntax, written in one normal form.
//!
//! The normal form is what the log holds: a time to live becomes a deadline (`PXAT`, `PEXPIREAT`),
//! so that a command means the same whenever it is replayed.

use super::AofError;
use super::value::{Bytes, parse_int, parse_score, score_text};

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Left,
    Right,
}

/// The time to live of a string that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Never,
    Keep,
    At(u64),
}

/// The condition under which a command does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    Always,
    IfAbsent,
    IfPresent,
}

/// A command, its times absolute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Set { key: Bytes, value: Bytes, expiry: Expiry, only: Only },
    SetMany { pairs: Vec<(Bytes, Bytes)> },
    GetSet { key: Bytes, value: Bytes },
    GetDel { key: Bytes },
    Append { key: Bytes, value: Bytes },
    Add { key: Bytes, by: i64 },
    AddFloat { key: Bytes, by: f64 },
    HashSet { key: Bytes, pairs: Vec<(Bytes, Bytes)>, only: Only },
    HashDelete { key: Bytes, fields: Vec<Bytes> },
    HashAdd { key: Bytes, field: Bytes, by: i64 },
    Push { key: Bytes, items: Vec<Bytes>, end: End, only: Only },
    Pop { key: Bytes, count: Option<u64>, end: End },
    ListSet { key: Bytes, index: i64, item: Bytes },
    ListRemove { key: Bytes, count: i64, item: Bytes },
    ListTrim { key: Bytes, start: i64, stop: i64 },
    SetAdd { key: Bytes, members: Vec<Bytes> },
    SetRemove { key: Bytes, members: Vec<Bytes> },
    ScoreSet { key: Bytes, pairs: Vec<(f64, Bytes)>, only: Only },
    ScoreAdd { key: Bytes, by: f64, member: Bytes },
    ScoreRemove { key: Bytes, members: Vec<Bytes> },
    Delete { keys: Vec<Bytes> },
    ExpireAt { key: Bytes, at: u64 },
    Persist { key: Bytes },
    Rename { from: Bytes, to: Bytes },
    Clear,
}

/// A command in a log: one that changes the keyspace, or one of the three others that may occur.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LogCommand {
    Change(Command),
    /// The only database is 0.
    Select,
    /// The following commands take effect at the next `Exec`, or never.
    Multi,
    Exec,
}

/// Reads one command of a log.
pub(super) fn parse_log_command(
    args: &[&[u8]],
    now: &mut dyn FnMut() -> u64,
) -> Result<LogCommand, AofError> {
    match (name(args).as_slice(), args.len()) {
        (b"SELECT", 2) if args[1] == b"0" => Ok(LogCommand::Select),
        (b"SELECT", 2) => Err(AofError::Command("the only database is 0".into())),
        (b"MULTI", 1) => Ok(LogCommand::Multi),
        (b"EXEC", 1) => Ok(LogCommand::Exec),
        _ => parse(args, now).map(LogCommand::Change),
    }
}

fn name(args: &[&[u8]]) -> Vec<u8> {
    args.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default()
}

/// The arguments of a command, and how to read each as its type.
struct Args<'a> {
    name: Vec<u8>,
    args: &'a [&'a [u8]],
}

impl Args<'_> {
    fn wrong(&self, what: &str) -> AofError {
        AofError::Command(format!("{}: {what}", String::from_utf8_lossy(&self.name)))
    }

    fn bytes(&self, index: usize) -> Bytes {
        self.args[index].to_vec()
    }

    fn all(&self, from: usize) -> Vec<Bytes> {
        self.args[from..].iter().map(|arg| arg.to_vec()).collect()
    }

    fn int(&self, index: usize) -> Result<i64, AofError> {
        parse_int(self.args[index]).ok_or_else(|| self.wrong("not an integer"))
    }

    fn float(&self, index: usize) -> Result<f64, AofError> {
        parse_score(self.args[index]).ok_or_else(|| self.wrong("not a number"))
    }

    fn pairs(&self, from: usize) -> Result<Vec<(Bytes, Bytes)>, AofError> {
        let (pairs, rest) = self.args[from..].as_chunks::<2>();
        if pairs.is_empty() || !rest.is_empty() {
            return Err(self.wrong("arguments must come in pairs"));
        }
        Ok(pairs.iter().map(|[one, other]| (one.to_vec(), other.to_vec())).collect())
    }

    /// The time that is an argument's number of `unit` milliseconds after `base`; a time before
    /// 1970 becomes 1970.
    fn time(&self, index: usize, unit: i64, base: u64) -> Result<u64, AofError> {
        let millis = self.int(index)?.checked_mul(unit).ok_or_else(|| self.wrong("too late"))?;
        Ok(base.saturating_add_signed(millis))
    }

    fn at_least(&self, count: usize) -> Result<(), AofError> {
        if self.args.len() < count { Err(self.wrong("too few arguments")) } else { Ok(()) }
    }

    fn exactly(&self, count: usize) -> Result<(), AofError> {
        if self.args.len() == count { Ok(()) } else { Err(self.wrong("wrong number of arguments")) }
    }
}

/// Reads a command that changes the keyspace.
pub(super) fn parse(args: &[&[u8]], now: &mut dyn FnMut() -> u64) -> Result<Command, AofError> {
    let args = Args { name: name(args), args };
    match args.name.as_slice() {
        b"SET" | b"SETNX" | b"SETEX" | b"PSETEX" | b"MSET" | b"GETSET" | b"GETDEL" | b"APPEND"
        | b"INCR" | b"DECR" | b"INCRBY" | b"DECRBY" | b"INCRBYFLOAT" => parse_string(&args, now),
        b"HSET" | b"HMSET" | b"HSETNX" | b"HDEL" | b"HINCRBY" => parse_hash(&args),
        b"LPUSH" | b"RPUSH" | b"LPUSHX" | b"RPUSHX" | b"LPOP" | b"RPOP" | b"LSET" | b"LREM"
        | b"LTRIM" => parse_list(&args),
        b"SADD" | b"SREM" | b"ZADD" | b"ZINCRBY" | b"ZREM" => parse_members(&args),
        b"DEL" | b"UNLINK" | b"EXPIRE" | b"PEXPIRE" | b"EXPIREAT" | b"PEXPIREAT" | b"PERSIST"
        | b"RENAME" | b"FLUSHDB" | b"FLUSHALL" => parse_key(&args, now),
        _ => Err(args.wrong("this store has no such command")),
    }
}

fn parse_string(args: &Args<'_>, now: &mut dyn FnMut() -> u64) -> Result<Command, AofError> {
    args.at_least(2)?;
    let key = args.bytes(1);
    let set = |value, expiry, only| Command::Set { key: args.bytes(1), value, expiry, only };
    match args.name.as_slice() {
        b"SET" => return parse_set(args, now),
        b"MSET" => return Ok(Command::SetMany { pairs: args.pairs(1)? }),
        b"GETDEL" | b"INCR" | b"DECR" => args.exactly(2)?,
        b"SETEX" | b"PSETEX" => args.exactly(4)?,
        _ => args.exactly(3)?,
    }
    Ok(match args.name.as_slice() {
        b"SETNX" => set(args.bytes(2), Expiry::Never, Only::IfAbsent),
        b"SETEX" => set(args.bytes(3), Expiry::At(args.time(2, 1000, now())?), Only::Always),
        b"PSETEX" => set(args.bytes(3), Expiry::At(args.time(2, 1, now())?), Only::Always),
        b"GETSET" => Command::GetSet { key, value: args.bytes(2) },
        b"GETDEL" => Command::GetDel { key },
        b"APPEND" => Command::Append { key, value: args.bytes(2) },
        b"INCR" => Command::Add { key, by: 1 },
        b"DECR" => Command::Add { key, by: -1 },
        b"INCRBY" => Command::Add { key, by: args.int(2)? },
        b"DECRBY" => {
            let by = args.int(2)?.checked_neg().ok_or_else(|| args.wrong("too large"))?;
            Command::Add { key, by }
        }
        _ => Command::AddFloat { key, by: args.float(2)? },
    })
}

fn parse_set(args: &Args<'_>, now: &mut dyn FnMut() -> u64) -> Result<Command, AofError> {
    args.at_least(3)?;
    let (mut expiry, mut only, mut at) = (Expiry::Never, Only::Always, 3);
    while at < args.args.len() {
        let option = args.args[at].to_ascii_uppercase();
        at += 1;
        let unit = match option.as_slice() {
            b"NX" => {
                only = Only::IfAbsent;
                continue;
            }
            b"XX" => {
                only = Only::IfPresent;
                continue;
            }
            b"KEEPTTL" => {
                expiry = Expiry::Keep;
                continue;
            }
            b"EX" | b"EXAT" => 1000,
            b"PX" | b"PXAT" => 1,
            _ => return Err(args.wrong("unknown option")),
        };
        args.at_least(at + 1)?;
        let base = if option.ends_with(b"AT") { 0 } else { now() };
        expiry = Expiry::At(args.time(at, unit, base)?);
        at += 1;
    }
    Ok(Command::Set { key: args.bytes(1), value: args.bytes(2), expiry, only })
}

fn parse_hash(args: &Args<'_>) -> Result<Command, AofError> {
    args.at_least(3)?;
    let key = args.bytes(1);
    Ok(match args.name.as_slice() {
        b"HSETNX" => {
            args.exactly(4)?;
            Command::HashSet { key, pairs: args.pairs(2)?, only: Only::IfAbsent }
        }
        b"HDEL" => Command::HashDelete { key, fields: args.all(2) },
        b"HINCRBY" => {
            args.exactly(4)?;
            Command::HashAdd { key, field: args.bytes(2), by: args.int(3)? }
        }
        _ => Command::HashSet { key, pairs: args.pairs(2)?, only: Only::Always },
    })
}

fn parse_list(args: &Args<'_>) -> Result<Command, AofError> {
    args.at_least(2)?;
    let key = args.bytes(1);
    let end = if args.name[0] == b'L' { End::Left } else { End::Right };
    match args.name.as_slice() {
        b"LPOP" | b"RPOP" if args.args.len() == 2 => {
            return Ok(Command::Pop { key, count: None, end });
        }
        b"LPOP" | b"RPOP" => {
            args.exactly(3)?;
            let count = u64::try_from(args.int(2)?).map_err(|_| args.wrong("negative count"))?;
            return Ok(Command::Pop { key, count: Some(count), end });
        }
        b"LSET" | b"LREM" | b"LTRIM" => args.exactly(4)?,
        _ => args.at_least(3)?,
    }
    Ok(match args.name.as_slice() {
        b"LSET" => Command::ListSet { key, index: args.int(2)?, item: args.bytes(3) },
        b"LREM" => Command::ListRemove { key, count: args.int(2)?, item: args.bytes(3) },
        b"LTRIM" => Command::ListTrim { key, start: args.int(2)?, stop: args.int(3)? },
        name => {
            let only = if name.ends_with(b"X") { Only::IfPresent } else { Only::Always };
            Command::Push { key, items: args.all(2), end, only }
        }
    })
}

fn parse_members(args: &Args<'_>) -> Result<Command, AofError> {
    args.at_least(3)?;
    let (key, members) = (args.bytes(1), args.all(2));
    Ok(match args.name.as_slice() {
        b"SADD" => Command::SetAdd { key, members },
        b"SREM" => Command::SetRemove { key, members },
        b"ZREM" => Command::ScoreRemove { key, members },
        b"ZINCRBY" => {
            args.exactly(4)?;
            Command::ScoreAdd { key, by: args.float(2)?, member: args.bytes(3) }
        }
        _ => {
            let only = match args.args[2].to_ascii_uppercase().as_slice() {
                b"NX" => Only::IfAbsent,
                b"XX" => Only::IfPresent,
                _ => Only::Always,
            };
            let from = if only == Only::Always { 2 } else { 3 };
            let pairs = args.pairs(from)?;
            let scores = (0..pairs.len()).map(|pair| args.float(from + 2 * pair));
            let scores = scores.collect::<Result<Vec<_>, _>>()?;
            let members = pairs.into_iter().map(|(_, member)| member);
            Command::ScoreSet { key, pairs: scores.into_iter().zip(members).collect(), only }
        }
    })
}

fn parse_key(args: &Args<'_>, now: &mut dyn FnMut() -> u64) -> Result<Command, AofError> {
    if args.name.starts_with(b"FLUSH") {
        // Redis may log how it frees the memory: `FLUSHALL ASYNC`.
        return Ok(Command::Clear);
    }
    args.at_least(2)?;
    let key = args.bytes(1);
    match args.name.as_slice() {
        b"DEL" | b"UNLINK" => return Ok(Command::Delete { keys: args.all(1) }),
        b"PERSIST" => args.exactly(2)?,
        _ => args.exactly(3)?,
    }
    Ok(match args.name.as_slice() {
        b"EXPIRE" => Command::ExpireAt { key, at: args.time(2, 1000, now())? },
        b"PEXPIRE" => Command::ExpireAt { key, at: args.time(2, 1, now())? },
        b"EXPIREAT" => Command::ExpireAt { key, at: args.time(2, 1000, 0)? },
        b"PEXPIREAT" => Command::ExpireAt { key, at: args.time(2, 1, 0)? },
        b"PERSIST" => Command::Persist { key },
        _ => Command::Rename { from: key, to: args.bytes(2) },
    })
}

impl Command {
    /// The keys that it reads or changes; none means all.
    pub(super) fn keys(&self) -> Vec<&Bytes> {
        match self {
            Self::Clear => Vec::new(),
            Self::Delete { keys } => keys.iter().collect(),
            Self::SetMany { pairs } => pairs.iter().map(|(key, _)| key).collect(),
            Self::Rename { from, to } => vec![from, to],
            Self::Set { key, .. }
            | Self::GetSet { key, .. }
            | Self::GetDel { key }
            | Self::Append { key, .. }
            | Self::Add { key, .. }
            | Self::AddFloat { key, .. }
            | Self::HashSet { key, .. }
            | Self::HashDelete { key, .. }
            | Self::HashAdd { key, .. }
            | Self::Push { key, .. }
            | Self::Pop { key, .. }
            | Self::ListSet { key, .. }
            | Self::ListRemove { key, .. }
            | Self::ListTrim { key, .. }
            | Self::SetAdd { key, .. }
            | Self::SetRemove { key, .. }
            | Self::ScoreSet { key, .. }
            | Self::ScoreAdd { key, .. }
            | Self::ScoreRemove { key, .. }
            | Self::ExpireAt { key, .. }
            | Self::Persist { key } => vec![key],
        }
    }

    /// The command in Redis' syntax, in the normal form.
    pub(super) fn args(&self) -> Vec<Bytes> {
        let words = |name: &str, key: &Bytes, rest: Vec<Bytes>| {
            let mut args = vec![name.as_bytes().to_vec(), key.clone()];
            args.extend(rest);
            args
        };
        let text = |number: &dyn ToString| number.to_string().into_bytes();
        let flat = |pairs: &[(Bytes, Bytes)]| -> Vec<Bytes> {
            pairs.iter().flat_map(|(one, other)| [one.clone(), other.clone()]).collect()
        };
        match self {
            Self::Set { key, value, expiry, only } => set_args(key, value, *expiry, *only),
            Self::SetMany { pairs } => [vec![b"MSET".to_vec()], flat(pairs)].concat(),
            Self::GetSet { key, value } => words("GETSET", key, vec![value.clone()]),
            Self::GetDel { key } => words("GETDEL", key, vec![]),
            Self::Append { key, value } => words("APPEND", key, vec![value.clone()]),
            Self::Add { key, by } => words("INCRBY", key, vec![text(by)]),
            Self::AddFloat { key, by } => words("INCRBYFLOAT", key, vec![score_text(*by)]),
            Self::HashSet { key, pairs, only: Only::IfAbsent } => words("HSETNX", key, flat(pairs)),
            Self::HashSet { key, pairs, .. } => words("HSET", key, flat(pairs)),
            Self::HashDelete { key, fields } => words("HDEL", key, fields.clone()),
            Self::HashAdd { key, field, by } => {
                words("HINCRBY", key, vec![field.clone(), text(by)])
            }
            Self::Push { key, items, end, only } => {
                words(push_name(*end, *only), key, items.clone())
            }
            Self::Pop { key, count, end } => {
                let name = if *end == End::Left { "LPOP" } else { "RPOP" };
                words(name, key, count.iter().map(|count| text(count)).collect())
            }
            Self::ListSet { key, index, item } => {
                words("LSET", key, vec![text(index), item.clone()])
            }
            Self::ListRemove { key, count, item } => {
                words("LREM", key, vec![text(count), item.clone()])
            }
            Self::ListTrim { key, start, stop } => {
                words("LTRIM", key, vec![text(start), text(stop)])
            }
            Self::SetAdd { key, members } => words("SADD", key, members.clone()),
            Self::SetRemove { key, members } => words("SREM", key, members.clone()),
            Self::ScoreSet { key, pairs, only } => zadd_args(key, pairs, *only),
            Self::ScoreAdd { key, by, member } => {
                words("ZINCRBY", key, vec![score_text(*by), member.clone()])
            }
            Self::ScoreRemove { key, members } => words("ZREM", key, members.clone()),
            Self::Delete { keys } => [vec![b"DEL".to_vec()], keys.clone()].concat(),
            Self::ExpireAt { key, at } => words("PEXPIREAT", key, vec![text(at)]),
            Self::Persist { key } => words("PERSIST", key, vec![]),
            Self::Rename { from, to } => words("RENAME", from, vec![to.clone()]),
            Self::Clear => vec![b"FLUSHALL".to_vec()],
        }
    }
}

fn push_name(end: End, only: Only) -> &'static str {
    match (end, only) {
        (End::Left, Only::IfPresent) => "LPUSHX",
        (End::Right, Only::IfPresent) => "RPUSHX",
        (End::Left, _) => "LPUSH",
        (End::Right, _) => "RPUSH",
    }
}

fn set_args(key: &Bytes, value: &Bytes, expiry: Expiry, only: Only) -> Vec<Bytes> {
    let mut args = vec![b"SET".to_vec(), key.clone(), value.clone()];
    match only {
        Only::Always => {}
        Only::IfAbsent => args.push(b"NX".to_vec()),
        Only::IfPresent => args.push(b"XX".to_vec()),
    }
    match expiry {
        Expiry::Never => {}
        Expiry::Keep => args.push(b"KEEPTTL".to_vec()),
        Expiry::At(at) => args.extend([b"PXAT".to_vec(), at.to_string().into_bytes()]),
    }
    args
}

fn zadd_args(key: &Bytes, pairs: &[(f64, Bytes)], only: Only) -> Vec<Bytes> {
    let mut args = vec![b"ZADD".to_vec(), key.clone()];
    match only {
        Only::Always => {}
        Only::IfAbsent => args.push(b"NX".to_vec()),
        Only::IfPresent => args.push(b"XX".to_vec()),
    }
    args.extend(pairs.iter().flat_map(|(score, member)| [score_text(*score), member.clone()]));
    args
}
