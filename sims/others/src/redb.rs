//! [redb](https://docs.rs/redb): each put is a commit that is not durable, `sync` one that is.

use std::fs::File;
use std::path::Path;

use crashpoint::{Bytes, Error, Store};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("items");

pub(crate) struct Redb(Database);

impl Redb {
    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<'_, &[u8], &[u8]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut write = self.0.begin_write()?;
        write.set_durability(durability)?;
        change(&mut write.open_table(TABLE)?)?;
        Ok(write.commit()?)
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    /// A database that does not exist yet is created aside and renamed: redb creates its own in
    /// place, and does not open what a crash in between leaves.
    fn open(dir: &Path) -> Result<Self, Error> {
        let (aside, path) = (dir.join("created"), dir.join("store"));
        if !path.exists() {
            if aside.exists() {
                std::fs::remove_file(&aside)?;
            }
            let store = Self(Database::create(&aside)?);
            store.write(Durability::Immediate, |_| Ok(()))?;
            drop(store);
            File::open(&aside)?.sync_all()?;
            std::fs::rename(&aside, &path)?;
        }
        // An earlier process may have died before it synced the name.
        File::open(dir)?.sync_all()?;
        Ok(Self(Database::open(path)?))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.write(Durability::None, |table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.write(Durability::None, |table| {
            table.remove(key)?;
            Ok(())
        })
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn scan(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut items = Vec::new();
        for item in table.iter()? {
            let (key, value) = item?;
            items.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(items)
    }
}
