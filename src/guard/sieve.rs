//! One filter and a text that comes in pieces. What it lets through is the same however the text is cut.
//!
//! By definition a match at a place is what the pattern matches within [`WINDOW`] bytes from there. A place
//! is decided as soon as nothing that follows can change that, and no later than when the window is full.

use super::definition::Action;
use super::pattern::{Pattern, WINDOW};
use regex_automata::hybrid::dfa::Cache;
use std::ops::Range;
use std::sync::Arc;

/// What passed, and whether the text ends there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) text: String,
    /// A match was found that blocks: nothing passes any more.
    pub(super) blocked: bool,
}

pub(super) struct Sieve {
    pattern: Arc<Pattern>,
    action: Action,
    /// What a match is replaced with.
    replacement: Arc<str>,
    memory: Cache,
    /// A character of what is decided, where there is one, and what is not.
    text: String,
    /// Where that begins.
    from: usize,
}

impl Sieve {
    pub(super) fn new(pattern: Arc<Pattern>, action: Action, replacement: Arc<str>) -> Self {
        let memory = pattern.memory();
        Self { pattern, action, replacement, memory, text: String::new(), from: 0 }
    }

    /// More of the text.
    pub(super) fn push(&mut self, mut more: &str) -> Passed {
        let mut passed = Passed::default();
        while !more.is_empty() && !passed.blocked {
            let room = WINDOW.saturating_sub(self.held().len());
            let (piece, rest) = more.split_at(more.floor_char_boundary(room));
            if piece.is_empty() {
                self.decide_first(&mut passed);
            } else {
                self.text.push_str(piece);
                more = rest;
            }
            self.decide(false, &mut passed);
        }
        self.forget();
        passed
    }

    /// The text has ended. What follows is another one.
    pub(super) fn finish(&mut self) -> Passed {
        let mut passed = Passed::default();
        self.decide(true, &mut passed);
        self.text.clear();
        self.from = 0;
        passed
    }

    /// What is held back.
    pub(super) fn held(&self) -> &str {
        self.text.get(self.from..).unwrap_or_default()
    }

    /// Decides all that can be decided; everything, when nothing follows.
    fn decide(&mut self, ended: bool, passed: &mut Passed) {
        let mut open = self.from;
        while !passed.blocked {
            if open <= self.from {
                open = match ended {
                    true => self.text.len(),
                    false => self.pattern.undecided(&mut self.memory, &self.text, self.from),
                };
            }
            match self.pattern.find(&self.text, self.from).filter(|found| found.start < open) {
                Some(found) => self.apply(found, passed),
                None => {
                    self.pass(open, passed);
                    break;
                }
            }
        }
    }

    /// The window is full: the first place is decided by what is in it.
    fn decide_first(&mut self, passed: &mut Passed) {
        match self.pattern.find_at(&self.text, self.from) {
            Some(found) => self.apply(found, passed),
            None => {
                let first = self.held().chars().next().map_or(0, char::len_utf8);
                self.pass(self.from + first, passed);
            }
        }
    }

    fn apply(&mut self, found: Range<usize>, passed: &mut Passed) {
        self.pass(found.start, passed);
        self.from = found.end;
        match self.action {
            Action::Block => passed.blocked = true,
            Action::Redact => passed.text.push_str(&self.replacement),
        }
    }

    fn pass(&mut self, to: usize, passed: &mut Passed) {
        passed.text.push_str(self.text.get(self.from..to).unwrap_or_default());
        self.from = to;
    }

    /// Of what is decided the last character stays: `^` and `\b` look at it.
    fn forget(&mut self) {
        let before = self.text.get(..self.from).unwrap_or_default();
        let kept = before.char_indices().next_back().map_or(0, |(at, _)| at);
        self.text.drain(..kept);
        self.from -= kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn compiled(pattern: &str) -> Arc<Pattern> {
        Arc::new(Pattern::compile(pattern).unwrap())
    }

    fn passed<'a>(
        pattern: &Arc<Pattern>,
        action: Action,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> String {
        let mut sieve = Sieve::new(Arc::clone(pattern), action, "[x]".into());
        let mut text = String::new();
        for piece in pieces {
            let passed = sieve.push(piece);
            assert!(sieve.held().len() <= WINDOW);
            text.push_str(&passed.text);
            if passed.blocked {
                return text + "!";
            }
        }
        let end = sieve.finish();
        text + &end.text + if end.blocked { "!" } else { "" }
    }

    #[test]
    fn what_is_no_beginning_of_a_match_is_not_held_back() {
        let mut sieve = Sieve::new(compiled(r"\bsecret\b"), Action::Redact, "[x]".into());
        assert_eq!(sieve.push("Ein für alle Mal: ").text, "Ein für alle Mal: ");
        assert_eq!(sieve.push("sec").text, "");
        assert_eq!(sieve.held(), "sec");
        assert_eq!(sieve.push("tion").text, "section");
        assert_eq!((sieve.push(" secret").text.as_str(), sieve.held()), (" ", "secret"));
        assert_eq!(sieve.push("s ").text, "secrets ");
        assert_eq!(sieve.push("secret").text, "");
        assert_eq!(sieve.finish().text, "[x]");
    }

    #[test]
    fn a_match_that_might_go_on_for_ever_ends_with_the_window() {
        let text = format!("<{}> ", "a".repeat(3 * WINDOW));
        let filtered = passed(&compiled("<a+>?"), Action::Redact, [text.as_str()]);
        assert_eq!(filtered, format!("[x]{}> ", "a".repeat(2 * WINDOW + 1)));
        let filtered = passed(&compiled("<a+>"), Action::Redact, [text.as_str()]);
        assert_eq!(filtered, text, "too long to be one");
    }

    /// Patterns whose matches fit the window, some of which look at what is around them.
    const BOUNDED: [&str; 14] = [
        "ab",
        "a{1,3}",
        "a{2,4}?b",
        "ab|abc|b",
        "abc|ab",
        r"\bab\b",
        r"ab\b|abc",
        r"^a|b$",
        r"(?m)^a|b$",
        r"(?m)\bä{1,3}$",
        "é.{0,3}b",
        r"\Ba|b\B",
        r"(?i)É[ab]{2,8}",
        r"(?R)(?m)a$",
    ];
    /// Others.
    const UNBOUNDED: [&str; 4] = ["a+", r"a[^b]*b", r"(?s)é.*", r"\w+\b$"];

    /// Any cuts of a text.
    fn pieces<'a>(text: &'a str, cuts: &[usize]) -> Vec<&'a str> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(*cut)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pairs = at.iter().zip(at.iter().skip(1));
        pairs.map(|(from, to)| text.get(*from..*to).unwrap()).collect()
    }

    type Compiled = (Arc<Pattern>, regex::Regex);

    fn all(patterns: &[&str]) -> Vec<Compiled> {
        let both = |pattern: &&str| (compiled(pattern), regex::Regex::new(pattern).unwrap());
        patterns.iter().map(both).collect()
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_the_same_passes(
            text in "[abcä\u{e9}É \r\n]{0,60}",
            cuts in prop::collection::vec(0usize..80, 0..40),
        ) {
            static PATTERNS: LazyLock<Vec<Compiled>> = LazyLock::new(|| all(&BOUNDED));
            for (pattern, usual) in PATTERNS.iter() {
                let cut = passed(pattern, Action::Redact, pieces(&text, &cuts));
                prop_assert_eq!(&cut, &usual.replace_all(&text, "[x]"), "{} {:?}", usual, text);
                let found = usual.find(&text);
                let whole = found.map_or(text.clone(), |at| format!("{}!", text.split_at(at.start()).0));
                let cut = passed(pattern, Action::Block, pieces(&text, &cuts));
                prop_assert_eq!(cut, whole, "{} {:?}", usual, text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn however_a_long_text_is_cut_the_same_passes(
            words in prop::collection::vec(("[abä ]{1,4}", 1usize..700), 1..6),
            cuts in prop::collection::vec(0usize..5_000, 0..30),
        ) {
            static PATTERNS: LazyLock<Vec<Compiled>> = LazyLock::new(|| all(&UNBOUNDED));
            let text: String = words.iter().map(|(word, n)| word.repeat(*n)).collect();
            for (pattern, usual) in PATTERNS.iter() {
                let whole = passed(pattern, Action::Redact, [text.as_str()]);
                let cut = passed(pattern, Action::Redact, pieces(&text, &cuts));
                prop_assert_eq!(cut, whole, "{}", usual);
            }
        }
    }
}
