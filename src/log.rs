//! The log of a run: every call, every change of the disk and every mark, in order.
//!
//! The child that runs the engine writes it into shared memory; the explorer walks it. A record
//! is a length (4 bytes, little-endian) and the `postcard` form of [`Record`].

use postcard::ser_flavors::Flavor;
use postcard::serialize_with_flavor;
use serde::{Deserialize, Serialize};

use crate::base::time::Time;
use crate::case::turn::Turn;
use crate::disk::effect::Effect;
use crate::disk::sight::Sight;
use crate::sim::engine::{Ack, Level};
use crate::sim::fault_kind::FaultKind;

/// One record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Its virtual time.
    pub at: Time,
    /// The event.
    #[serde(borrow)]
    pub payload: Payload<'a>,
}

/// One event of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload<'a> {
    /// The disk changed. The effects of a call come before its `Call`.
    #[serde(borrow)]
    Effect(Effect<'a>),
    /// A call returned to the engine.
    #[serde(borrow)]
    Call(Call<'a>),
    /// A note of the harness.
    #[serde(borrow)]
    Mark(Mark<'a>),
}

/// A simulated call, as it returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call<'a> {
    /// The name of the door, such as `pwrite64`.
    pub door: &'a str,
    /// The descriptor it was called on; -1 if it takes a path.
    pub fd: i32,
    /// The path inside the mount that was passed, or that the descriptor was opened by.
    #[serde(with = "serde_bytes")]
    pub path: &'a [u8],
    /// A second path (`rename`, `link`, `symlink`), or empty.
    #[serde(with = "serde_bytes")]
    pub other: &'a [u8],
    /// Its numeric arguments: offset and length, flags and mode, ...
    pub arguments: [u64; 2],
    /// Its result; an error as the negative errno.
    pub result: i64,
    /// A digest of the bytes that were written or read, 0 if there were none.
    pub bytes: u64,
    /// A digest of the calls since the previous record that have no record, because they are
    /// frequent and do not change the disk (`lseek`, reading a clock); 0 if there were none.
    pub unrecorded: u64,
    /// The fault that was injected.
    pub fault: Option<FaultKind>,
    /// The thread that made it; 1 is the first.
    pub thread: u32,
    /// Return addresses, innermost first, as 8-byte little-endian numbers; empty unless the run
    /// records them. Not part of the trace digest.
    #[serde(with = "serde_bytes")]
    pub stack: &'a [u8],
}

/// A note that the harness takes while an engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark<'a> {
    /// A phase begins: opening, closing, reading back.
    Begin(Phase),
    /// The phase ended, or failed with the engine's error.
    End(Phase, #[serde(borrow)] Result<(), EngineError<'a>>),
    /// Step `.0` of the workload was issued.
    Issued(u32),
    /// Step `.0` of the workload returned, or failed.
    Returned(u32, #[serde(borrow)] Result<Ack, EngineError<'a>>),
    /// Step `.0` of the workload was refused, with this text: it had no effect.
    Refused(u32, &'a str),
    /// Within the step, op `.1` of client `.0` was issued.
    IssuedBy(u32, u32),
    /// The op of client `.0` returned, or failed.
    ReturnedBy(u32, #[serde(borrow)] Result<Ack, EngineError<'a>>),
    /// The op of client `.0` was refused, with this text: it had no effect.
    RefusedBy(u32, &'a str),
    /// The first of two functions acknowledged something, at this level.
    Acked(Level, &'a str),
    /// The result of a read-back: the `postcard` form of a list of items and values.
    #[serde(with = "serde_bytes")]
    Observed(&'a [u8]),
    /// The parts of a read-back disagree; the text says how.
    Inconsistent(&'a str),
    /// The engine wrote to this file outside the mount.
    #[serde(with = "serde_bytes")]
    Outside(&'a [u8]),
    /// The engine made this call, which is not simulated, and got an error. The engine's behavior
    /// from here on is no evidence about it. The bytes are the return addresses of the call, as in
    /// [`Call::stack`].
    NotSimulated(&'a str, #[serde(with = "serde_bytes")] &'a [u8]),
    /// The engine did not end; the text says which budget it used up.
    Hung(&'a str),
    /// Another thread runs than the default order says.
    Turn(Turn),
    /// This many threads of the engine outlived its close; they never run again.
    Leaked(u32),
    /// How often more than one thread could run and one was chosen.
    Decisions(u64),
    /// A panic ended thread `thread` of the engine, called `name`, which was not joined.
    Panicked {
        /// The thread.
        thread: u32,
        /// Its name; empty if it has none.
        name: &'a str,
        /// Where the panic was raised, as `file:line`.
        place: &'a str,
        /// Its message.
        message: &'a str,
    },
    /// The engine has read a clock: its behavior may depend on when it ran.
    SawClock,
    /// The script of this child was carried out to its end.
    Done,
    /// The cache dropped the pages whose write had failed: the engine reads their old bytes.
    Evicted,
    /// A failed sync stopped the file system: it takes no change until it is mounted again.
    Stopped,
    /// The disk is full from here on: a call that failed for that will not succeed when retried.
    Full,
    /// The engine read this file or property of the host, which is not simulated.
    #[serde(with = "serde_bytes")]
    Host(&'a [u8]),
    /// Step `.0` of the workload was cut short, with this text: it may have had an effect.
    Uncertain(u32, &'a str),
    /// The op of client `.0` was cut short, with this text: it may have had an effect.
    UncertainBy(u32, &'a str),
    /// The engine saw a part of the disk that its digest leaves out, for the first time.
    Saw(Sight),
    /// The fault at this place among those of the epoch was injected for the first time.
    Injected(u32),
}

/// An error that an engine returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineError<'a> {
    /// The names of its types and variants: two errors with the same kind count as the same error.
    pub kind: &'a str,
    /// Its text and those of its sources.
    pub text: &'a str,
}

/// A phase of a child's script other than its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// `Engine::open`.
    Open,
    /// `Engine::scan`, `get` and `count`.
    ReadBack,
    /// `Engine::close`.
    Close,
}

/// Walks the records of a log.
#[derive(Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

/// All records of a log, in order. Stops before a record that is cut short or malformed, which
/// only a child that was killed while it wrote one leaves.
pub fn records(log: &[u8]) -> Records<'_> {
    Records { rest: log }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        postcard::from_bytes(record).ok()
    }
}

/// Writes a record at the start of `space`; returns how many bytes it took, or `None` if it does
/// not fit.
pub fn encode(record: &Record<'_>, space: &mut [u8]) -> Option<usize> {
    let (length, rest) = space.split_first_chunk_mut::<4>()?;
    let space = RecordBuffer { rest, used: 0 };
    let written = match &record.payload {
        Payload::Call(call) => space.write_call(record.at, call).ok()?,
        _ => serialize_with_flavor(record, space).ok()?,
    };
    *length = u32::try_from(written).ok()?.to_le_bytes();
    Some(4 + written)
}

/// The bytes of a record without its length, in memory that is reused.
pub(crate) fn encoded<'a>(record: &Record<'_>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    loop {
        if let Some(used) = encode(record, scratch) {
            return &scratch[4..used];
        }
        scratch.resize((scratch.len() * 2).max(1024), 0);
    }
}

/// The buffer that a record is written to. Most fields are a few bytes long, for which a loop is
/// cheaper than the call of `memcpy` in `postcard`'s own flavor.
struct RecordBuffer<'a> {
    rest: &'a mut [u8],
    used: usize,
}

impl RecordBuffer<'_> {
    /// Writes the record of a call, field by field, as `postcard` would. There is one for each call
    /// of an engine, and this takes half the time.
    fn write_call(mut self, at: Time, call: &Call<'_>) -> postcard::Result<usize> {
        /// The index of `Payload::Call` among the variants.
        const CALL: u8 = 1;
        self.write_number(at.0)?;
        self.try_push(CALL)?;
        self.write_bytes(call.door.as_bytes())?;
        self.write_signed(call.fd.into())?;
        self.write_bytes(call.path)?;
        self.write_bytes(call.other)?;
        self.write_number(call.arguments[0])?;
        self.write_number(call.arguments[1])?;
        self.write_signed(call.result)?;
        self.write_number(call.bytes)?;
        self.write_number(call.unrecorded)?;
        match call.fault {
            None => self.try_push(0)?,
            Some(fault_kind) => self.try_extend(&[1, fault_kind as u8])?,
        }
        self.write_number(call.thread.into())?;
        self.write_bytes(call.stack)?;
        Ok(self.used)
    }

    /// Seven bits per byte, the lowest first; the highest bit says that more follow.
    #[inline(always)]
    fn write_number(&mut self, mut number: u64) -> postcard::Result<()> {
        while number >= 0x80 {
            self.try_push(number as u8 | 0x80)?;
            number >>= 7;
        }
        self.try_push(number as u8)
    }

    /// The sign in the lowest bit, so that small negative numbers are short too.
    #[inline(always)]
    fn write_signed(&mut self, number: i64) -> postcard::Result<()> {
        self.write_number((number << 1 ^ number >> 63).cast_unsigned())
    }

    #[inline(always)]
    fn write_bytes(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.write_number(bytes.len() as u64)?;
        self.try_extend(bytes)
    }
}

impl Flavor for RecordBuffer<'_> {
    type Output = usize;

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let place = self.rest.get_mut(self.used).ok_or(postcard::Error::SerializeBufferFull)?;
        *place = byte;
        self.used += 1;
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let end = self.used + bytes.len();
        let place =
            self.rest.get_mut(self.used..end).ok_or(postcard::Error::SerializeBufferFull)?;
        if bytes.len() <= 10 {
            for (to, &from) in place.iter_mut().zip(bytes) {
                *to = from;
            }
        } else {
            place.copy_from_slice(bytes);
        }
        self.used = end;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::effect::Ino;

    const NO_SPACE: EngineError<'_> = EngineError { kind: "Io", text: "no space" };

    #[test]
    fn records_come_back_in_order_and_a_cut_one_ends_the_walk() {
        let write = Effect::Write { ino: Ino(7), offset: 4096, bytes: b"abc" };
        let all = [
            Record { at: Time(1), payload: Payload::Effect(write) },
            Record { at: Time(2), payload: Payload::Mark(Mark::Returned(3, Err(NO_SPACE))) },
            Record { at: Time(3), payload: Payload::Mark(Mark::Observed(b"xyz")) },
        ];
        let mut space = [0; 256];
        let mut used = 0;
        for record in &all {
            used += encode(record, &mut space[used..]).expect("it fits");
        }
        assert_eq!(records(&space[..used]).collect::<Vec<_>>(), all);
        assert_eq!(records(&space[..used - 1]).count(), 2);
        assert_eq!(encode(&all[0], &mut [0; 8]), None);
    }
    #[test]
    fn a_call_is_written_as_postcard_would_write_it() {
        let call = Call {
            door: "pwrite64",
            fd: 1 << 20,
            path: b"a/b",
            other: &[7; 300],
            arguments: [u64::MAX, 127],
            result: -28,
            bytes: 1 << 63,
            unrecorded: 128,
            fault: Some(FaultKind::FailedSync),
            thread: 300,
            stack: &[1; 16],
        };
        let small = Call { fd: -1, result: i64::MIN, other: b"", fault: None, ..call };
        for call in [call, small] {
            let record = Record { at: Time(123_456_789), payload: Payload::Call(call) };
            let mut space = [0; 1024];
            let used = encode(&record, &mut space).expect("it fits");
            assert_eq!(postcard::to_allocvec(&record).expect("it encodes"), space[4..used]);
            assert_eq!(records(&space[..used]).next(), Some(record));
            for short in 0..used {
                assert_eq!(encode(&record, &mut space[..short]), None);
            }
        }
    }
}
