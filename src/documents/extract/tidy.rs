//! Small repairs that every format shares: ligatures, line-end hyphens, characters nobody can store.
//!
//! Deliberately little. Full NFKC would turn `x²` into `x2` and `½` into `1⁄2`, and a quotation has
//! to stand in the document as it is cited; only the Latin ligatures are spelled out, because
//! nobody searches for them. Repeated headers and footers stay: they may be what a page is cited for.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Longest title kept, in characters.
const TITLE_CHARS: usize = 300;

/// Text without control characters, odd line ends, spaces at line ends and long vertical gaps.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank_lines = 0;
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{c}', '\u{2028}', '\u{2029}'], "\n");
    for line in text.lines() {
        let start = out.len();
        line.chars().filter(|c| keep(*c)).for_each(|c| push_spelled_out(&mut out, c));
        let kept = out.get(start..).map_or(0, |line| line.trim_end().len());
        out.truncate(start + kept);
        blank_lines = if kept == 0 { blank_lines + 1 } else { 0 };
        if blank_lines < 2 {
            out.push('\n');
        }
    }
    let end = out.trim_end().len();
    out.truncate(end);
    let leading = out.len() - out.trim_start_matches('\n').len();
    out.drain(..leading);
    // Canonical composition only: "e" with an accent over it becomes "é", nothing changes meaning.
    if unicode_normalization::is_nfc(&out) { out } else { out.nfc().collect() }
}

/// One line to show as a title, or `None` when nothing of worth is left.
pub(super) fn title(raw: &str) -> Option<String> {
    let cleaned = clean(raw);
    let mut words = cleaned.split_whitespace();
    let mut title = words.next()?.to_owned();
    for word in words {
        title.push(' ');
        title.push_str(word);
    }
    Some(title.chars().take(TITLE_CHARS).collect())
}

/// Whether `line`, followed by a line that starts with `next`, breaks off inside a word.
///
/// A hyphen between two lower-case letters is taken for a broken word, so "well-⏎known" loses its
/// hyphen; the other way round far more words would be lost to search.
pub(super) fn is_hyphenated(line: &str, next: Option<char>) -> bool {
    let mut back = line.chars().rev();
    let hyphen = matches!(back.next(), Some('-' | '\u{2010}' | '\u{ad}'));
    hyphen && back.next().is_some_and(char::is_lowercase) && next.is_some_and(char::is_lowercase)
}

/// Whether a text is nothing but accents, which belong to a letter.
pub(super) fn is_mark(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_combining_mark)
}

/// Whether a character may stay: no control characters (`PostgreSQL` refuses NUL), no marks that only
/// steer display, no non-characters. Joiners stay, they change words in Persian and Indic scripts.
fn keep(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            false
        }
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !c.is_control(),
    }
}

/// Appends `c`, the Latin ligatures letter by letter.
fn push_spelled_out(out: &mut String, c: char) {
    match c {
        '\u{fb00}' => out.push_str("ff"),
        '\u{fb01}' => out.push_str("fi"),
        '\u{fb02}' => out.push_str("fl"),
        '\u{fb03}' => out.push_str("ffi"),
        '\u{fb04}' => out.push_str("ffl"),
        '\u{fb05}' | '\u{fb06}' => out.push_str("st"),
        '\u{a0}' => out.push(' '),
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_is_small() {
        assert_eq!(clean("\0ﬁne  \r\n\n\n\nx² ½\u{202e}"), "fine\n\nx² ½");
        assert_eq!(clean("  indented\n"), "  indented");
        assert_eq!(clean("e\u{301}"), "é");
        assert_eq!(title(" a\n b "), Some("a b".to_owned()));
        assert_eq!(title("\0 \n"), None);
    }

    #[test]
    fn only_broken_words_are_joined() {
        assert!(is_hyphenated("conti-", Some('n')));
        assert!(!is_hyphenated("1990-", Some('n')));
        assert!(!is_hyphenated("Anne-", Some('M')));
        assert!(!is_hyphenated("-", None));
    }
}
