//! Words of the case grammar: how bytes are written so that people can read and edit them.
//!
//! A word is written as a run of letters, digits and `-_./:+@=,`, or as anything between double
//! quotes with `\"`, `\\`, `\n`, `\xNN`; a long run of one byte is written `"a"*4096`. When a word
//! is read, plain and quoted parts may be mixed, and every character but a blank and a double
//! quote is plain.

/// A run of one byte at least this long is written with its length.
const RUN: usize = 16;

/// Writes bytes as one word of the grammar.
pub fn quote(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    let mut text = String::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let run = rest.iter().take_while(|&&b| b == rest[0]).count();
        if run >= RUN {
            text.push_str(&format!("{}*{run}", quoted(&rest[..1])));
            rest = &rest[run..];
            continue;
        }
        let (part, after) = rest.split_at(until_run(rest));
        // A digit right after `"a"*20` would be read as part of the number.
        let plain = part.iter().all(|&b| is_plain(b)) && !text.ends_with(|c: char| c != '"');
        text.push_str(&if plain {
            String::from_utf8_lossy(part).into_owned()
        } else {
            quoted(part)
        });
        rest = after;
    }
    text
}

/// How many bytes come before the next long run of one byte.
fn until_run(bytes: &[u8]) -> usize {
    let long = |window: &[u8]| window.iter().all(|b| *b == window[0]);
    bytes.windows(RUN).position(long).unwrap_or(bytes.len())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./:+@=,".contains(&byte)
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Word {
    /// The bytes of the word, with quotes removed and escapes and repeats expanded.
    pub bytes: Vec<u8>,
    /// The column where it begins, in characters from 1.
    pub column: usize,
}

impl Word {
    /// The word as text; bytes that are not UTF-8 become replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The error of a line that is not in the grammar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct TextError {
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong, or what was expected.
    pub message: String,
}

impl TextError {
    /// An error at a column.
    pub fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

/// The most bytes that the words of a line may expand to: `"a"*N` in a hostile file must not
/// exhaust memory.
const MOST_BYTES: usize = 64 << 20;

/// Splits a line into its words; a `#` at the start of a word begins a comment.
///
/// # Errors
/// The column of a quote that is not closed, of a wrong escape or repeat, or of the word that
/// takes the line past 64 MiB.
pub fn words(line: &str) -> Result<Vec<Word>, TextError> {
    let chars: Vec<char> = line.chars().collect();
    let mut words = Vec::new();
    let (mut at, mut total) = (0, 0);
    while at < chars.len() {
        if chars[at].is_whitespace() {
            at += 1;
        } else if chars[at] == '#' {
            break;
        } else {
            let column = at + 1;
            let bytes = word(&chars, &mut at, MOST_BYTES.saturating_sub(total))?;
            total += bytes.len();
            words.push(Word { bytes, column });
        }
    }
    Ok(words)
}

/// Reads one word: plain characters and quoted parts in any mix, such as `lose="a b"@0`.
fn word(chars: &[char], at: &mut usize, room: usize) -> Result<Vec<u8>, TextError> {
    let mut bytes = Vec::new();
    while *at < chars.len() && !chars[*at].is_whitespace() {
        if bytes.len() > room {
            return Err(TextError::new(*at + 1, "the line expands to more than 64 MiB"));
        }
        if chars[*at] != '"' {
            bytes.extend_from_slice(chars[*at].encode_utf8(&mut [0; 4]).as_bytes());
            *at += 1;
            continue;
        }
        let column = *at + 1;
        let part = quoted_part(chars, at)?;
        match repeat(chars, at)? {
            Some(times) if part.len().saturating_mul(times) > room.saturating_sub(bytes.len()) => {
                return Err(TextError::new(column, "the line expands to more than 64 MiB"));
            }
            Some(times) => bytes.extend_from_slice(&part.repeat(times)),
            None => bytes.extend_from_slice(&part),
        }
    }
    Ok(bytes)
}

/// Reads the `*N` after a quoted part, if there is one.
fn repeat(chars: &[char], at: &mut usize) -> Result<Option<usize>, TextError> {
    if chars.get(*at) != Some(&'*') {
        return Ok(None);
    }
    let column = *at + 1;
    let digits: String = chars[*at + 1..].iter().take_while(|c| c.is_ascii_digit()).collect();
    *at += 1 + digits.len();
    let times =
        digits.parse().map_err(|_| TextError::new(column, "expected a number after `*`"))?;
    Ok(Some(times))
}

fn quoted_part(chars: &[char], at: &mut usize) -> Result<Vec<u8>, TextError> {
    let start = *at + 1;
    let mut bytes = Vec::new();
    *at += 1;
    loop {
        let Some(&c) = chars.get(*at) else {
            return Err(TextError::new(start, "the quote is not closed"));
        };
        *at += 1;
        match c {
            '"' => return Ok(bytes),
            '\\' => bytes.push(escape(chars, at)?),
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn escape(chars: &[char], at: &mut usize) -> Result<u8, TextError> {
    let column = *at;
    let wrong = || TextError::new(column, r#"after `\` expected one of `"`, `\`, `n`, `xNN`"#);
    let c = *chars.get(*at).ok_or_else(wrong)?;
    *at += 1;
    match c {
        '"' => Ok(b'"'),
        '\\' => Ok(b'\\'),
        'n' => Ok(b'\n'),
        'x' => {
            let digits: String = chars.iter().skip(*at).take(2).collect();
            *at += 2;
            if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            u8::from_str_radix(&digits, 16).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(bytes: &[u8]) -> Vec<u8> {
        let line = quote(bytes);
        let mut words = words(&line).expect("a quoted word parses");
        assert_eq!(words.len(), 1, "{line} is one word");
        words.remove(0).bytes
    }

    #[test]
    fn quoted_bytes_read_back() {
        for bytes in [&b""[..], b"a", b"a b", b"\"\\\n\0\xff", b"key-1", "grün".as_bytes(), b"#x"]
        {
            assert_eq!(back(bytes), bytes);
        }
        assert_eq!(back(&[7; 5000]), [7; 5000]);
        for mixed in [&[b"12-", &[b'x'; 40][..]], &[&[b'x'; 40][..], b"12"], &[b"a b", &[0; 99]]] {
            assert_eq!(back(&mixed.concat()), mixed.concat());
        }
        assert_eq!(quote(&[b"12-", &[b'x'; 40][..]].concat()), "12-\"x\"*40");
        assert_eq!(quote(&[b'a'; 5000]), "\"a\"*5000");
    }

    #[test]
    fn an_error_names_the_column_of_the_wrong_word() {
        assert_eq!(words("put \"a").unwrap_err().column, 5);
        assert_eq!(words("put \"a\\q\"").unwrap_err().column, 7);
        assert_eq!(words("put \"\\x+1\"").unwrap_err().column, 6);
        assert_eq!(words("put \"ab\"*999999999999").unwrap_err().column, 5);
        assert_eq!(words("put \"a\"*40000000 \"b\"*40000000").unwrap_err().column, 18);
        assert_eq!(words("put \"a\"*40000000\"b\"*40000000").unwrap_err().column, 17);
        assert_eq!(words("put \"a\"*x").unwrap_err().column, 8);
    }

    #[test]
    fn comments_are_skipped_and_mixed_words_are_one_word() {
        let words = words("lose=\"a b\"@0  # and more").expect("parses");
        assert_eq!(words.len(), 1);
        assert_eq!(words[0].bytes, b"lose=a b@0");
    }
}
