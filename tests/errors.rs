//! Errors of ops and closes: without a fault before it each is a violation, unless the adapter says
//! what it means.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crashpoint::inner::sim::store::{KeyModel, KeyOp};
use crashpoint::{
    Ack, AfterFault, Class, Engine, Error, FaultKind, KeyValue, Promises, Refused, Sim, State,
    Step, Uncertain, check_case, fail_every_call, find, sim,
};
use proptest::prelude::*;

/// When a store fails, and with which error.
trait Fails: 'static {
    const NAME: &'static str;
    const FAULTS: &'static [(FaultKind, AfterFault)] = &[];

    fn put(number: u64) -> Result<(), Error> {
        let _ = number;
        Ok(())
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

/// A correct store of whole files that fails without a reason.
struct Failing<F> {
    dir: PathBuf,
    items: BTreeMap<Vec<u8>, Vec<u8>>,
    puts: u64,
    fails: PhantomData<F>,
}

impl<F: Fails> Engine for Failing<F> {
    type Op = KeyOp;

    fn open(dir: &Path) -> Result<Self, Error> {
        // On a disk that keeps both names of a rename, this one leads to the items.
        if let Err(error) = fs::remove_file(dir.join("new"))
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let text = fs::read_to_string(dir.join("items")).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        let items = pairs.map(|(key, value)| (key.into(), value.into())).collect();
        Ok(Self { dir: dir.to_owned(), items, puts: 0, fails: PhantomData })
    }

    fn apply(&mut self, op: &KeyOp) -> Result<Ack, Error> {
        match op {
            KeyOp::Put(key, value) => {
                self.puts += 1;
                F::put(self.puts)?;
                self.items.insert(key.clone(), value.clone());
            }
            KeyOp::Delete(key) => drop(self.items.remove(key)),
            KeyOp::Sync => {
                self.write()?;
                return Ok(Ack::DURABLE);
            }
        }
        Ok(Ack::BUFFERED)
    }

    fn scan(&mut self) -> Result<State, Error> {
        Ok(self.items.clone().into_iter().collect())
    }

    fn close(mut self) -> Result<(), Error> {
        F::close()?;
        self.write()
    }
}

impl<F> Failing<F> {
    fn write(&mut self) -> Result<(), Error> {
        let lines = self.items.iter().map(|(key, value)| [key, &b" "[..], value, b"\n"].concat());
        let text: Vec<u8> = lines.flatten().collect();
        let mut file = File::create(self.dir.join("new"))?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(self.dir.join("new"), self.dir.join("items"))?;
        Ok(File::open(&self.dir)?.sync_all()?)
    }
}

struct FailingSim<F>(PhantomData<F>);

impl<F: Fails> Sim for FailingSim<F> {
    type Engine = Failing<F>;
    type Model = KeyModel;

    const NAME: &'static str = F::NAME;
    const ABOUT: &'static str = "a store that fails without a reason";

    fn promises() -> Promises<KeyModel> {
        Promises { survives: F::FAULTS.to_vec(), ..Promises::default() }
    }

    fn workload(steps: usize) -> BoxedStrategy<Vec<Step<KeyOp>>> {
        KeyValue::<Plain>::workload(steps)
    }
}

/// Only its workload is used.
struct Plain;

impl crashpoint::Store for Plain {
    fn open(_: &Path) -> Result<Self, Error> {
        Ok(Self)
    }
    fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    fn delete(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }
    fn scan(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Ok(Vec::new())
    }
}

/// Defines a way to fail: its name, and the methods of [`Fails`] that it overrides.
macro_rules! fails {
    ($type:ident, $name:literal, $($body:tt)*) => {
        struct $type;
        impl Fails for $type {
            const NAME: &'static str = $name;
            $($body)*
        }
    };
}

fn busy() -> Error {
    std::io::Error::from(ErrorKind::ResourceBusy).into()
}

fails!(
    Third,
    "third-put-fails",
    fn put(number: u64) -> Result<(), Error> {
        if number == 3 { Err(busy()) } else { Ok(()) }
    }
);
fails!(
    ThirdRefused,
    "third-put-is-refused",
    fn put(number: u64) -> Result<(), Error> {
        if number == 3 { Err(Refused::because(busy()).into()) } else { Ok(()) }
    }
);
fails!(
    ThirdUncertain,
    "third-put-is-uncertain",
    fn put(number: u64) -> Result<(), Error> {
        if number == 3 { Err(Uncertain::because(busy()).into()) } else { Ok(()) }
    }
);
fails!(
    Always,
    "every-put-fails",
    fn put(_: u64) -> Result<(), Error> {
        Err(busy())
    }
);
fails!(
    Close,
    "every-close-fails",
    fn close() -> Result<(), Error> {
        Err(busy())
    }
);
fails!(
    Faulted,
    "fails-with-its-disk",
    const FAULTS: &'static [(FaultKind, AfterFault)] =
        &[(FaultKind::FailedWrite, AfterFault::Right), (FaultKind::FailedSync, AfterFault::Right)];
);

/// The class and the case of the first violation on a profile.
fn found<F: Fails>() -> (Option<Class>, String) {
    let found = find(&sim::<FailingSim<F>>(), "posix", crashpoint::Seed(1), 3);
    (found.class, found.case)
}

#[test]
fn an_op_or_a_close_that_fails_without_a_fault_is_a_violation() {
    let (class, case) = found::<Third>();
    assert_eq!(class, Some(Class::OpFailed));
    assert!(case.contains("expect op-failed op-failed:put.Kind.ResourceBusy"), "{case}");
    assert_eq!(check_case(&sim::<FailingSim<Third>>(), &case), Ok(()));
    assert_eq!(found::<Always>().0, Some(Class::OpFailed));
    let (class, case) = found::<Close>();
    assert_eq!(class, Some(Class::CloseFailed));
    assert_eq!(check_case(&sim::<FailingSim<Close>>(), &case), Ok(()));
}

#[test]
fn an_error_with_a_meaning_is_none() {
    assert_eq!(found::<ThirdRefused>().0, None);
    assert_eq!(found::<ThirdUncertain>().0, None);
}

#[test]
fn an_error_after_an_injected_fault_or_on_a_full_disk_is_none() {
    let failed =
        fail_every_call(&sim::<FailingSim<Faulted>>(), "posix", crashpoint::Seed(1), 8, 60);
    assert!(failed.faults > 20 && failed.violations.is_empty(), "{failed:?}");
}

#[test]
fn in_cases_of_older_formats_an_error_is_uncertain() {
    let text = found::<Third>().1;
    let old = text.replacen("crashpoint-case 3", "crashpoint-case 1", 1);
    let entry = sim::<FailingSim<Third>>();
    assert!(check_case(&entry, &old).is_err(), "an old case of a new class");
    let pass: Vec<&str> = old
        .lines()
        .map(|line| if line.starts_with("expect") { "expect pass" } else { line })
        .collect();
    assert_eq!(check_case(&entry, &pass.join("\n")), Ok(()));
}
