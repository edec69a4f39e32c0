//! The demo's answer: the best sentences, each with its citation, and a word about who speaks.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{
    passage::Prompt,
    rank::{Query, Sentence, sentences},
};

/// Words of the passages in one answer, at most.
const MAX_WORDS: usize = 120;
/// An answer is filled up to about here with what follows its best sentence.
const ENOUGH_WORDS: usize = 60;
const MAX_SENTENCES: usize = 4;
/// Share of the question's weight that the best sentence must hold to be an answer at all.
const FIT: f64 = 0.25;
/// Share of the best score that a further sentence must reach.
const WORTH_ADDING: f64 = 0.45;

const SIGNATURE: &str = "*This is docent's built-in demo model: no language model is configured, \
                         so it quotes the passages that fit best.*";
const NOTHING: &str = "The documents do not hold an answer to this question.";

/// Beginnings of words that ask for an overview, which no overlap of words can find.
const OVERVIEW: &[&str] =
    &["summar", "overview", "zusammenfass", "überblick", "resum", "résum", "riassu", "samenvat"];

/// Composes the answer in Markdown.
pub(super) fn compose(prompt: &Prompt) -> String {
    let all = sentences(&prompt.passages);
    let chosen = if is_overview(&prompt.question) { overview(&all) } else { choose(prompt, &all) };
    match chosen.as_slice() {
        [] => format!("{NOTHING}\n\n{SIGNATURE}"),
        [only] => format!("{}\n\n{SIGNATURE}", cited(only)),
        several => {
            let items: String = several.iter().map(|one| format!("- {}\n", cited(one))).collect();
            format!("Here is what the documents say:\n\n{items}\n{SIGNATURE}")
        }
    }
}

fn cited(sentence: &Sentence) -> String {
    format!("{} [{}]", sentence.text, sentence.n)
}

fn is_overview(question: &str) -> bool {
    crate::text::words(question)
        .any(|word| OVERVIEW.iter().any(|beginning| word.starts_with(beginning)))
}

/// The first sentence of each passage, as many as fit.
fn overview(all: &[Sentence]) -> Vec<&Sentence> {
    let mut seen = BTreeSet::new();
    let mut chosen = Vec::new();
    for sentence in all.iter().filter(|sentence| seen.insert(sentence.n)) {
        add(&mut chosen, sentence);
    }
    chosen
}

/// The sentences that together say most about the question, in reading order, the best one's
/// passage first. Empty when nothing fits.
fn choose<'a>(prompt: &Prompt, all: &'a [Sentence]) -> Vec<&'a Sentence> {
    let query = Query::new(&prompt.question, &prompt.before, all);
    let mut said = BTreeSet::new();
    let mut chosen: Vec<&Sentence> = Vec::new();
    let mut best = 0.0;
    let mut left: Vec<&Sentence> = all.iter().collect();
    while !left.is_empty() {
        let scores: Vec<f64> = left.iter().map(|one| query.score(one, &said)).collect();
        // The first of equals: passages come best first.
        let top = scores.iter().copied().enumerate().rev().max_by(|a, b| compare(a.1, b.1));
        let Some((at, score)) = top else { break };
        let bar = if chosen.is_empty() { FIT * query.total() } else { WORTH_ADDING * best };
        if score <= 0.0 || score < bar {
            break;
        }
        best = f64::max(best, score);
        let sentence = left.remove(at);
        if chosen.iter().all(|other| other.text != sentence.text) {
            said.extend(query.held(sentence).cloned());
            add(&mut chosen, sentence);
        }
    }
    fill(&mut chosen, all);
    in_reading_order(chosen, all)
}

fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// Adds a sentence if the answer has room. The first always has, cut short if it is a page long.
fn add<'a>(chosen: &mut Vec<&'a Sentence>, sentence: &'a Sentence) {
    let words: usize = chosen.iter().map(|sentence| sentence.words()).sum();
    if chosen.is_empty() || chosen.len() < MAX_SENTENCES && words + sentence.words() <= MAX_WORDS {
        chosen.push(sentence);
    }
}

/// A terse answer gets the sentences that follow its best one in the same passage.
fn fill<'a>(chosen: &mut Vec<&'a Sentence>, all: &'a [Sentence]) {
    let Some(best) = chosen.first().copied() else {
        return;
    };
    let follow = all.iter().skip_while(|one| !std::ptr::eq(*one, best)).skip(1);
    for next in follow.take_while(|one| one.n == best.n).take(3) {
        let words: usize = chosen.iter().map(|sentence| sentence.words()).sum();
        if words >= ENOUGH_WORDS {
            return;
        }
        if !chosen.iter().any(|one| std::ptr::eq(*one, next)) {
            add(chosen, next);
        }
    }
}

fn in_reading_order<'a>(mut chosen: Vec<&'a Sentence>, all: &'a [Sentence]) -> Vec<&'a Sentence> {
    let best = chosen.first().map_or(0, |sentence| sentence.n);
    let place = |one: &&Sentence| all.iter().position(|other| std::ptr::eq(other, *one));
    chosen.sort_by_key(|one| (one.n != best, place(one)));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{ChatMessage, Role};

    const HANDBOOK: &str = "You answer from passages.\n\
        <passage n=\"1\" file=\"handbook.pdf\" page=\"3\">\n# Vacation\nFull-time employees have 25 \
        vacation days a year. Unused days expire on 31 March. Requests go to your manager, e.g. by \
        e-mail.\n</passage>\n\
        <passage n=\"2\" file=\"handbook.pdf\" page=\"7-8\">\n# Notice\nThe notice period is three \
        months. During probation it is two weeks.\n</passage>\n\
        <passage n=\"3\" file=\"urlaub.pdf\" page=\"1\">\nMitarbeitende haben 28 Urlaubstage im \
        Jahr. Der Antrag wird schriftlich gestellt.\n</passage>";

    fn ask(question: &str) -> String {
        compose(&Prompt::read(&[
            ChatMessage::new(Role::System, HANDBOOK),
            ChatMessage::new(Role::User, question),
        ]))
    }

    #[test]
    fn quotes_the_sentence_that_fits_with_its_citation() {
        let answer = ask("How many vacation days do employees get per year?");
        assert!(
            answer.contains("- Full-time employees have 25 vacation days a year. [1]"),
            "{answer}"
        );
        assert!(answer.ends_with(SIGNATURE) && answer.starts_with("Here is"), "{answer}");
        let answer = ask("What is the notice period?");
        assert!(answer.contains("The notice period is three months. [2]"), "{answer}");
        assert!(!answer.contains("[1]"), "{answer}");
        let answer = ask("Wie viel Urlaub habe ich im Jahr?");
        assert!(answer.contains("28 Urlaubstage im Jahr. [3]"), "{answer}");
    }

    #[test]
    fn says_so_when_nothing_fits() {
        for question in ["What is the capital of France?", "Who won the cup in 1998?", "the", ""] {
            let answer = ask(question);
            assert_eq!(answer, format!("{NOTHING}\n\n{SIGNATURE}"), "{question}");
        }
        let alone = Prompt::read(&[ChatMessage::new(Role::User, "vacation?")]);
        assert!(compose(&alone).starts_with(NOTHING));
    }

    #[test]
    fn an_overview_takes_from_every_passage() {
        let answer = ask("Please summarise the handbook");
        assert!(["[1]", "[2]", "[3]"].iter().all(|n| answer.contains(n)), "{answer}");
    }

    #[test]
    fn a_follow_up_leans_on_the_question_before() {
        let messages = [
            ChatMessage::new(Role::System, HANDBOOK),
            ChatMessage::new(Role::User, "What is the notice period?"),
            ChatMessage::new(Role::Assistant, "Three months [2]"),
            ChatMessage::new(Role::User, "And during probation?"),
        ];
        let answer = compose(&Prompt::read(&messages));
        assert!(answer.contains("During probation it is two weeks. [2]"), "{answer}");
    }

    #[test]
    fn every_sentence_is_from_a_passage_and_the_answer_is_bounded() {
        let long: String =
            (0..400).map(|n| format!("Vacation rule {n} says something. ")).collect();
        let content = format!("<passage n=\"7\" file=\"a\" page=\"1\">\n{long}\n</passage>");
        let answer = compose(&Prompt::read(&[
            ChatMessage::new(Role::System, content),
            ChatMessage::new(Role::User, "vacation rule"),
        ]));
        let quoted: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("- ")).collect();
        assert_eq!(quoted.len(), MAX_SENTENCES);
        for line in quoted {
            assert!(long.contains(line.strip_suffix(" [7]").unwrap()), "{line}");
        }
    }
}
