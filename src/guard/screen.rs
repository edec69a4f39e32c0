//! All output filters of an answer, one after the other: each sees what the one before lets through.

use super::rules::Blocked;
use super::sieve::Sieve;
use std::sync::Arc;

/// A filter, and what the reader is told when it blocks.
pub(super) type Stage = (Sieve, Arc<str>);

/// An answer's text passes through this.
pub struct Screen {
    stages: Vec<Stage>,
    blocked: Option<Blocked>,
}

impl Screen {
    pub(super) fn new(stages: Vec<Stage>) -> Self {
        Self { stages, blocked: None }
    }

    /// More of the text; returns what may be shown.
    pub fn push(&mut self, text: &str) -> String {
        self.run(text, false)
    }

    /// The text ends here: returns the rest of it.
    pub fn finish(&mut self) -> String {
        self.run("", true)
    }

    /// What is held back.
    #[must_use]
    pub fn held(&self) -> String {
        self.stages.iter().rev().map(|(sieve, _)| sieve.held()).collect()
    }

    /// Why nothing is shown any more.
    #[must_use]
    pub fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    fn run(&mut self, text: &str, ended: bool) -> String {
        if self.blocked.is_some() {
            return String::new();
        }
        let (shown, blocked) = pass(&mut self.stages, text, ended);
        self.blocked = blocked;
        shown
    }
}

/// What comes out behind the last one. Where one blocks, the text ends for those behind it; what they
/// find in it came before.
fn pass(stages: &mut [Stage], text: &str, ended: bool) -> (String, Option<Blocked>) {
    let Some(((sieve, message), behind)) = stages.split_first_mut() else {
        return (text.to_owned(), None);
    };
    let mut passed = sieve.push(text);
    if ended && !passed.blocked {
        let rest = sieve.finish();
        passed.text.push_str(&rest.text);
        passed.blocked = rest.blocked;
    }
    let (shown, earlier) = pass(behind, &passed.text, ended || passed.blocked);
    (shown, earlier.or_else(|| passed.blocked.then(|| Blocked(Arc::clone(message)))))
}
