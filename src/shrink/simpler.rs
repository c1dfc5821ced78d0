//! Simpler words to try in place of a word of an op.

/// Smaller numbers, or shorter and plainer bytes, from the boldest to the most careful. The op's
/// own reader decides which of them it takes.
pub(super) fn simpler(word: &[u8]) -> Vec<Vec<u8>> {
    if word.is_empty() {
        return vec![b"0".to_vec(), b"a".to_vec()];
    }
    let mut words = match number(word) {
        Some(number) => numbers(number),
        None => texts(word),
    };
    words.retain(|other| (other.len(), &other[..]) < (word.len(), word));
    words.dedup();
    words
}

/// The value of a word that is written as a number.
pub(super) fn number(word: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(word).ok()?;
    let number: i128 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn numbers(number: i128) -> Vec<Vec<u8>> {
    let positive = number.saturating_abs();
    let mut all = vec![0, 1, positive];
    // Each step leaves more of the number, so that what is needed of it is found by halving.
    let mut less = positive / 2;
    while less > 0 {
        all.push((positive - less) * number.signum());
        less /= 2;
    }
    all.iter().map(|number| number.to_string().into_bytes()).collect()
}

fn texts(word: &[u8]) -> Vec<Vec<u8>> {
    // An empty name is the shortest, and hard to read.
    let mut all = Vec::new();
    let mut length = 1;
    while length < word.len() {
        all.push(word[..length].to_vec());
        length *= 2;
    }
    let mut less = word.len() / 4;
    while less > 0 {
        all.push(word[..word.len() - less].to_vec());
        less /= 2;
    }
    if word.iter().any(|byte| *byte > b'a') {
        all.push(vec![b'a'; word.len()]);
    }
    all.extend(shorter_numbers(word));
    all
}

/// The word with each run of digits in it lowered to 0, 1 or its half.
fn shorter_numbers(word: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < word.len() {
        let digits = word[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let text = String::from_utf8_lossy(&word[at..at + digits]);
            let half = text.parse::<u128>().map_or(0, |number| number / 2);
            for lower in ["0".to_owned(), "1".to_owned(), half.to_string()] {
                all.push([&word[..at], lower.as_bytes(), &word[at + digits..]].concat());
            }
        }
        at += digits.max(1);
    }
    all
}
