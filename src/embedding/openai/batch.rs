//! Texts into batches that the endpoint accepts.

use crate::text::tokens;

/// Texts per request; the endpoint takes 2048, many compatible servers far fewer.
const MAX_TEXTS: usize = 128;
/// Tokens per request; the endpoint refuses above 300,000.
const MAX_TOKENS: u32 = 100_000;
/// Tokens per text: what OpenAI's models read. A longer text is cut, not refused.
const MAX_TEXT_TOKENS: u32 = 8_191;

/// One request's worth of texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) texts: Vec<String>,
    /// By our own count.
    pub(super) tokens: u32,
}

/// Cuts `texts` into batches, in order. Costs time in proportion to the texts: not for an async
/// thread when they are many.
pub(super) fn batches(texts: Vec<String>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for text in texts {
        let (text, tokens) = fitted(text);
        match batches.last_mut() {
            Some(last) if last.texts.len() < MAX_TEXTS && last.tokens + tokens <= MAX_TOKENS => {
                last.texts.push(text);
                last.tokens += tokens;
            }
            _ => batches.push(Batch { texts: vec![text], tokens }),
        }
    }
    batches
}

fn fitted(mut text: String) -> (String, u32) {
    // The endpoint refuses an empty string, and with it the whole batch.
    if text.trim().is_empty() {
        " ".clone_into(&mut text);
    }
    let mut tokens = tokens::count(&text);
    if tokens > MAX_TEXT_TOKENS {
        let kept = tokens::truncate(&text, MAX_TEXT_TOKENS).len();
        text.truncate(kept);
        tokens = MAX_TEXT_TOKENS;
    }
    (text, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_both_limits() {
        let texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let cut = batches(texts.clone());
        assert_eq!(cut.iter().map(|b| b.texts.len()).collect::<Vec<_>>(), [128, 128, 44]);
        assert_eq!(cut.into_iter().flat_map(|b| b.texts).collect::<Vec<_>>(), texts);

        let long = " word".repeat(7000);
        let cut = batches(vec![long; 30]);
        assert_eq!(cut.iter().map(|b| b.texts.len()).collect::<Vec<_>>(), [14, 14, 2]);
        assert!(cut.iter().all(|b| b.tokens <= MAX_TOKENS));
        assert!(batches(vec![]).is_empty());
    }

    #[test]
    fn the_empty_and_the_endless_text_become_acceptable() {
        let cut = batches(vec![String::new(), " word".repeat(9000)]);
        let [batch] = cut.as_slice() else { panic!("one batch") };
        assert_eq!(batch.texts[0], " ");
        assert_eq!(tokens::count(&batch.texts[1]), MAX_TEXT_TOKENS);
    }
}
