//! The few sentences of a passage that fit a question best: what a citation shows.

use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

/// About how long a snippet is, in characters.
const LENGTH: usize = 280;

/// The window of whole sentences with the most of the question's words, at most about 280
/// characters; a single longer sentence is cut at a word.
#[must_use]
pub fn best_window(text: &str, question: &str) -> String {
    let wanted: HashSet<String> =
        question.unicode_words().filter(|w| w.chars().count() > 2).map(stem).collect();
    let sentences: Vec<&str> =
        text.unicode_sentences().map(str::trim).filter(|s| !s.is_empty()).collect();
    let mut best: (usize, String) = (0, String::new());
    for start in 0..sentences.len() {
        let mut window = String::new();
        for sentence in sentences.iter().skip(start) {
            if !window.is_empty() && window.chars().count() + sentence.chars().count() > LENGTH {
                break;
            }
            if !window.is_empty() {
                window.push(' ');
            }
            window.push_str(sentence);
        }
        let found: HashSet<String> = window.unicode_words().map(stem).collect();
        let score = found.intersection(&wanted).count();
        if best.1.is_empty() || score > best.0 {
            best = (score, window);
        }
    }
    cut(&best.1)
}

/// Lower case and without a plural or verb ending: enough to see that two words are one.
fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    let keep = word.chars().count().saturating_sub(if word.ends_with("ing") { 3 } else { 1 });
    if word.ends_with("ing") || word.ends_with('s') {
        word.chars().take(keep).collect()
    } else {
        word
    }
}

fn cut(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= LENGTH * 2 {
        return text;
    }
    let head: String = text.chars().take(LENGTH * 2).collect();
    let head = head.rsplit_once(' ').map_or(head.as_str(), |(words, _)| words);
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_sentence_that_answers() {
        let filler = "Nothing of interest is said here, at some length. ".repeat(12);
        let text = format!("{filler}The notice period is ninety days. {filler}");
        let snippet = best_window(&text, "How long are notice periods?");
        assert!(snippet.contains("ninety days"), "{snippet}");
        assert!(snippet.chars().count() <= LENGTH + 60);
        assert_eq!(best_window("", "x"), "");
    }
}
