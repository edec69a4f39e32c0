//! Tokens as the o200k encoding counts them.
//!
//! Exact for OpenAI's current models, within some percent for others; good enough to pack a window
//! and to bill an answer whose provider reported nothing. Counting is linear in the text, whatever
//! the text. The vocabulary loads on first use, once per process (call [`count`] at start to pay then).

use bpe_openai::{Tokenizer, o200k_base};

fn tokenizer() -> &'static Tokenizer {
    o200k_base()
}

/// How many tokens `text` is.
#[must_use]
pub fn count(text: &str) -> u32 {
    u32::try_from(tokenizer().count(text)).unwrap_or(u32::MAX)
}

/// The longest prefix of `text`, cut between characters, that is at most `max_tokens` tokens.
/// Cuts inside a word if it must; costs no more than reading the prefix.
#[must_use]
pub fn truncate(text: &str, max_tokens: u32) -> &str {
    let mut left = usize::try_from(max_tokens).unwrap_or(usize::MAX);
    let mut end = 0;
    for piece in tokenizer().split(text) {
        let Some(used) = tokenizer().bpe.count_till_limit(piece.as_bytes(), left) else {
            let cut = end + longest_fit(piece, left);
            return settle(prefix(text, cut), max_tokens);
        };
        left -= used;
        end += piece.len();
    }
    text
}

/// Word pieces of `text` as a model would stream them, whitespace included: joined they are `text`.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    tokenizer().split(text)
}

/// Bytes of one word's first `left` tokens, cut between characters. Looks at no more of an endless
/// word than it needs.
fn longest_fit(word: &str, left: usize) -> usize {
    let mut window = left.saturating_mul(8);
    loop {
        let seen = prefix(word, boundary_at(word, window));
        let tokens = tokenizer().bpe.encode_via_backtracking(seen.as_bytes());
        if tokens.len() > left || seen.len() == word.len() {
            let bytes =
                tokens.iter().take(left).map(|token| tokenizer().bpe.token_len(*token)).sum();
            return boundary_at(word, bytes);
        }
        window = window.saturating_mul(2).max(8);
    }
}

/// A cut changes how the end is tokenized, rarely by one token more: takes characters off until
/// the promise holds.
fn settle(mut text: &str, max_tokens: u32) -> &str {
    while count(text) > max_tokens {
        text = prefix(text, boundary_before(text, text.len()));
    }
    text
}

/// The last character boundary not after `at`.
fn boundary_at(text: &str, at: usize) -> usize {
    if at >= text.len() { text.len() } else { boundary_before(text, at + 1) }
}

/// The last character boundary before `at`.
fn boundary_before(text: &str, at: usize) -> usize {
    (0..at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn prefix(text: &str, end: usize) -> &str {
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_as_the_published_encoding_does() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
        assert_eq!(count("The quick brown fox jumps over the lazy dog."), 10);
        assert_eq!(count("don't\n\n"), 2);
    }

    #[test]
    fn truncates_between_words_and_inside_one() {
        assert_eq!(truncate("one two three", 2), "one two");
        assert_eq!(truncate("one two three", 0), "");
        assert_eq!(truncate("one", 9), "one");
        let long = "x".repeat(5000);
        let cut = truncate(&long, 10);
        assert!(count(cut) == 10 && cut.len() > 10, "{}", cut.len());
    }

    #[test]
    fn megabytes_without_a_space_are_counted_in_linear_time() {
        let started = std::time::Instant::now();
        assert!(count(&"ab".repeat(200_000)) > 1000);
        assert!(count(&" ".repeat(400_000)) > 100);
        assert!(started.elapsed().as_secs() < 20);
    }

    proptest! {
        #[test]
        fn pieces_join_to_the_text(text in "\\PC{0,60}|[ \\n\\t\\r,.a-zä漢0-9]{0,60}") {
            prop_assert_eq!(pieces(&text).collect::<String>(), text);
        }

        #[test]
        fn a_truncated_text_fits_and_is_a_prefix(text in "[ \\n,.a-zäß漢🙂0-9]{0,80}", max in 0_u32..20) {
            let cut = truncate(&text, max);
            prop_assert!(text.starts_with(cut));
            prop_assert!(count(cut) <= max);
            prop_assert!(cut.len() == text.len() || count(&text) > max);
        }
    }
}
