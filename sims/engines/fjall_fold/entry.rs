//! An entry as the engine stores it: `version_len:u8 version value`, under its key.

use crate::engines::append_log::{Entry, SnapshotError, Update, VersionToken};

/// Checks that the engine can hold an update; it would panic at one that it cannot hold.
pub(super) fn check(update: &Update) -> Result<(), SnapshotError> {
    let invalid = |what: String| Err(SnapshotError::InvalidFormat(what));
    let key = match update {
        Update::Put(entry) => {
            // The engine counts the version and its length too.
            if u32::try_from(entry.value.len() + 1 + entry.version.as_bytes().len()).is_err() {
                return invalid(format!("value too long: {} bytes", entry.value.len()));
            }
            &entry.key
        }
        Update::Delete { key, .. } | Update::Purge { key, .. } => key,
    };
    match key.len() {
        0 => invalid("the empty key cannot be stored".into()),
        1..=0xffff => Ok(()),
        len => invalid(format!("key too long: {len} bytes")),
    }
}

pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let version = entry.version.as_bytes();
    let mut stored = Vec::with_capacity(1 + version.len() + entry.value.len());
    // A token has at most ten bytes.
    stored.push(version.len() as u8);
    stored.extend_from_slice(version);
    stored.extend_from_slice(&entry.value);
    stored
}

pub(super) fn decode(key: &[u8], stored: &[u8]) -> Result<Entry, SnapshotError> {
    let shown = key.escape_ascii();
    let invalid = |what: String| SnapshotError::InvalidFormat(what);
    let text =
        std::str::from_utf8(key).map_err(|_| invalid(format!("key \"{shown}\" is not UTF-8")))?;
    let (len, rest) =
        stored.split_first().ok_or_else(|| invalid(format!("entry \"{shown}\" is empty")))?;
    let (version, value) = rest.split_at_checked(usize::from(*len)).ok_or_else(|| {
        invalid(format!("entry \"{shown}\" ends inside its version of {len} bytes"))
    })?;
    let version = VersionToken::from_bytes(version)?;
    Ok(Entry { key: text.to_owned(), value: value.to_vec(), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_with_any_token_and_value_comes_back() {
        for len in 0..=10 {
            for value in [b"".as_slice(), b"value", &[0; 5000]] {
                let version = VersionToken::from_bytes(&vec![0xfe; len]).expect("ten bytes fit");
                let entry = Entry { key: "k".into(), value: value.to_vec(), version };
                assert_eq!(decode(b"k", &encode(&entry)).expect("decodes"), entry);
            }
        }
    }
}
