//! A filter as its editors write it, checked once when it is written.

use super::pattern::Pattern;
use crate::types::{AssistantId, BadField};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// The most characters of a name, of a message and of a replacement.
const NAME: usize = 100;
const TEXT: usize = 500;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Questions, before anything else.
    Input,
    /// Answers, while they stream.
    Output,
}

/// What happens to what matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The question is refused; the answer ends.
    Block,
    /// It is replaced.
    Redact,
}

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),+ })+) => {$(
        impl $name {
            /// The word in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("there is no '{other}'")),
                }
            }
        }
    )+};
}

words! {
    Stage { Input = "input", Output = "output" }
    Action { Block = "block", Redact = "redact" }
}

/// Something that a tenant keeps out of questions or of answers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = FilterDefinition)]
pub struct Definition {
    /// For its editors: 1 to 100 characters, no other filter's.
    pub name: String,
    pub stage: Stage,
    /// A regular expression in the syntax of Rust's `regex` crate, at most 1,000 bytes. It must not match
    /// the empty text.
    pub pattern: String,
    pub action: Action,
    /// What the user is told when it blocks, or what replaces a match: 1 to 500 characters. Left out, a
    /// usual text.
    pub text: Option<String>,
    /// Whose turns; left out, all of the tenant.
    pub assistant_id: Option<AssistantId>,
}

fn bad(field: &'static str, why: impl Into<String>) -> BadField {
    BadField { field, why: why.into() }
}

fn fits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.trim().is_empty() && !text.contains('\0')
}

impl Definition {
    /// Whether it can be used.
    ///
    /// # Errors
    /// With the first field that cannot.
    pub fn check(&self) -> Result<(), BadField> {
        if !fits(&self.name, NAME) {
            return Err(bad("name", format!("has 1 to {NAME} characters")));
        }
        if !fits(self.text(), TEXT) {
            return Err(bad("text", format!("has 1 to {TEXT} characters")));
        }
        Pattern::compile(&self.pattern).map(drop).map_err(|why| bad("pattern", why))
    }

    /// What the user is told, or sees in place of a match.
    #[must_use]
    pub fn text(&self) -> &str {
        let usual = match (self.action, self.stage) {
            (Action::Redact, _) => "[redacted]",
            (Action::Block, Stage::Input) => "Your organisation does not allow this question.",
            (Action::Block, Stage::Output) => "Your organisation does not allow this answer.",
        };
        self.text.as_deref().unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut Definition)) -> Result<(), &'static str> {
        let mut definition = Definition {
            name: "Nightfall".into(),
            stage: Stage::Input,
            pattern: "(?i)nightfall".into(),
            action: Action::Block,
            text: None,
            assistant_id: None,
        };
        change(&mut definition);
        definition.check().map_err(|error| error.field)
    }

    #[test]
    fn what_cannot_be_used_is_not_kept() {
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|d| d.name = " ".into()), Err("name"));
        assert_eq!(checked(|d| d.name = "x".repeat(101)), Err("name"));
        assert_eq!(checked(|d| d.text = Some(String::new())), Err("text"));
        assert_eq!(checked(|d| d.text = Some("a\0".into())), Err("text"));
        assert_eq!(checked(|d| d.pattern = "(".into()), Err("pattern"));
    }
}
