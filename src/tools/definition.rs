//! A tenant's tool as its editors write it, checked once when it is written.

use super::builtin::Builtin;
use super::template::Template;
use crate::types::BadField;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most characters of a description, and the most bytes of a schema.
const DESCRIPTION: usize = 1_000;
const SCHEMA: usize = 16 * 1024;
/// The most headers, and the most bytes of one.
const HEADERS: usize = 16;
const HEADER: usize = 2_048;
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// What the connection needs, and not the server behind it.
const RESERVED: [&str; 9] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
];

/// A request that a model may have made.
#[derive(Clone, Deserialize, ToSchema)]
pub struct Definition {
    /// What the model calls it: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What it is for, for the model: 1 to 1,000 characters.
    pub description: String,
    /// A JSON schema of an object: what the model is to give.
    pub parameters: Value,
    /// GET, POST, PUT, PATCH or DELETE.
    pub method: String,
    /// An address with `{name}` in its path and query; what is not in it goes into the body, or into the query
    /// of GET and DELETE.
    pub url: String,
    /// Sent along, kept sealed, and never shown again. Left out, those that are there stay.
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether somebody has to agree to each call; true when left out.
    pub needs_approval: Option<bool>,
}

fn bad(field: &'static str, why: impl Into<String>) -> BadField {
    BadField { field, why: why.into() }
}

impl Definition {
    /// Whether it can be used.
    ///
    /// # Errors
    /// With the first field that cannot.
    pub fn check(&self) -> Result<(), BadField> {
        let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(named) {
            return Err(bad("name", "has letters, digits, `_` and `-`, 1 to 64"));
        }
        if Builtin::named(&self.name).is_some() {
            return Err(bad("name", "is the name of a tool that comes along"));
        }
        let length = self.description.trim().chars().count();
        if !(1..=DESCRIPTION).contains(&length) || self.description.contains('\0') {
            return Err(bad("description", format!("has 1 to {DESCRIPTION} characters")));
        }
        let schema = self.parameters.to_string();
        let object = self.parameters.get("type").and_then(Value::as_str) == Some("object");
        if !object || schema.len() > SCHEMA || schema.contains("\\u0000") {
            return Err(bad(
                "parameters",
                "is a JSON schema with `\"type\": \"object\"`, at most 16 KiB",
            ));
        }
        if !METHODS.contains(&self.method.as_str()) {
            return Err(bad("method", format!("is one of {}", METHODS.join(", "))));
        }
        Template::parse(&self.url).map_err(|why| bad("url", why))?;
        self.headers.as_ref().map_or(Ok(()), check_headers)
    }
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), BadField> {
    if headers.len() > HEADERS {
        return Err(bad("headers", format!("has more than {HEADERS} entries")));
    }
    for (name, value) in headers {
        let known: Option<HeaderName> = name.parse().ok();
        let known = known.filter(|name| !RESERVED.contains(&name.as_str()));
        let proxy = name.to_lowercase().starts_with("proxy-");
        if known.is_none() || proxy || name.len() > HEADER {
            return Err(bad("headers", "has a name that cannot be sent"));
        }
        if value.len() > HEADER || HeaderValue::from_str(value).is_err() {
            return Err(bad("headers", "has a value that cannot be sent"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(change: impl FnOnce(&mut Definition)) -> Result<(), &'static str> {
        let mut definition = Definition {
            name: "order_status".into(),
            description: "Tells where an order is.".into(),
            parameters: json!({"type": "object"}),
            method: "GET".into(),
            url: "https://shop.test/orders/{id}".into(),
            headers: None,
            needs_approval: None,
        };
        change(&mut definition);
        definition.check().map_err(|error| error.field)
    }

    #[test]
    fn what_cannot_be_used_is_not_kept() {
        let header = |name: &str, value: &str| Some(BTreeMap::from([(name.into(), value.into())]));
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|d| d.headers = header("X-Api-Key", "k")), Ok(()));
        assert_eq!(checked(|d| d.name = "order status".into()), Err("name"));
        assert_eq!(checked(|d| d.name = "calculator".into()), Err("name"));
        assert_eq!(checked(|d| d.description = " ".into()), Err("description"));
        assert_eq!(checked(|d| d.parameters = json!([])), Err("parameters"));
        assert_eq!(
            checked(|d| d.parameters = json!({"type": "object", "x": "\0"})),
            Err("parameters")
        );
        assert_eq!(checked(|d| d.method = "TRACE".into()), Err("method"));
        assert_eq!(checked(|d| d.url = "https://{host}/".into()), Err("url"));
        for (name, value) in
            [("Host", "x"), ("Proxy-Authorization", "x"), ("a b", "x"), ("a", "x\r\ny: z")]
        {
            assert_eq!(checked(|d| d.headers = header(name, value)), Err("headers"), "{name}");
        }
    }
}
