//! A question that has been checked once, at the edge; below it nobody checks again.

use thiserror::Error;

/// The text of a question: trimmed, not empty, at most [`Question::MAX_CHARS`] characters, no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(String);

/// Why a text is not a question.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuestionError {
    #[error("`text` is empty: write a question")]
    Empty,
    #[error("`text` has {0} characters: at most {max} are taken", max = Question::MAX_CHARS)]
    TooLong(usize),
}

impl Question {
    /// The longest question taken, in characters.
    pub const MAX_CHARS: usize = 16_000;

    /// Checks a text. Control characters other than line breaks and tabs are dropped: PostgreSQL
    /// cannot hold NUL and no model wants the others.
    ///
    /// # Errors
    /// When nothing is left of it, or too much.
    pub fn parse(raw: &str) -> Result<Self, QuestionError> {
        let text: String =
            raw.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        let text = text.trim();
        match text.chars().count() {
            0 => Err(QuestionError::Empty),
            n if n > Self::MAX_CHARS => Err(QuestionError::TooLong(n)),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A title for a conversation that begins with this question: its first line, cut at a word
    /// near 60 characters.
    #[must_use]
    pub fn title(question: &str) -> String {
        const LONGEST: usize = 60;
        let line = question.lines().next().unwrap_or_default().trim();
        if line.chars().count() <= LONGEST {
            return line.to_owned();
        }
        let cut: String = line.chars().take(LONGEST).collect();
        let cut = cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head);
        format!("{cut}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_and_drops_what_cannot_be_stored() {
        assert_eq!(Question::parse("  a\0b\u{7}\nc ").unwrap().as_str(), "ab\nc");
        assert_eq!(Question::parse(" \0 "), Err(QuestionError::Empty));
        let long = "x".repeat(Question::MAX_CHARS + 1);
        assert_eq!(Question::parse(&long), Err(QuestionError::TooLong(Question::MAX_CHARS + 1)));
    }

    #[test]
    fn a_title_ends_at_a_word() {
        let title = Question::title(&"word ".repeat(40));
        assert!(title.ends_with("word…") && title.chars().count() <= 61);
        assert_eq!(Question::title("Short?\nMore"), "Short?");
    }
}
