//! The built-in embedder: hashed words, word pairs and letter groups.
//!
//! No model, no download, the same vector on every machine: integer hashing, and floating point
//! only in operations that IEEE 754 defines exactly (no logarithm), summed in a fixed order.
//! Nearness means shared words and shared parts of words, so that "Urlaub" finds "Urlaubstage" and
//! a typing error does little harm. Deliberately absent: meaning. Synonyms are strangers here.

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{EmbedError, Embedded, Embedder};
use crate::text;

const DIMENSIONS: usize = 384;
/// Above this a call leaves the async thread: about a millisecond of work.
const INLINE_BYTES: usize = 8 * 1024;

const WORD: f32 = 1.0;
/// A word that is grammar.
const STOP: f32 = 0.12;
/// Two content words side by side.
const PAIR: f32 = 0.5;
/// All letter groups of one word together.
const GROUPS: f32 = 0.9;

/// 384 dimensions, deterministic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hashed;

impl Embedder for Hashed {
    fn name(&self) -> &str {
        "hashed-ngram-384"
    }

    fn is_built_in(&self) -> bool {
        true
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        async move {
            if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
                return Ok(embed_all(&texts));
            }
            let work = tokio::task::spawn_blocking(move || embed_all(&texts));
            work.await.map_err(|error| EmbedError::Internal { detail: error.to_string() })
        }
        .boxed()
    }
}

fn embed_all(texts: &[String]) -> Embedded {
    Embedded {
        vectors: texts.iter().map(|text| vector(text)).collect(),
        tokens: texts.iter().map(|text| u64::from(text::tokens::count(text))).sum(),
        // Nobody bills more precisely than the provider, which is us.
        exact: true,
    }
}

/// The vector of one text; of length 1 even for an empty text, which gets a direction of its own
/// (a zero vector has no cosine).
fn vector(text: &str) -> Vec<f32> {
    let mut features = features(text);
    if features.is_empty() {
        features.push((hash(b"nothing", 0), 1.0));
    }
    // Sorted, so that equal features meet and sums do not depend on anything but the text.
    features.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut vector = vec![0.0_f32; DIMENSIONS];
    for same in features.chunk_by(|a, b| a.0 == b.0) {
        let (Some((feature, weight)), times) = (same.first(), same.len()) else {
            continue;
        };
        // The square root damps repetition as a logarithm would, and is exact everywhere.
        let value = weight * (times as f32).sqrt();
        if let Some(slot) = vector.get_mut(slot(*feature)) {
            *slot += if feature >> 63 == 0 { value } else { -value };
        }
    }
    normalize(&mut vector);
    vector
}

/// Hash and weight of each feature, with repetitions.
fn features(text: &str) -> Vec<(u64, f32)> {
    let mut features = Vec::new();
    let mut before: Option<String> = None;
    for word in text::words(text) {
        let stem = text::stem(&word);
        if text::is_stop_word(&word) {
            features.push((hash(stem.as_bytes(), 1), STOP));
            // A pair may span grammar: "days of vacation" is "days vacation".
            continue;
        }
        features.push((hash(stem.as_bytes(), 1), WORD));
        if let Some(before) = &before {
            features.push((hash(format!("{before} {stem}").as_bytes(), 2), PAIR));
        }
        letter_groups(&word, &mut features);
        before = Some(stem.to_owned());
    }
    features
}

/// Groups of 3 to 5 letters of the word between its boundaries. Their weights together are the
/// same for a short and a long word.
fn letter_groups(word: &str, features: &mut Vec<(u64, f32)>) {
    let bounded = format!("^{word}$");
    let starts: Vec<usize> =
        bounded.char_indices().map(|(at, _)| at).chain([bounded.len()]).collect();
    let groups: Vec<&str> = (3..=5)
        .flat_map(|size| starts.iter().zip(starts.iter().skip(size)))
        .filter_map(|(from, to)| bounded.get(*from..*to))
        .collect();
    let weight = GROUPS / (groups.len() as f32).sqrt();
    features.extend(groups.iter().map(|group| (hash(group.as_bytes(), 3), weight)));
}

/// FNV-1a with a seed per kind of feature, and a final mix (its low bits alone are weak).
fn hash(bytes: &[u8], kind: u64) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ kind, step);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn slot(feature: u64) -> usize {
    usize::try_from(feature % DIMENSIONS as u64).unwrap_or(0)
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    } else if let Some(first) = vector.first_mut() {
        // Features that cancel out exactly.
        *first = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: &str, b: &str) -> f32 {
        vector(a).iter().zip(vector(b)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn related_texts_are_nearer_than_strangers() {
        let passage = "Full-time employees are entitled to 25 days of paid vacation per year.";
        let stranger = "The server room is locked at night and guarded by two cameras.";
        for question in [
            "How many vacation days do I get?",
            "vacation entitlement of employees",
            "vaccation days", // a typing error
        ] {
            assert!(near(question, passage) > near(question, stranger) + 0.1, "{question}");
        }
        let german = "Mitarbeitende haben Anspruch auf 28 Urlaubstage.";
        assert!(near("Wie viel Urlaub habe ich?", german) > 0.1);
        assert!(near("Wie viel Urlaub habe ich?", stranger) < 0.1);
        assert!(
            near("休暇は何日ですか", "有給休暇は二十日です")
                > near("休暇は何日ですか", stranger) + 0.1
        );
    }

    #[test]
    fn the_vector_is_the_same_everywhere_and_forever() {
        // Changing this orphans every stored vector: rename the embedder then.
        let bits = |text: &str| {
            let bytes: Vec<u8> = vector(text).iter().flat_map(|v| v.to_le_bytes()).collect();
            hash(&bytes, 0)
        };
        assert_eq!(bits("Hello, wide world! Hello. Über die Tage: 休暇."), GOLDEN_HELLO);
        assert_eq!(bits(""), GOLDEN_EMPTY);
    }

    const GOLDEN_HELLO: u64 = 636_062_019_829_373_518;
    const GOLDEN_EMPTY: u64 = 9_393_653_222_860_580_086;

    #[tokio::test]
    async fn large_and_small_calls_agree() {
        let texts = vec!["vacation days ".repeat(1000), String::new()];
        let embedded = Hashed.embed(texts.clone()).await.unwrap();
        assert_eq!(embedded, embed_all(&texts));
        assert_eq!(embedded.vectors.len(), 2);
        assert!(embedded.tokens >= 2000 && embedded.exact);
    }

    proptest! {
        #[test]
        fn every_vector_has_length_one(text in "\\PC{0,80}") {
            let vector = vector(&text);
            prop_assert_eq!(vector.len(), DIMENSIONS);
            let length: f32 = vector.iter().map(|v| v * v).sum();
            prop_assert!((length - 1.0).abs() < 1e-3, "{}", length);
        }
    }
}
