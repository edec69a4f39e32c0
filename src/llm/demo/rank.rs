//! Which sentences of the passages fit a question.
//!
//! Word overlap, weighted by how rare a word is among the sentences; related words ("Urlaub",
//! "Urlaubstage") count in part. A sentence under a heading that fits is worth a little more.

use std::collections::{BTreeMap, BTreeSet};

use super::passage::Passage;
use crate::text;

/// One quotable piece of a passage.
#[derive(Debug, Clone)]
pub(super) struct Sentence {
    /// The passage's number.
    pub(super) n: u32,
    /// The text, on one line, without list or table marks.
    pub(super) text: String,
    stems: BTreeSet<String>,
    heading: BTreeSet<String>,
}

/// The words of a question with what each is worth.
pub(super) struct Query {
    weights: BTreeMap<String, f64>,
}

/// Every sentence of every passage, in order. Headings are no sentences but lend their words.
pub(super) fn sentences(passages: &[Passage]) -> Vec<Sentence> {
    let mut all = Vec::new();
    for passage in passages {
        let mut heading = BTreeSet::new();
        for block in blocks(&passage.text) {
            if let Some(title) = block.strip_prefix('#') {
                heading = stems(title);
                continue;
            }
            for sentence in text::sentences(&block) {
                let text = tidy(sentence);
                if text.split_whitespace().count() >= 3 || text.chars().count() >= 12 {
                    let (stems, heading) = (stems(&text), heading.clone());
                    all.push(Sentence { n: passage.n, text, stems, heading });
                }
            }
        }
    }
    all
}

/// Paragraphs, and each heading, list item and table row by itself.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines().map(str::trim) {
        let alone = line.starts_with(['#', '|']);
        if line.is_empty() || alone || is_item(line) {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push(' ');
        }
        if alone {
            blocks.push(String::new());
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

fn is_item(line: &str) -> bool {
    let numbered = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with(["- ", "* ", "+ ", "• ", "– "].map(|mark| mark.chars().next().unwrap_or('-')))
        && line.chars().nth(1).is_some_and(char::is_whitespace)
        || numbered.len() < line.len() && numbered.starts_with([')', '.'])
}

/// One line of prose: no list marks, no table bars, nothing that could be taken for a citation.
fn tidy(sentence: &str) -> String {
    let sentence = sentence.trim().trim_start_matches(['-', '*', '+', '•', '–', '|', ' ']);
    let sentence =
        sentence.trim_end_matches(['|', ' ']).replace(['[', '{'], "(").replace([']', '}'], ")");
    let line = sentence.replace(" | ", " · ");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn stems(text: &str) -> BTreeSet<String> {
    text::words(text)
        .filter(|word| !text::is_stop_word(word))
        .map(|word| text::stem(&word).to_owned())
        .collect()
}

impl Query {
    /// Weighs the words of `question` against `sentences`: the rarer, the heavier.
    pub(super) fn new(question: &str, before: &str, sentences: &[Sentence]) -> Self {
        let mut asked: BTreeMap<String, f64> =
            stems(question).into_iter().map(|s| (s, 1.0)).collect();
        if asked.len() < 3 {
            for stem in stems(before) {
                asked.entry(stem).or_insert(0.4);
            }
        }
        let weigh = |(stem, share): (String, f64)| {
            let holding = sentences.iter().filter(|sentence| sentence.holds(&stem) > 0.5).count();
            let rarity = (1.0 + sentences.len() as f64 / (1.0 + holding as f64)).ln();
            (stem, share * rarity)
        };
        Self { weights: asked.into_iter().map(weigh).collect() }
    }

    /// What all words together are worth.
    pub(super) fn total(&self) -> f64 {
        self.weights.values().sum()
    }

    /// What `sentence` says of the question. Words in `said` already count for a third: the next
    /// sentence should add something.
    pub(super) fn score(&self, sentence: &Sentence, said: &BTreeSet<String>) -> f64 {
        let worth = |(stem, weight): (&String, &f64)| {
            let news = if said.contains(stem) { 0.34 } else { 1.0 };
            let held = sentence.holds(stem);
            let above = if sentence.heading.contains(stem) { 0.4 } else { 0.0 };
            weight * news * f64::max(held, above)
        };
        self.weights.iter().map(worth).sum()
    }

    /// The words of the question that `sentence` holds.
    pub(super) fn held<'a>(&'a self, sentence: &'a Sentence) -> impl Iterator<Item = &'a String> {
        self.weights.keys().filter(|stem| sentence.holds(stem) > 0.5)
    }
}

impl Sentence {
    pub(super) fn words(&self) -> usize {
        // Scripts without spaces: about two characters make a word.
        self.text.split_whitespace().count().max(self.text.chars().count() / 12)
    }

    /// 1 for the word itself, less for a relative, 0 for a stranger.
    fn holds(&self, stem: &str) -> f64 {
        if self.stems.contains(stem) {
            return 1.0;
        }
        let related = |other: &String| is_related(stem, other);
        if self.stems.iter().any(related) { 0.6 } else { 0.0 }
    }
}

/// Two forms or compounds of one word: one begins or ends the other, or they share a beginning of
/// five letters that is most of the shorter one.
fn is_related(a: &str, b: &str) -> bool {
    let (shorter, longer) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let letters = shorter.chars().count();
    if letters >= 4 && (longer.starts_with(shorter) || longer.ends_with(shorter)) {
        return true;
    }
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    common >= 5 && common * 4 >= letters * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences_of(text: &str) -> Vec<Sentence> {
        sentences(&[Passage { n: 1, text: text.to_owned() }])
    }

    #[test]
    fn lists_tables_and_wrapped_lines_come_apart() {
        let text = "# Leave\nEmployees get 25\ndays a year. More after ten years.\n\n- one item here\n\
                    2. second item [4] here\n| Year | Days off | Note it |\n|---|---|---|";
        let found: Vec<_> = sentences_of(text).into_iter().map(|s| s.text).collect();
        assert_eq!(
            found,
            [
                "Employees get 25 days a year.",
                "More after ten years.",
                "one item here",
                "2. second item (4) here",
                "Year · Days off · Note it",
            ]
        );
    }

    #[test]
    fn the_better_sentence_scores_higher() {
        let all = sentences_of(
            "Each employee has 25 vacation days. The office opens at nine. Lunch is free on days.",
        );
        let query = Query::new("How many vacation days do I get?", "", &all);
        let score = |at: usize| query.score(&all[at], &BTreeSet::new());
        assert!(score(0) > score(2) && score(2) > score(1));
        assert!(score(1) < 0.01);
        assert!(score(0) > 0.9 * query.total());
    }

    #[test]
    fn related_words_count_in_part() {
        assert!(is_related("urlaub", "urlaubstag"));
        assert!(is_related("cancel", "cancellation"));
        assert!(is_related("auth", "authentication"));
        assert!(is_related("frist", "kündigungsfrist"));
        assert!(is_related("remotel", "remot"));
        assert!(!is_related("contract", "control"));
        assert!(!is_related("day", "days"));
    }
}
