//! A regular expression that is looked for in text which is still being written.
//!
//! Two automata are made of it. One finds matches. The other one tells whether a match that begins at a place
//! may still begin, grow or fail with what is written next: when it is dead, the case is decided: of a match it knows two bytes after its end.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::start;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Capture, Hir, HirKind, Repetition};
use std::ops::Range;

/// The longest match, and so the most of an answer that one filter holds back, in bytes.
pub const WINDOW: usize = 1024;
/// The longest pattern, in bytes.
const LONGEST: usize = 1_000;
/// The most bytes that a compiled pattern may have.
const SIZE: usize = 512 * 1024;
/// What the second automaton may remember, in bytes; beyond, it begins anew.
const MEMORY: usize = 256 * 1024;

/// A compiled pattern. Its matches are never empty.
#[derive(Debug)]
pub(super) struct Pattern {
    search: Regex,
    growth: DFA,
}

impl Pattern {
    /// Compiles it; the error is the end of a sentence that begins with the name of its field.
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() || pattern.len() > LONGEST || pattern.contains('\0') {
            return Err(format!("is a regular expression of 1 to {LONGEST} bytes"));
        }
        let hir = regex_syntax::parse(pattern).map_err(|error| match error {
            regex_syntax::Error::Parse(error) => format!("is not understood: {}", error.kind()),
            regex_syntax::Error::Translate(error) => format!("is not understood: {}", error.kind()),
            _ => "is not understood".into(),
        })?;
        if hir.properties().minimum_len() == Some(0) {
            return Err("matches the empty text".into());
        }
        let large = "is too large: repeat less, or say (?-u) where letters are ASCII";
        let growth = growth(&hir).ok_or(large)?;
        let config = Regex::config().nfa_size_limit(Some(SIZE)).onepass_size_limit(Some(SIZE));
        let config = config.hybrid_cache_capacity(MEMORY);
        let search = Regex::builder().configure(config).build_from_hir(&hir);
        Ok(Self { search: search.map_err(|_too_large| large)?, growth })
    }

    /// What [`Pattern::undecided`] remembers between calls.
    pub(super) fn memory(&self) -> Cache {
        self.growth.create_cache()
    }

    /// The first match that begins at `from` or later.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<Range<usize>> {
        self.search.find(Input::new(text).range(from..)).map(|found| found.range())
    }

    /// The match that begins exactly there.
    pub(super) fn find_at(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let input = Input::new(text).range(from..).anchored(Anchored::Yes);
        self.search.find(input).map(|found| found.range())
    }

    /// The first place, at `from` or later, of which it depends on what follows whether and how a match
    /// begins there; the end of the text when there is none.
    pub(super) fn undecided(&self, memory: &mut Cache, text: &str, from: usize) -> usize {
        let rest = text.get(from..).unwrap_or_default();
        let open = rest
            .char_indices()
            .find(|(at, _)| self.is_open(memory, rest.as_bytes().get(*at..).unwrap_or_default()));
        open.map_or(text.len(), |(at, _)| from + at)
    }

    fn is_open(&self, memory: &mut Cache, text: &[u8]) -> bool {
        let anchored = start::Config::new().anchored(Anchored::Yes);
        let Ok(mut state) = self.growth.start_state(memory, &anchored) else { return true };
        for byte in text {
            match self.growth.next_state(memory, state, *byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) => state = next,
                Err(_gave_up) => return true,
            }
        }
        true
    }
}

/// Dead where no match can change any more. Assertions are left out, and with them the order of
/// alternatives: what lives longer than it has to is held back longer, and nothing is overlooked.
fn growth(hir: &Hir) -> Option<DFA> {
    let asserts = !hir.properties().look_set().is_empty();
    let kind = if asserts { MatchKind::All } else { MatchKind::LeftmostFirst };
    let size = thompson::Config::new().nfa_size_limit(Some(SIZE));
    let nfa = thompson::Compiler::new().configure(size).build_from_hir(&plain(hir)).ok()?;
    let config = DFA::config().match_kind(kind).cache_capacity(MEMORY);
    DFA::builder().configure(config.skip_cache_capacity_check(true)).build_from_nfa(nfa).ok()
}

/// The same without assertions.
fn plain(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(_) => Hir::empty(),
        HirKind::Capture(Capture { sub, .. }) => plain(sub),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(plain(&repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(plain).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(plain).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pattern: &str) -> String {
        Pattern::compile(pattern).unwrap_err()
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_with_a_reason() {
        assert!(refused("").contains("1 to 1000 bytes"));
        assert!(refused(&"x".repeat(1_001)).contains("1 to 1000 bytes"));
        assert_eq!(refused("(a"), "is not understood: unclosed group");
        assert!(refused(r"(a)\1").contains("backreferences are not supported"));
        assert!(refused("(?=a)").contains("look-around"));
        assert_eq!(refused("a*"), "matches the empty text");
        assert_eq!(refused(r"\b"), "matches the empty text");
        assert!(refused(r"\w{500}").contains("too large"));
        assert!(refused(r"((a{100}){100}){100}").contains("too large"));
        for usual in [
            r"[\w.+-]+@[\w-]+(\.[\w-]+)+",
            r"\b[A-Z]{2}\d{2}( ?[0-9A-Z]{4}){3,7}( ?[0-9A-Z]{1,3})?\b",
            r"(?i)\b(project|operation)\s+nightfall\b",
            r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
        ] {
            Pattern::compile(usual).unwrap();
        }
    }

    #[test]
    fn only_what_may_become_a_match_is_undecided() {
        let undecided = |pattern: &str, text: &str| {
            let pattern = Pattern::compile(pattern).unwrap();
            pattern.undecided(&mut pattern.memory(), text, 0)
        };
        assert_eq!(undecided("secret", "no se"), 3);
        assert_eq!(undecided("secret", "no sea "), 7);
        assert_eq!(undecided("secret", "secret. "), 8, "it is decided that it is one");
        assert_eq!(undecided(r"\d+", "in 19"), 3, "it may grow");
        assert_eq!(undecided(r"\bsecret\b", "für die s"), 9, "ü is no secret");
        assert_eq!(undecided(r"foo\b|foobar", "foob"), 0);
        assert_eq!(undecided("<a>.*?</a>", "<a>b</a>cd"), 10);
    }
}
