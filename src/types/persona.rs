//! Who an assistant is: what its editors write, checked once when it is written.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Jsonb;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use utoipa::ToSchema;

/// The edited fields of an assistant; a draft and each version is one.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema, AsExpression, FromSqlRow,
)]
#[diesel(sql_type = Jsonb)]
#[serde(default)]
pub struct Persona {
    /// 1 to 80 characters.
    pub name: String,
    /// What it is for; at most 500 characters.
    pub description: String,
    /// Shown where nothing was asked yet; at most 500 characters.
    pub greeting: String,
    /// How it answers, for the model; at most 16,000 characters.
    pub instructions: String,
    /// A route's or a model's name; null: the server's default.
    pub model: Option<String>,
    /// 0 to 2; null: as the provider likes.
    pub temperature: Option<f64>,
    /// A BCP 47 tag such as `de` or `pt-BR`; null: the language of the question.
    pub language: Option<String>,
    /// Whose documents it answers from; empty: all documents.
    pub collections: Vec<String>,
    /// The names of the tools it may call.
    pub tools: Vec<String>,
}

/// A field that cannot be taken, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{field}` {why}.")]
pub struct BadField {
    pub field: &'static str,
    pub why: String,
}

const MAX_COLLECTIONS: usize = 20;
const MAX_TOOLS: usize = 32;

impl Persona {
    /// Trimmed, and without control characters other than line breaks and tabs.
    ///
    /// # Errors
    /// When a field is too long, or not of its kind.
    pub fn checked(self) -> Result<Self, BadField> {
        let collections = self.collections.iter().map(|name| collection_name(name));
        let mut collections = collections
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BadField { field: "collections", ..error })?;
        collections.sort();
        collections.dedup();
        at_most("collections", collections.len(), MAX_COLLECTIONS)?;
        let mut tools = self.tools;
        tools.sort();
        tools.dedup();
        at_most("tools", tools.len(), MAX_TOOLS)?;
        if !tools.iter().all(|name| is_name(name, 64, "_-")) {
            return Err(bad("tools", "are names of letters, digits, `_` and `-`"));
        }
        if self.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
            return Err(bad("temperature", "is a number from 0 to 2"));
        }
        let (model, language) = (given(self.model), given(self.language));
        if model.as_deref().is_some_and(|name| !is_name(name, 200, "_-.:/@")) {
            return Err(bad("model", "is the name of a model or a route"));
        }
        if language.as_deref().is_some_and(|tag| !is_language(tag)) {
            return Err(bad("language", "is a BCP 47 tag such as de or pt-BR"));
        }
        Ok(Self {
            name: line("name", &self.name, 1, 80)?,
            description: text("description", &self.description, 500)?,
            greeting: text("greeting", &self.greeting, 500)?,
            instructions: text("instructions", &self.instructions, 16_000)?,
            model,
            temperature: self.temperature,
            language,
            collections,
            tools,
        })
    }
}

impl ToSql<Jsonb, Pg> for Persona {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let value = serde_json::to_value(self)?;
        ToSql::<Jsonb, Pg>::to_sql(&value, &mut out.reborrow())
    }
}

impl FromSql<Jsonb, Pg> for Persona {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        let value = <Value as FromSql<Jsonb, Pg>>::from_sql(bytes)?;
        Ok(serde_json::from_value(value)?)
    }
}

/// The name of a collection of documents: one line of 1 to 80 characters.
///
/// # Errors
/// When it is something else.
pub fn collection_name(name: &str) -> Result<String, BadField> {
    line("collection", name, 1, 80)
}

/// The name in an address: a-z, 0-9 and `-`, at most 63.
///
/// # Errors
/// When it is something else.
pub fn slug(raw: &str) -> Result<String, BadField> {
    let slug = raw.trim();
    let fits = slug.len() <= 63
        && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !slug.is_empty()
        && !slug.starts_with('-');
    // What reads as an id would be looked for among ids.
    match fits && uuid::Uuid::parse_str(slug).is_err() {
        true => Ok(slug.to_owned()),
        false => {
            Err(bad("slug", "has a-z, 0-9 and -, at most 63, and begins with a letter or digit"))
        }
    }
}

fn bad(field: &'static str, why: impl Into<String>) -> BadField {
    BadField { field, why: why.into() }
}

/// Nothing is the same as an empty text.
fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn at_most(field: &'static str, count: usize, most: usize) -> Result<(), BadField> {
    match count > most {
        true => Err(bad(field, format!("are {count}: at most {most} are taken"))),
        false => Ok(()),
    }
}

fn text(field: &'static str, raw: &str, most: usize) -> Result<String, BadField> {
    let kept: String =
        raw.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    match kept.trim() {
        text if text.chars().count() <= most => Ok(text.to_owned()),
        _ => Err(bad(field, format!("has more than {most} characters"))),
    }
}

fn line(field: &'static str, raw: &str, least: usize, most: usize) -> Result<String, BadField> {
    let kept: String = raw.chars().filter(|c| !c.is_control()).collect();
    match kept.trim() {
        text if (least..=most).contains(&text.chars().count()) => Ok(text.to_owned()),
        _ => Err(bad(field, format!("has {least} to {most} characters"))),
    }
}

fn is_name(name: &str, most: usize, marks: &str) -> bool {
    (1..=most).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

/// Well-formed as far as a model needs it: a language, then subtags.
fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    tag.len() <= 35
        && (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|part| is_name(part, 8, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Persona)) -> &'static str {
        let mut persona = Persona { name: "Librarian".into(), ..Persona::default() };
        change(&mut persona);
        persona.checked().unwrap_err().field
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused(|p| p.name = " \n".into()), "name");
        assert_eq!(refused(|p| p.greeting = "x".repeat(501)), "greeting");
        assert_eq!(refused(|p| p.instructions = "x".repeat(16_001)), "instructions");
        assert_eq!(refused(|p| p.model = Some("a b".into())), "model");
        assert_eq!(refused(|p| p.temperature = Some(f64::NAN)), "temperature");
        assert_eq!(refused(|p| p.temperature = Some(2.1)), "temperature");
        assert_eq!(refused(|p| p.language = Some("German!".into())), "language");
        assert_eq!(refused(|p| p.collections = vec![String::new()]), "collections");
        assert_eq!(refused(|p| p.tools = vec!["a tool".into()]), "tools");
        let many = (0..33).map(|n| format!("t{n}")).collect();
        assert_eq!(refused(|p| p.tools = many), "tools");
    }

    #[test]
    fn what_can_be_mended_is_mended() {
        let persona = Persona {
            name: " Libra\0rian ".into(),
            model: Some(" ".into()),
            language: Some("pt-BR".into()),
            collections: vec!["b".into(), "a".into(), " b".into()],
            ..Persona::default()
        };
        let persona = persona.checked().unwrap();
        assert_eq!((persona.name.as_str(), persona.model), ("Librarian", None));
        assert_eq!(persona.collections, ["a", "b"]);
    }

    #[test]
    fn a_slug_is_no_id() {
        assert_eq!(slug(" law-2 ").unwrap(), "law-2");
        let id = uuid::Uuid::now_v7().to_string();
        for wrong in ["", "-a", "Law", "ä", &"x".repeat(64), &id] {
            assert_eq!(slug(wrong).unwrap_err().field, "slug", "{wrong}");
        }
    }
}
