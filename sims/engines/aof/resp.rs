//! Commands as RESP arrays of bulk strings, the form in which Redis logs them:
//! `*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n`. There is no inline form, so that no data is ever executed.

use super::value::Bytes;

/// Why some bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// The bytes end before the command does.
    Incomplete,
    /// They are something else; the first `seen` of them were examined.
    Malformed { seen: usize },
}

/// Appends a command.
pub(super) fn encode(out: &mut Vec<u8>, args: &[Bytes]) {
    number(out, b'*', args.len());
    for arg in args {
        number(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn number(out: &mut Vec<u8>, sign: u8, number: usize) {
    out.push(sign);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Parses the command that `bytes` start with; also returns its length. No count or length makes it
/// allocate more than the bytes have room for.
pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<&[u8]>, usize), ParseError> {
    let mut at = 0;
    let count = header(bytes, &mut at, b'*')?;
    if count == 0 {
        return Err(ParseError::Malformed { seen: at });
    }
    // `$0\r\n\r\n` is the shortest argument.
    if count > (bytes.len() - at) / 6 + 1 {
        return Err(ParseError::Incomplete);
    }
    let mut args = Vec::with_capacity(count);
    for _ in 0..count {
        let len = header(bytes, &mut at, b'$')?;
        let arg = bytes[at..].get(..len).ok_or(ParseError::Incomplete)?;
        at += len;
        args.push(arg);
        let end = &bytes[at..bytes.len().min(at + 2)];
        if !b"\r\n".starts_with(end) {
            return Err(ParseError::Malformed { seen: at + end.len() });
        }
        if end.len() < 2 {
            return Err(ParseError::Incomplete);
        }
        at += 2;
    }
    Ok((args, at))
}

/// Reads a sign, decimal digits and the end of the line.
fn header(bytes: &[u8], at: &mut usize, sign: u8) -> Result<usize, ParseError> {
    let rest = &bytes[*at..];
    let malformed = |seen: usize| Err(ParseError::Malformed { seen: *at + seen.min(rest.len()) });
    match rest.first() {
        None => return Err(ParseError::Incomplete),
        Some(first) if *first != sign => return malformed(1),
        Some(_) => {}
    }
    let digits = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = &rest[1 + digits..rest.len().min(3 + digits)];
    if !b"\r\n".starts_with(end) || (digits == 0 && !end.is_empty()) {
        return malformed(3 + digits);
    }
    if end.len() < 2 {
        return if digits < 20 { Err(ParseError::Incomplete) } else { malformed(digits) };
    }
    let number = std::str::from_utf8(&rest[1..=digits]).ok().and_then(|text| text.parse().ok());
    let Some(number) = number else { return malformed(3 + digits) };
    *at += 3 + digits;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_back() {
        let args: Vec<Bytes> = vec![b"SET".to_vec(), vec![0, 13, 10, 255], Vec::new()];
        let mut bytes = Vec::new();
        encode(&mut bytes, &args);
        assert_eq!(bytes, b"*3\r\n$3\r\nSET\r\n$4\r\n\0\r\n\xff\r\n$0\r\n\r\n");
        let (read, len) = parse(&bytes).expect("a command");
        assert_eq!((read.len(), len), (3, bytes.len()));
        assert!(read.iter().zip(&args).all(|(read, arg)| read == arg));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Err(ParseError::Incomplete), "cut at {cut}");
        }
    }

    #[test]
    fn nothing_but_an_array_of_bulk_strings_is_a_command() {
        for wrong in [
            &b"FLUSHALL\r\n"[..],
            b"\0\0\0\0",
            b"*0\r\n",
            b"*-1\r\n",
            b"*+1\r\n$1\r\na\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$1\r\nab\r\n",
            b"*1\n$1\na\n",
            b"*1\r\n:1\r\n",
            b"*99999999999999999999999\r\n",
        ] {
            let found = parse(wrong);
            assert!(matches!(found, Err(ParseError::Malformed { .. })), "{wrong:?}: {found:?}");
        }
    }

    #[test]
    fn a_count_or_length_beyond_the_bytes_is_incomplete_and_allocates_nothing() {
        assert_eq!(parse(b"*1000000000000000\r\n$1\r\na\r\n"), Err(ParseError::Incomplete));
        assert_eq!(parse(b"*1\r\n$18446744073709551615\r\na\r\n"), Err(ParseError::Incomplete));
    }
}
