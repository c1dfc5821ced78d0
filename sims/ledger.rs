//! The sim of crashpoint's own ledger: the file of a campaign that must not lose a line that was
//! counted.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crashpoint::{
    Ack, Engine, Entry, Error, Level, Model, Operation, Promises, Sim, State, Step, TextError,
    Time, Word, sim,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support;

#[path = "../src/nightly/lines.rs"]
pub mod lines;

use lines::{Lines, scan, sealed};

/// The first line of each ledger.
const FIRST: &str = "{\"header\":\"of the sim\"}";

/// The one op: a cell is done, with its number and the length of its outcome in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    cell: u16,
    bytes: usize,
}

impl Append {
    /// The line, without its sum.
    fn line(&self) -> String {
        format!("{{\"cell\":{},\"outcome\":\"{}\"}}", self.cell, "x".repeat(self.bytes))
    }
}

impl fmt::Display for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "append {} {}", self.cell, self.bytes)
    }
}

impl Operation for Append {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let wrong = |column| TextError::new(column, "expected `append CELL BYTES`");
        let [name, cell, bytes] = words else { return Err(wrong(1)) };
        if name.bytes != b"append" {
            return Err(wrong(name.column));
        }
        let cell = cell.text().parse().map_err(|_| wrong(cell.column))?;
        let length = bytes.text().parse().ok().filter(|length| *length <= 1 << 20);
        Ok(Self { cell, bytes: length.ok_or_else(|| wrong(bytes.column))? })
    }
}

/// The lines that were appended, in order; the first line of the file is none of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Appended {
    state: State,
    lines: usize,
}

fn item(index: usize) -> Vec<u8> {
    format!("line {index:04}").into_bytes()
}

impl Model for Appended {
    type Op = Append;

    fn apply(&mut self, op: &Append, _at: Time) {
        self.state.set(item(self.lines), op.line());
        self.lines += 1;
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.state
    }

    /// Any: an op that failed moves those after it.
    fn items(_op: &Append) -> Option<Vec<Vec<u8>>> {
        None
    }
}

/// A bug in place of the ledger's care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An append does not sync.
    AppendNotSynced,
    /// Opening does not sync the folder.
    FolderNotSynced,
    /// Opening does not sync what it read.
    ReadNotSynced,
    /// Opening syncs what it read, but does not write its last line again.
    ReadNotRewritten,
    /// A torn end is kept, and the next line is appended to it.
    TornEndKept,
    /// The sum of a line is not compared.
    SumUnchecked,
}

/// A writer with a bug.
struct Careless {
    bug: Bug,
    file: File,
    length: u64,
}

/// A line whose sum is not compared.
fn unchecked(bytes: &[u8]) -> Option<String> {
    let rest = bytes.strip_prefix(b"{\"sum\":\"")?.get(16..)?;
    let line = rest.strip_prefix(b"\",\"line\":")?.strip_suffix(b"}\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}

impl Careless {
    fn open(path: &Path, bug: Bug) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let found = scan(&file, &mut |_, _| Ok(()));
        let (mut good, torn, last) = match found {
            Ok(found) => (found.good, found.torn, found.last),
            Err(_) if bug == Bug::TornEndKept || bug == Bug::SumUnchecked => (0, 0, 0),
            Err(error) => return Err(error.into()),
        };
        if matches!(bug, Bug::TornEndKept | Bug::SumUnchecked) {
            good = file.metadata()?.len();
        } else {
            if torn > 0 {
                file.set_len(good)?;
            }
            if bug != Bug::ReadNotRewritten {
                let mut bytes = vec![0; usize::try_from(good - last)?];
                file.read_exact_at(&mut bytes, last)?;
                file.write_all_at(&bytes, last)?;
            }
        }
        if bug != Bug::ReadNotSynced {
            file.sync_all()?;
        }
        if bug != Bug::FolderNotSynced {
            File::open(path.parent().unwrap_or(path))?.sync_all()?;
        }
        let mut careless = Self { bug, file, length: good };
        if good == 0 {
            careless.append(FIRST)?;
        }
        Ok(careless)
    }

    fn append(&mut self, line: &str) -> Result<(), Error> {
        let text = sealed(line);
        self.file.write_all_at(text.as_bytes(), self.length)?;
        if self.bug != Bug::AppendNotSynced {
            self.file.sync_data()?;
        }
        self.length += text.len() as u64;
        Ok(())
    }
}

/// Which writer a sim has.
pub trait Variant: 'static {
    /// The name of the sim.
    const NAME: &'static str;
    /// Its bug; `None` is the writer that campaigns use.
    const BUG: Option<Bug>;
}

/// The writer that campaigns use.
pub struct Shipped;

impl Variant for Shipped {
    const NAME: &'static str = "ledger";
    const BUG: Option<Bug> = None;
}

enum Writer {
    Shipped(Lines),
    Careless(Careless),
}

/// The adapter.
pub struct LedgerEngine<V> {
    path: PathBuf,
    writer: Writer,
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Engine for LedgerEngine<V> {
    type Op = Append;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("ledger.jsonl");
        let writer = match V::BUG {
            None => Writer::Shipped(Lines::open(&path, FIRST, &mut |_, _| Ok(()))?.0),
            Some(bug) => Writer::Careless(Careless::open(&path, bug)?),
        };
        Ok(Self { path, writer, variant: std::marker::PhantomData })
    }

    fn apply(&mut self, op: &Append) -> Result<Ack, Error> {
        match &mut self.writer {
            Writer::Shipped(lines) => lines.append(&op.line())?,
            Writer::Careless(careless) => careless.append(&op.line())?,
        }
        Ok(Ack::DURABLE)
    }

    /// What a merge of a ledger that is still written to would count.
    fn scan(&mut self) -> Result<State, Error> {
        let mut lines = Vec::new();
        if V::BUG == Some(Bug::SumUnchecked) {
            let bytes = std::fs::read(&self.path)?;
            lines.extend(bytes.split_inclusive(|&b| b == b'\n').filter_map(unchecked));
        } else {
            let mut each = |_: u64, line: &str| {
                lines.push(line.to_owned());
                Ok(())
            };
            scan(&File::open(&self.path)?, &mut each)?;
        }
        let cells = lines.into_iter().skip(1).enumerate();
        Ok(cells.map(|(index, line)| (item(index), line.into_bytes())).collect())
    }
}

/// The sim of the ledger.
pub struct LedgerSim<V = Shipped>(std::marker::PhantomData<V>);

impl<V: Variant> Sim for LedgerSim<V> {
    type Engine = LedgerEngine<V>;
    type Model = Appended;

    const NAME: &'static str = V::NAME;
    const ABOUT: &'static str = "crashpoint's own ledger of a campaign: checksummed lines";

    fn promises() -> Promises<Appended> {
        let quotes = [
            (
                "an appended line survives power loss",
                "A file of checksummed lines, each durable before it counts.",
            ),
            ("what opening shows survives power loss", "all of them are durable when this returns"),
            ("a damaged end is cut off", "Opening cuts a damaged end off."),
        ];
        Promises {
            recovery: Level::Durable,
            survives: support::right_after_failed_calls(false),
            sources: support::sources("src/nightly/lines.rs", quotes),
            ..Promises::default()
        }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<Append>>> {
        vec(step(), 1..=steps.max(1)).boxed()
    }
}

/// Lines of some bytes, of several sectors, and of several pages.
fn step() -> impl Strategy<Value = Step<Append>> {
    let bytes = prop_oneof![4 => 0..60usize, 2 => 400..1400usize, 1 => 4000..9000usize];
    let append = (any::<u16>(), bytes).prop_map(|(cell, bytes)| Append { cell, bytes });
    prop_oneof![8 => append.prop_map(Step::Op), 1 => Just(Step::Reopen)]
}

macro_rules! planted {
    ($($name:ident $text:literal;)*) => {
        $(
            /// The ledger with one planted bug.
            pub struct $name;

            impl Variant for $name {
                const NAME: &'static str = $text;
                const BUG: Option<Bug> = Some(Bug::$name);
            }
        )*

        /// The ledger with each planted bug.
        pub fn planted() -> Vec<Entry> {
            vec![$(sim::<LedgerSim<$name>>()),*]
        }
    };
}

planted! {
    AppendNotSynced "ledger-append-not-synced";
    FolderNotSynced "ledger-folder-not-synced";
    ReadNotSynced "ledger-read-not-synced";
    ReadNotRewritten "ledger-read-not-rewritten";
    TornEndKept "ledger-torn-end-kept";
    SumUnchecked "ledger-sum-unchecked";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_every_crash_point() {
        crashpoint::check::<LedgerSim>();
    }

    #[test]
    fn survives_every_failed_call() {
        crashpoint::check_faults::<LedgerSim>();
    }

    #[test]
    fn matches_its_model_in_a_real_directory() {
        support::check_in_a_real_directory::<LedgerSim>(24, 100);
    }
}
