//! Texts into batches that the endpoint accepts.

use crate::text::tokens;

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// OpenAI takes 2048, many compatible servers far fewer.
    pub texts: usize,
    /// OpenAI refuses above 300,000.
    pub tokens: u32,
    /// Of one text; a longer one is cut, not refused.
    pub text_tokens: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { texts: 128, tokens: 100_000, text_tokens: 8_191 }
    }
}

/// One request's worth of texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) texts: Vec<String>,
    /// By our own count.
    pub(super) tokens: u32,
}

/// Cuts `texts` into batches, in order. Costs time in proportion to the texts: not for an async
/// thread when they are many.
pub(super) fn batches(texts: Vec<String>, limits: Limits) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for text in texts {
        let (text, tokens) = fitted(text, limits.text_tokens);
        match batches.last_mut() {
            Some(last)
                if last.texts.len() < limits.texts
                    && last.tokens.saturating_add(tokens) <= limits.tokens =>
            {
                last.texts.push(text);
                last.tokens += tokens;
            }
            _ => batches.push(Batch { texts: vec![text], tokens }),
        }
    }
    batches
}

fn fitted(mut text: String, most: u32) -> (String, u32) {
    // The endpoint refuses an empty string, and with it the whole batch.
    if text.trim().is_empty() {
        " ".clone_into(&mut text);
    }
    let mut tokens = tokens::count(&text);
    if tokens > most {
        let kept = tokens::truncate(&text, most).len();
        text.truncate(kept);
        tokens = most;
    }
    (text, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_empty_and_the_endless_text_become_acceptable() {
        let cut = batches(vec![String::new(), " word".repeat(9000)], Limits::default());
        let [batch] = cut.as_slice() else { panic!("one batch") };
        assert_eq!(batch.texts[0], " ");
        assert_eq!(tokens::count(&batch.texts[1]), Limits::default().text_tokens);
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_every_limit(
            lengths in prop::collection::vec(1_usize..40, 0..60),
            texts in 1_usize..9,
            text_tokens in 1_u32..30,
            more in 0_u32..60,
        ) {
            let limits = Limits { texts, tokens: text_tokens + more, text_tokens };
            let given: Vec<String> = lengths.iter().map(|n| "word ".repeat(*n)).collect();
            let cut = batches(given.clone(), limits);
            for batch in &cut {
                prop_assert!((1..=limits.texts).contains(&batch.texts.len()));
                prop_assert!(batch.tokens <= limits.tokens);
                let counted: Vec<u32> = batch.texts.iter().map(|text| tokens::count(text)).collect();
                prop_assert!(counted.iter().all(|count| *count <= text_tokens), "{counted:?}");
            }
            for two in cut.windows(2) {
                let full = two[0].texts.len() == limits.texts;
                let next = tokens::count(&two[1].texts[0]);
                prop_assert!(full || two[0].tokens + next > limits.tokens, "not one too many");
            }
            let sent: Vec<String> = cut.into_iter().flat_map(|batch| batch.texts).collect();
            prop_assert_eq!(sent.len(), given.len());
            prop_assert!(sent.iter().zip(&given).all(|(sent, given)| given.starts_with(sent)));
        }
    }
}
