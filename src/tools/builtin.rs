//! The tools that come along, as models are told of them.

use crate::llm::Tool;
use serde_json::{Value, json};

/// A tool of the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    SearchDocuments,
    ReadPage,
    Calculator,
    CurrentDate,
}

impl Builtin {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] =
        [Self::SearchDocuments, Self::ReadPage, Self::Calculator, Self::CurrentDate];

    /// By the name that assistants and models use.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SearchDocuments => "search_documents",
            Self::ReadPage => "read_page",
            Self::Calculator => "calculator",
            Self::CurrentDate => "current_date",
        }
    }

    /// What it is for, in words for the model.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::SearchDocuments => {
                "Searches the documents again, in other words or for another part of the question. \
                 Gives numbered passages to cite."
            }
            Self::ReadPage => {
                "Reads a whole page of the document that a passage comes from. \
                 Gives it as a numbered passage to cite."
            }
            Self::Calculator => {
                "Calculates with numbers: + - * / % ^, parentheses, sqrt, abs, round, floor, ceil, \
                 min, max, ln, log, exp, pi. Use it for every calculation."
            }
            Self::CurrentDate => {
                "Tells the date, the time and the day of the week where the user is."
            }
        }
    }

    pub(super) fn definition(self) -> Tool {
        let (name, description) = (self.name().into(), self.description().into());
        Tool { name, description, parameters: self.parameters(), strict: false }
    }

    fn parameters(self) -> Value {
        let (properties, required) = match self {
            Self::SearchDocuments => (
                json!({"query": {"type": "string", "description": "What to look for"}}),
                json!(["query"]),
            ),
            Self::ReadPage => (
                json!({"passage": {"type": "integer", "description": "The number of a passage"},
                    "page": {"type": "integer", "description": "Left out: the page of the passage"}}),
                json!(["passage"]),
            ),
            Self::Calculator => (
                json!({"expression": {"type": "string", "description": "Such as (3 + 4) * 1.19"}}),
                json!(["expression"]),
            ),
            Self::CurrentDate => (json!({}), json!([])),
        };
        json!({"type": "object", "properties": properties, "required": required,
            "additionalProperties": false})
    }
}
