//! The address of a tenant's tool, with places for what the model says: in the path and in the query only.
//! Where the request goes, and with it the tool's secrets, is not the model's to choose.

use crate::net::place;
use reqwest::Url;
use serde_json::{Map, Value};

/// The longest template, in bytes.
pub(super) const LONGEST: usize = 2_000;

/// Such as `https://shop.example/orders/{id}?lang={lang}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("has more than {LONGEST} characters"));
        }
        let template = Self(text.to_owned());
        let url = template.with(|_| Some("x".into()))?;
        let other = template.with(|_| Some("y".into()))?;
        place(&url).map_err(|error| error.to_string())?;
        if url.origin() != other.origin() {
            return Err("may have `{…}` in its path and its query only".into());
        }
        Ok(template)
    }

    /// The address for an input; what was used of it is taken out.
    ///
    /// # Errors
    /// When something is missing, or would lead elsewhere.
    pub(super) fn fill(&self, input: &mut Map<String, Value>) -> Result<Url, String> {
        let given = input.clone();
        let mut used = Vec::new();
        let url = self.with(|name| {
            used.push(name.to_owned());
            match given.get(name)? {
                Value::String(text) => Some(text.clone()),
                value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
                _ => None,
            }
        })?;
        let plain = self.with(|_| Some("x".into()))?;
        // "", "." and ".." would lead to another place, however they are written.
        let shape = |url: &Url| url.path().split('/').map(str::is_empty).collect::<Vec<_>>();
        if url.origin() != plain.origin() || shape(&url) != shape(&plain) {
            return Err("An input does not fit into the address.".into());
        }
        input.retain(|name, _| !used.contains(name));
        Ok(url)
    }

    /// With a value for each name.
    fn with(&self, mut value: impl FnMut(&str) -> Option<String>) -> Result<Url, String> {
        let (mut text, mut rest) = (String::new(), self.0.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a `{` without a `}`")?;
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(named) {
                return Err("has names in `{…}` that are not letters, digits and _".into());
            }
            let value = value(name).ok_or_else(|| format!("`{name}` is missing."))?;
            text.push_str(before);
            text.extend(value.bytes().map(escaped));
            rest = after;
        }
        text.push_str(rest);
        let url: Url = text.parse().map_err(|_error| "is not an address".to_owned())?;
        Ok(url)
    }
}

/// A byte that means only itself in a URL.
fn escaped(byte: u8) -> String {
    match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(template: &str, input: Value) -> Result<(String, Value), String> {
        let Value::Object(mut input) = input else { panic!("an object") };
        let url = Template::parse(template)?.fill(&mut input)?;
        Ok((url.to_string(), Value::Object(input)))
    }

    #[test]
    fn inputs_stay_in_their_places() {
        let shop = "https://shop.test/orders/{id}?lang={lang}";
        let (url, left) = fill(shop, json!({"id": 7, "lang": "d&e=#", "more": true})).unwrap();
        assert_eq!(url, "https://shop.test/orders/7?lang=d%26e%3D%23");
        assert_eq!(left, json!({"more": true}));
        let (url, _) = fill(shop, json!({"id": "../../admin?x=/", "lang": "é"})).unwrap();
        assert_eq!(url, "https://shop.test/orders/..%2F..%2Fadmin%3Fx%3D%2F?lang=%C3%A9");
        for id in ["..", ".", ""] {
            assert!(fill(shop, json!({"id": id, "lang": ""})).is_err(), "{id}");
        }
        assert!(fill("https://a.test/x/{a}{b}", json!({"a": ".", "b": "."})).is_err());
        assert_eq!(fill(shop, json!({"id": 7})).unwrap_err(), "`lang` is missing.");
        assert!(fill(shop, json!({"id": {}, "lang": "x"})).is_err());
    }

    #[test]
    fn the_host_is_not_the_models_to_choose() {
        for wrong in [
            "https://{host}/x",
            "https://shop.test:{port}/",
            "{scheme}://shop.test/",
            "https://shop{tld}/",
            "https://user:{password}@shop.test/",
            "https://shop.test/{",
            "https://shop.test/{a b}",
            "https://shop.test/{}",
            "ftp://shop.test/",
            "shop.test/x",
            "file:///{path}",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        assert!(
            Template::parse("http://[::1]:8080/{x}").is_ok(),
            "the guard decides, when it is called"
        );
    }
}
