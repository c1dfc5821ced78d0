//! Other people's engines on the simulated disk: each is opened, written, synced and reopened, cut
//! where a short run allows, so that each call that it makes has its door.

use std::path::Path;

use crashpoint::Store;
use crashpoint::engine::{Error, Level};
use crashpoint::seed::Seed;
use crashpoint::store::{Bytes, KeyValue};

/// [redb](https://docs.rs/redb): puts are commits that do not wait, `sync` is one that does.
struct Redb(redb::Database);

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("items");

impl Redb {
    fn write(
        &self,
        durability: redb::Durability,
        change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut write = self.0.begin_write()?;
        write.set_durability(durability)?;
        change(&mut write.open_table(TABLE)?)?;
        Ok(write.commit()?)
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(dir: &Path) -> Result<Self, Error> {
        let store = Self(redb::Database::create(dir.join("store.redb"))?);
        store.write(redb::Durability::Immediate, |_| Ok(()))?;
        std::fs::File::open(dir)?.sync_all()?;
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.write(redb::Durability::None, |table| Ok(drop(table.insert(key, value)?)))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.write(redb::Durability::None, |table| Ok(drop(table.remove(key)?)))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.write(redb::Durability::Immediate, |_| Ok(()))
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        use redb::{ReadableDatabase, ReadableTable};
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut items = Vec::new();
        for item in table.iter()? {
            let (key, value) = item?;
            items.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(items)
    }
}

/// [SQLite](https://sqlite.org), bundled: a rollback journal, each statement a transaction that is
/// durable, with the journal's directory synced after it is deleted.
struct Sqlite(rusqlite::Connection);

impl Store for Sqlite {
    const NAME: &'static str = "sqlite";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let connection = rusqlite::Connection::open(dir.join("store.db"))?;
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        connection.execute(
            "CREATE TABLE IF NOT EXISTS items (key BLOB PRIMARY KEY, value BLOB NOT NULL)",
            (),
        )?;
        Ok(Self(connection))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.execute("INSERT OR REPLACE INTO items VALUES (?1, ?2)", (key, value))?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.execute("DELETE FROM items WHERE key = ?1", (key,))?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut query = self.0.prepare("SELECT key, value FROM items")?;
        let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// [persy](https://docs.rs/persy): an index, each put a transaction whose commit waits.
struct Persy(persy::Persy);

impl Persy {
    fn write(
        &self,
        change: impl FnOnce(&mut persy::Transaction) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut write = self.0.begin()?;
        change(&mut write)?;
        write.prepare()?.commit()?;
        Ok(())
    }
}

impl Store for Persy {
    const NAME: &'static str = "persy";
    const WRITES: Level = Level::Durable;

    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("store.persy");
        let store = persy::OpenOptions::new().create(true).open(&path)?;
        let store = Self(store);
        if !store.0.exists_index("items")? {
            store.write(|write| {
                let mode = persy::ValueMode::Replace;
                Ok(write.create_index::<persy::ByteVec, persy::ByteVec>("items", mode)?)
            })?;
        }
        std::fs::File::open(dir)?.sync_all()?;
        Ok(store)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (key, value) = (persy::ByteVec::from(key), persy::ByteVec::from(value));
        self.write(|write| Ok(write.put("items", key, value)?))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        let key = persy::ByteVec::from(key);
        self.write(|write| Ok(write.remove::<_, persy::ByteVec>("items", key, None)?))
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut items = Vec::new();
        for (key, values) in self.0.range::<persy::ByteVec, persy::ByteVec, _>("items", ..)? {
            items.extend(values.map(|value| (key.to_vec(), value.to_vec())));
        }
        Ok(items)
    }
}

/// [sled](https://docs.rs/sled): puts in its cache, `sync` is its flush.
struct Sled(sled::Db);

impl Store for Sled {
    const NAME: &'static str = "sled";

    fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self(sled::open(dir.join("store.sled"))?))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.0.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.0.remove(key)?;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.0.flush()?;
        Ok(())
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let item = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item?;
            Ok((key.to_vec(), value.to_vec()))
        };
        self.0.iter().map(item).collect()
    }
}

/// Runs a few workloads; what was refused for want of a door is in the report.
fn reaches_its_doors<S: Store>() {
    let entry = crashpoint::sim::<KeyValue<S>>();
    let finding = crashpoint::find(&entry, "posix", Seed(1), 3);
    assert!(finding.class.is_none(), "{}", finding.report);
    assert!(finding.states > 100, "{} states are too few to mean something", finding.states);
}

#[test]
fn redb_runs() {
    reaches_its_doors::<Redb>();
}

#[test]
fn sqlite_runs() {
    reaches_its_doors::<Sqlite>();
}

#[test]
fn persy_runs() {
    reaches_its_doors::<Persy>();
}

#[test]
fn sled_runs() {
    reaches_its_doors::<Sled>();
}
