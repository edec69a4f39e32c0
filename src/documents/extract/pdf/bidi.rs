//! Right-to-left lines: from the order on the page to the order in which they are read and stored.
//!
//! A PDF knows where glyphs stand, not how a line is read. This undoes what the Unicode
//! bidirectional algorithm did for display, for one level of nesting: letters of Hebrew and Arabic
//! scripts are read from the right, words of other scripts and numbers inside them from the left.
//! Deeper nesting (a Hebrew quotation in an English one in a Hebrew line) comes out in wrong order.

use unicode_normalization::char::decompose_compatible;

/// How a piece of text behaves in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    RightToLeft,
    LeftToRight,
    Digit,
    /// Stands between digits of one number.
    Separator,
    Neutral,
}

/// A line from left to right, with what is needed to read it.
struct Visual<'a> {
    pieces: &'a [&'a str],
    classes: &'a [Class],
    /// Whether brackets are named by their shape and have to be turned.
    turned: bool,
}

/// Whether the text has a letter that is read from the right.
pub(super) fn is_right_to_left(text: &str) -> bool {
    text.chars().any(|c| class_of_char(c) == Class::RightToLeft)
}

/// Puts pieces that stand from left to right into reading order.
pub(super) fn logical(pieces: &[&str]) -> String {
    let classes: Vec<Class> = pieces.iter().map(|piece| class(piece)).collect();
    let read = |turned| Visual { pieces, classes: &classes, turned }.read();
    // Some producers name a bracket by its shape on the page, some by its meaning in the text.
    // Only the pairs on the line tell which.
    let plain = read(false);
    let lone = lone_brackets(&plain);
    if lone == 0 {
        return plain;
    }
    let turned = read(true);
    if lone_brackets(&turned) < lone { turned } else { plain }
}

impl Visual<'_> {
    fn read(&self) -> String {
        let mut out = String::new();
        if self.runs_leftwards() {
            self.read_leftwards(0, self.pieces.len(), &mut out);
        } else {
            self.read_rightwards(&mut out);
        }
        out
    }

    fn piece(&self, at: usize) -> &str {
        self.pieces.get(at).copied().unwrap_or_default()
    }

    fn is(&self, at: usize, class: Class) -> bool {
        self.classes.get(at) == Some(&class)
    }

    /// Which way the whole line runs: as its two ends do, or most of its letters if they differ.
    fn runs_leftwards(&self) -> bool {
        let is_letter = |class: &&Class| matches!(class, Class::RightToLeft | Class::LeftToRight);
        let first = self.classes.iter().find(is_letter);
        let last = self.classes.iter().rev().find(is_letter);
        let count = |wanted| self.classes.iter().filter(|class| **class == wanted).count();
        match (first, last) {
            (Some(first), Some(last)) if first == last => *first == Class::RightToLeft,
            _ => count(Class::RightToLeft) >= count(Class::LeftToRight),
        }
    }

    /// Reads `start..end` from its right end, with words of other scripts the other way.
    fn read_leftwards(&self, start: usize, mut end: usize, out: &mut String) {
        while end > start {
            let foreign = self.foreign_run(start, end);
            if foreign < end {
                (foreign..end).for_each(|at| out.push_str(self.piece(at)));
                end = foreign;
            } else {
                end -= 1;
                push_piece(out, self.piece(end), self.turned);
            }
        }
    }

    /// Reads a left-to-right line, with words of right-to-left scripts the other way.
    fn read_rightwards(&self, out: &mut String) {
        let mut at = 0;
        while at < self.pieces.len() {
            if !self.is(at, Class::RightToLeft) {
                out.push_str(self.piece(at));
                at += 1;
                continue;
            }
            let stop = (at..self.pieces.len()).find(|next| self.is(*next, Class::LeftToRight));
            let ahead = at..stop.unwrap_or(self.pieces.len());
            let last = ahead.rev().find(|next| self.is(*next, Class::RightToLeft)).unwrap_or(at);
            self.read_leftwards(at, last + 1, out);
            at = last + 1;
        }
    }

    /// Start of the foreign words or the one number that end before `end`; `end` without any.
    fn foreign_run(&self, start: usize, end: usize) -> usize {
        let mut found = end;
        let mut has_letters = false;
        for at in (start..end).rev() {
            match self.classes.get(at) {
                Some(Class::LeftToRight) => {
                    has_letters = true;
                    found = at;
                }
                Some(Class::Digit) => found = at,
                // The run neither begins nor ends with these, and a number stops at a space.
                Some(Class::Separator) if found < end => {}
                Some(Class::Neutral) if found < end && (has_letters || self.letter_before(at)) => {}
                _ => break,
            }
        }
        found
    }

    /// Whether the nearest letter left of `end` is a left-to-right one.
    fn letter_before(&self, end: usize) -> bool {
        let letter = |class: &&Class| matches!(class, Class::LeftToRight | Class::RightToLeft);
        let before = self.classes.get(..end).unwrap_or_default();
        before.iter().rev().find(letter) == Some(&Class::LeftToRight)
    }
}

/// How many round and square brackets lack a partner on the right side.
fn lone_brackets(text: &str) -> usize {
    let (mut open, mut lone) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' => open += 1,
            ')' | ']' if open == 0 => lone += 1,
            ')' | ']' => open -= 1,
            _ => {}
        }
    }
    lone + open
}

/// Class of a piece: that of its first telling character.
fn class(piece: &str) -> Class {
    let mut classes = piece.chars().map(class_of_char);
    classes.find(|class| *class != Class::Neutral).unwrap_or(Class::Neutral)
}

fn class_of_char(c: char) -> Class {
    match c {
        // Arabic-Indic digits stand from left to right like ours.
        '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => Class::Digit,
        '.' | ',' | ':' | '/' | '-' | '%' | '\u{66b}' | '\u{66c}' => Class::Separator,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => {
            Class::RightToLeft
        }
        c if c.is_numeric() => Class::Digit,
        c if c.is_alphabetic() => Class::LeftToRight,
        _ => Class::Neutral,
    }
}

/// Appends a piece of right-to-left text: presentation forms back to letters, brackets turned if
/// asked for.
fn push_piece(out: &mut String, piece: &str, turned: bool) {
    for c in piece.chars() {
        match c {
            '(' if turned => out.push(')'),
            ')' if turned => out.push('('),
            '[' if turned => out.push(']'),
            ']' if turned => out.push('['),
            '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' => {
                decompose_compatible(c, |letter| out.push(letter));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line as it stands on the page, character by character.
    fn read(line: &str) -> String {
        let pieces: Vec<String> = line.chars().map(String::from).collect();
        logical(&pieces.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn letters_from_the_right_and_numbers_from_the_left() {
        assert_eq!(read("םולש"), "שלום");
        assert_eq!(read(".(4.2 ףיעס) 25 אב"), "בא 25 (סעיף 4.2).");
        assert_eq!(read("20 10 ףיעס"), "סעיף 10 20");
        assert_eq!(read("U0 = 6 :ףיעס"), "סעיף: U0 = 6");
    }

    #[test]
    fn brackets_named_by_meaning_stay() {
        assert_eq!(read(".)4.2 ףיעס( אב"), "בא (סעיף 4.2).");
    }

    #[test]
    fn words_of_other_scripts_keep_their_order() {
        assert_eq!(read("בתכ John Smith 2 רמא"), "אמר John Smith 2 כתב");
        assert_eq!(read("The word םולש means peace"), "The word שלום means peace");
        assert_eq!(read("The words בוט םולש, see"), "The words שלום טוב, see");
    }

    #[test]
    fn presentation_forms_become_letters() {
        assert_eq!(read("\u{fefb}"), "لا");
        assert_eq!(read("\u{fee1}\u{fefc}\u{feb3}"), "سلام");
    }
}
