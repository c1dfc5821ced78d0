//! The ops of the document log, and its model.

use std::collections::BTreeMap;
use std::fmt;

use crashpoint::{Model, Operation, State, TextError, Time, Word, quote};
use serde_json::{Value, json};

use crate::engines::document_log::Item;

/// A document: collection, key, version (0 for none) and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The collection.
    pub collection: String,
    /// The key in it.
    pub key: String,
    /// The version. A document replaces only one with a lower version; 0 is no version, and
    /// replaces any document.
    pub version: u64,
    /// The content.
    pub text: String,
}

/// One op of a client, or the ops of several clients at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocOp {
    /// Set a document.
    Put(Document),
    /// Set all of these or none.
    Batch(Vec<Document>),
    /// Remove a document.
    Delete(String, String),
    /// Remove a collection.
    Drop(String),
    /// Rewrite the log.
    Compact,
    /// Write all to the kernel.
    Flush,
    /// Make all durable.
    Sync,
    /// Several clients at the same time, each with its ops.
    Together(Vec<Vec<DocOp>>),
}

impl Document {
    /// The value that the store holds.
    pub fn value(&self) -> Value {
        match self.version {
            0 => json!({ "text": self.text }),
            version => json!({ "_v": version, "text": self.text }),
        }
    }

    /// The document as an item of a batch.
    pub fn item(&self) -> Item {
        (self.collection.clone(), self.key.clone(), self.value())
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collection, key, version, text } = self;
        write!(f, "{} {} {version} {}", word(collection), word(key), word(text))
    }
}

fn word(text: &str) -> String {
    quote(text.as_bytes())
}

impl fmt::Display for DocOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(document) => write!(f, "put {document}"),
            Self::Batch(documents) => {
                write!(f, "batch {}", documents.len())?;
                documents.iter().try_for_each(|document| write!(f, " {document}"))
            }
            Self::Delete(collection, key) => write!(f, "delete {} {}", word(collection), word(key)),
            Self::Drop(collection) => write!(f, "drop {}", word(collection)),
            Self::Compact => f.write_str("compact"),
            Self::Flush => f.write_str("flush"),
            Self::Sync => f.write_str("sync"),
            Self::Together(clients) => {
                write!(f, "together {}", clients.len())?;
                for ops in clients {
                    write!(f, " {}", ops.len())?;
                    ops.iter().try_for_each(|op| write!(f, " {op}"))?;
                }
                Ok(())
            }
        }
    }
}

/// Parses the words of a line, from the first to the last.
struct Parser<'a> {
    words: &'a [Word],
    at: usize,
}

/// The most documents in a batch.
const MAX_BATCH: u64 = 1000;

impl Parser<'_> {
    fn wrong(&self, message: &str) -> TextError {
        let last = self.words.last().map_or(1, |word| word.column + word.bytes.len() + 1);
        TextError::new(self.words.get(self.at).map_or(last, |word| word.column), message)
    }

    fn text(&mut self, what: &str) -> Result<String, TextError> {
        let word = self.words.get(self.at).ok_or_else(|| self.wrong(what))?;
        let text = String::from_utf8(word.bytes.clone()).map_err(|_| self.wrong("not UTF-8"))?;
        self.at += 1;
        Ok(text)
    }

    fn number(&mut self, what: &str, most: u64) -> Result<u64, TextError> {
        let number = self.text(what)?.parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| {
            self.at -= 1;
            self.wrong(what)
        })
    }

    fn document(&mut self) -> Result<Document, TextError> {
        let (collection, key) = (self.text("expected a collection")?, self.text("expected a key")?);
        let version = self.number("expected a version, a number", u64::MAX)?;
        Ok(Document { collection, key, version, text: self.text("expected the text")? })
    }

    fn op(&mut self) -> Result<DocOp, TextError> {
        let expected = "expected `put COLLECTION KEY VERSION TEXT`, `batch N` and N documents, \
                        `delete COLLECTION KEY`, `drop COLLECTION`, `compact`, `flush`, `sync`, or \
                        `together N` and for each of N clients the number of its ops and these";
        Ok(match self.text(expected)?.as_str() {
            "put" => DocOp::Put(self.document()?),
            "batch" => {
                let count = self.number("expected the number of documents", MAX_BATCH)?;
                DocOp::Batch((0..count).map(|_| self.document()).collect::<Result<_, _>>()?)
            }
            "delete" => {
                DocOp::Delete(self.text("expected a collection")?, self.text("expected a key")?)
            }
            "drop" => DocOp::Drop(self.text("expected a collection")?),
            "compact" => DocOp::Compact,
            "flush" => DocOp::Flush,
            "sync" => DocOp::Sync,
            "together" => DocOp::Together(self.clients()?),
            _ => {
                self.at -= 1;
                return Err(self.wrong(expected));
            }
        })
    }

    fn clients(&mut self) -> Result<Vec<Vec<DocOp>>, TextError> {
        let mut clients = Vec::new();
        for _ in 0..self.number("expected the number of clients, at most 4", 4)? {
            let mut ops = Vec::new();
            for _ in 0..self.number("expected the number of ops, at most 8", 8)? {
                let nested = self.words.get(self.at).is_some_and(|word| word.bytes == b"together");
                if nested {
                    return Err(self.wrong("`together` inside `together`"));
                }
                ops.push(self.op()?);
            }
            clients.push(ops);
        }
        Ok(clients)
    }
}

impl Operation for DocOp {
    fn parse(words: &[Word]) -> Result<Self, TextError> {
        let mut parser = Parser { words, at: 0 };
        let op = parser.op()?;
        match parser.at == words.len() {
            true => Ok(op),
            false => Err(parser.wrong("expected the end of the line")),
        }
    }
}

/// The item that shows a document.
pub fn item(collection: &str, key: &str) -> Vec<u8> {
    format!("{collection}/{key}").into_bytes()
}

/// The documents that the log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocModel {
    versions: BTreeMap<(String, String), u64>,
    shown: State,
}

impl DocModel {
    fn change(&mut self, op: &DocOp) {
        match op {
            DocOp::Put(document) => self.put(std::slice::from_ref(document)),
            DocOp::Batch(documents) => self.put(documents),
            DocOp::Delete(collection, key) => {
                self.versions.remove(&(collection.clone(), key.clone()));
                self.shown.remove(&item(collection, key));
            }
            DocOp::Drop(collection) => {
                let dropped = self.versions.extract_if(.., |(of, _), _| of == collection);
                for ((collection, key), _) in dropped {
                    self.shown.remove(&item(&collection, &key));
                }
            }
            DocOp::Compact | DocOp::Flush | DocOp::Sync => {}
            DocOp::Together(clients) => {
                clients.iter().flatten().for_each(|op| self.change(op));
            }
        }
    }

    fn put(&mut self, documents: &[Document]) {
        let mut versions = BTreeMap::new();
        for Document { collection, key, version, .. } in documents {
            let name = (collection.clone(), key.clone());
            let stored = versions.get(&name).or_else(|| self.versions.get(&name));
            if stored.is_some_and(|stored| (1..=*stored).contains(version)) {
                return;
            }
            versions.insert(name, *version);
        }
        self.versions.extend(versions);
        for document in documents {
            let item = item(&document.collection, &document.key);
            self.shown.set(item, document.value().to_string());
        }
    }
}

impl Model for DocModel {
    type Op = DocOp;

    fn apply(&mut self, op: &DocOp, _at: Time) {
        self.change(op);
    }

    fn state(&mut self, _at: Time) -> &State {
        &self.shown
    }

    fn clients(op: &DocOp) -> Option<&[Vec<DocOp>]> {
        match op {
            DocOp::Together(clients) => Some(clients),
            _ => None,
        }
    }

    fn items(op: &DocOp) -> Option<Vec<Vec<u8>>> {
        match op {
            DocOp::Put(document) => Some(vec![item(&document.collection, &document.key)]),
            DocOp::Batch(documents) => {
                let of = |document: &Document| item(&document.collection, &document.key);
                Some(documents.iter().map(of).collect())
            }
            DocOp::Delete(collection, key) => Some(vec![item(collection, key)]),
            DocOp::Drop(_) | DocOp::Compact | DocOp::Flush | DocOp::Sync | DocOp::Together(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crashpoint::words;

    fn document(collection: &str, key: &str, version: u64, text: &str) -> Document {
        let [collection, key, text] = [collection, key, text].map(str::to_owned);
        Document { collection, key, version, text }
    }

    #[test]
    fn a_printed_op_parses_back() {
        let put = DocOp::Put(document("c", "k 1", 3, "compact"));
        let batch = DocOp::Batch(vec![document("c", "", 0, ""), document("d/", "2", 9, "\"é")]);
        let delete = DocOp::Delete("c".into(), "k".into());
        let ops = [
            put.clone(),
            batch.clone(),
            delete.clone(),
            DocOp::Drop("c".into()),
            DocOp::Compact,
            DocOp::Flush,
            DocOp::Sync,
            DocOp::Together(vec![vec![put, DocOp::Compact], Vec::new(), vec![batch, delete]]),
        ];
        for op in ops {
            let words = words(&op.to_string()).expect("words");
            assert_eq!(DocOp::parse(&words), Ok(op));
        }
    }

    #[test]
    fn a_wrong_line_is_an_error_with_its_column_and_what_was_expected() {
        for (line, says) in [
            ("put c k x t", "column 9: expected a version, a number"),
            ("put c k 1", "column 11: expected the text"),
            ("batch 2 c k 1 t", "column 17: expected a collection"),
            ("compact now", "column 9: expected the end of the line"),
            ("together 1 1 together 0", "column 14: `together` inside `together`"),
        ] {
            let error = DocOp::parse(&words(line).expect("words")).expect_err("is wrong");
            assert_eq!(error.to_string(), says);
        }
    }

    #[test]
    fn a_batch_that_holds_an_older_document_does_nothing() {
        let mut model = DocModel::default();
        let mut batch = |documents: &[Document]| {
            model.apply(&DocOp::Batch(documents.to_vec()), Time::START);
            model.state(Time::START).len()
        };
        assert_eq!(batch(&[document("c", "a", 2, "")]), 1);
        assert_eq!(batch(&[document("c", "b", 1, ""), document("c", "a", 2, "")]), 1);
        assert_eq!(batch(&[document("c", "b", 1, ""), document("c", "b", 1, "")]), 1);
        assert_eq!(batch(&[document("c", "b", 1, ""), document("c", "a", 3, "")]), 2);
    }
}
