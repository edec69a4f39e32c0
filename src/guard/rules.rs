//! The filters of a tenant, compiled.

use super::definition::{Action, Stage};
use super::pattern::Pattern;
use super::screen::Screen;
use super::sieve::Sieve;
use crate::store::filters::Filter;
use crate::types::AssistantId;
use std::sync::Arc;
use thiserror::Error;

/// A filter that blocks has matched: what the user is told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Blocked(pub Arc<str>);

#[derive(Debug)]
struct Rule {
    row: Filter,
    stage: Stage,
    action: Action,
    pattern: Arc<Pattern>,
    text: Arc<str>,
}

/// All of a tenant, in the order in which they are applied.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Compiles the rows; those that are in `before` are not compiled again. What is kept was checked.
    pub(super) fn new(rows: Vec<Filter>, before: &Self) -> Self {
        Self(rows.into_iter().filter_map(|row| before.rule(row)).collect())
    }

    fn rule(&self, row: Filter) -> Option<Rule> {
        let known = self.0.iter().find(|rule| rule.row.pattern == row.pattern);
        let pattern = match known {
            Some(rule) => Ok(Arc::clone(&rule.pattern)),
            None => Pattern::compile(&row.pattern).map(Arc::new),
        };
        let (stage, action) = (row.stage.parse(), row.action.parse());
        match (pattern, stage, action) {
            (Ok(pattern), Ok(stage), Ok(action)) => {
                let text = row.text.as_str().into();
                Some(Rule { row, stage, action, pattern, text })
            }
            (pattern, ..) => {
                let why = pattern.err();
                tracing::error!(filter.id = %row.id, why, "A filter cannot be applied");
                None
            }
        }
    }

    fn of(&self, stage: Stage, assistant: Option<AssistantId>) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(move |rule| {
            let theirs = rule.row.assistant_id.is_none_or(|whose| Some(whose) == assistant);
            rule.stage == stage && theirs
        })
    }

    /// Whether anything is looked for in questions.
    #[must_use]
    pub fn filter_input(&self, assistant: Option<AssistantId>) -> bool {
        self.of(Stage::Input, assistant).next().is_some()
    }

    /// What is left of something that a client says; `None`: all of it.
    ///
    /// # Errors
    /// When it must not be said at all.
    pub fn input(
        &self,
        assistant: Option<AssistantId>,
        text: &str,
    ) -> Result<Option<String>, Blocked> {
        if !self.filter_input(assistant) {
            return Ok(None);
        }
        let mut screen = Screen::new(self.stages(Stage::Input, assistant));
        let left = screen.push(text) + &screen.finish();
        match screen.blocked() {
            Some(blocked) => Err(blocked.clone()),
            None => Ok((left != text).then_some(left)),
        }
    }

    /// What answers pass through; `None`: no filter is for them.
    #[must_use]
    pub fn output(&self, assistant: Option<AssistantId>) -> Option<Screen> {
        let stages = self.stages(Stage::Output, assistant);
        (!stages.is_empty()).then(|| Screen::new(stages))
    }

    fn stages(&self, stage: Stage, assistant: Option<AssistantId>) -> Vec<(Sieve, Arc<str>)> {
        let sieve = |rule: &Rule| {
            Sieve::new(Arc::clone(&rule.pattern), rule.action, Arc::clone(&rule.text))
        };
        self.of(stage, assistant).map(|rule| (sieve(rule), Arc::clone(&rule.text))).collect()
    }
}
