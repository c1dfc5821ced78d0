//! One line of the log, and the commands that it may hold.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LogError;

/// The longest line, without its newline, in bytes.
pub(super) const LINE_MAX: usize = 64 << 20;

/// A document of a collection gets this value.
pub(super) const INSERT: &str = "INSERT";
/// A document of a collection is gone.
pub(super) const DELETE: &str = "DELETE";
/// A collection is gone, with its indexes.
pub(super) const DROP: &str = "DROP";
/// A field of a collection is indexed.
pub(super) const INDEX: &str = "INDEX";
/// A collection has a schema.
pub(super) const SCHEMA: &str = "SCHEMA";
/// A batch begins; the key identifies it.
pub(super) const TX_BEGIN: &str = "TX_BEGIN";
/// The batch with this key is whole.
pub(super) const TX_COMMIT: &str = "TX_COMMIT";
/// The first line of each log that this module wrote: says which lines the log began with.
pub(super) const BASE: &str = "BASE";
/// An encrypted entry of the origin.
pub(super) const ENC: &str = "ENC";

/// One entry of the log: a change of one document or collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// `INSERT`, `DELETE`, `DROP`, `INDEX` or `SCHEMA`.
    pub cmd: String,
    /// The collection.
    pub collection: String,
    /// The document; of an `INDEX` the field.
    pub key: String,
    /// The document's value; of a `SCHEMA` the schema; else null.
    pub value: Value,
}

impl LogEntry {
    /// The document has this value.
    pub fn insert(collection: &str, key: &str, value: Value) -> Self {
        Self::of(INSERT, collection, key, value)
    }

    /// The document is gone.
    pub fn delete(collection: &str, key: &str) -> Self {
        Self::of(DELETE, collection, key, Value::Null)
    }

    /// The collection is gone, with its indexes.
    pub fn drop_collection(collection: &str) -> Self {
        Self::of(DROP, collection, "*", Value::Null)
    }

    /// The field of the collection's documents is indexed.
    pub fn index(collection: &str, field: &str) -> Self {
        Self::of(INDEX, collection, field, Value::Null)
    }

    /// The collection has this schema.
    pub fn schema(collection: &str, schema: Value) -> Self {
        Self::of(SCHEMA, collection, "", schema)
    }

    pub(super) fn of(cmd: &str, collection: &str, key: &str, value: Value) -> Self {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        Self { cmd: cmd.to_owned(), collection, key, value }
    }

    /// Checks that an entry may be written: the marks are the log's own, and a compaction could not
    /// merge entries with a command that it does not know.
    pub(super) fn check(&self) -> Result<(), LogError> {
        match self.cmd.as_str() {
            INSERT | DELETE | DROP | INDEX | SCHEMA => Ok(()),
            other => Err(LogError::Invalid(format!("the command `{other}` cannot be written"))),
        }
    }

    /// Appends the line to a buffer; returns its length without the newline.
    ///
    /// # Errors
    /// `Invalid` if it is too long; the buffer is then as before.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<u32, LogError> {
        let before = out.len();
        if let Err(error) = serde_json::to_writer(&mut *out, self) {
            out.truncate(before);
            return Err(LogError::Invalid(error.to_string()));
        }
        let length = out.len() - before;
        if length > LINE_MAX {
            out.truncate(before);
            let what = format!("a line of {length} bytes is too long: at most {LINE_MAX}");
            return Err(LogError::Invalid(what));
        }
        out.push(b'\n');
        Ok(length as u32)
    }
}
