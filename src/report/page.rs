//! Text on a page of 80 columns: wrapped lines, numbers with separators.

/// The columns of a page.
pub(crate) const COLUMNS: usize = 80;

/// Text in lines of a page's width where its words allow it; the first begins with `first`, the
/// others with `rest`.
pub(crate) fn wrapped(first: &str, rest: &str, text: &str) -> Vec<String> {
    wrapped_within(COLUMNS, first, rest, text)
}

/// The same, with this many columns.
pub(crate) fn wrapped_within(columns: usize, first: &str, rest: &str, text: &str) -> Vec<String> {
    let length = |text: &str| text.chars().count();
    let mut lines = vec![first.to_owned()];
    let mut fresh = true;
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| length(line));
        if !fresh && line + 1 + length(word) > columns {
            lines.push(rest.to_owned());
            fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if fresh { "" } else { " " });
            line.push_str(word);
        }
        fresh = false;
    }
    lines
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_the_width_of_a_page_and_a_long_word_stays_whole() {
        let words = "four ".repeat(30);
        let lines = wrapped("  - ", "    ", words.trim_end());
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{lines:?}");
        assert_eq!(lines.len(), 2);
        let long = "x".repeat(100);
        assert_eq!(wrapped("a ", "", &format!("b {long} c")), ["a b", &long, "c"]);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
