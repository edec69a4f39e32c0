//! What the server says, held against its own descriptions. They are closed for it: what is not described is not said.

use boon::{Compiler, SchemaIndex, Schemas};
use docent::api;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static FRAMES: LazyLock<Checks> = LazyLock::new(|| {
    let document = api::asyncapi();
    let messages = document["channels"]["chat"]["messages"].as_object().unwrap();
    let sent = document["operations"]["send"]["messages"].as_array().unwrap().iter();
    let name = |sent: &Value| sent["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let frames = sent.map(name).map(|name| (name.clone(), messages[&name]["payload"].clone()));
    let part = ("a part".into(), json!({"$ref": "#/components/schemas/Part"}));
    Checks::new(&document, frames.chain([part]))
});

static ANSWERS: LazyLock<Checks> = LazyLock::new(|| {
    let document = serde_json::to_value(api::document()).unwrap();
    let mut answers = Vec::new();
    for (method, path) in api::table() {
        let responses = &document["paths"][&path][&method]["responses"];
        for (status, response) in responses.as_object().unwrap() {
            let content = response["content"].as_object().into_iter().flat_map(Map::values).next();
            let schema = content.map_or(Value::Bool(true), |content| content["schema"].clone());
            let schema = if schema.is_null() { Value::Bool(true) } else { schema };
            answers.push((format!("{method} {path} {status}"), schema));
        }
    }
    Checks::new(&document, answers)
});

/// A frame of the server.
pub fn check_frame(frame: &Value) {
    let kind = frame["type"].as_str().unwrap_or_else(|| panic!("it has a type: {frame}"));
    FRAMES.check(kind, frame);
}

/// A part of a turn, whatever brought it.
pub fn check_part(part: &Value) {
    FRAMES.check("a part", part);
}

/// An answer of a route. That it is an error need not be described, but then it is a problem.
pub fn check_answer(method: &reqwest::Method, path: &str, status: u16, body: &Value) {
    let method = method.as_str().to_lowercase();
    let patterns =
        api::table().into_iter().filter(|(of, pattern)| *of == method && fits(pattern, path));
    // The one with the fewest placeholders.
    let Some((_, pattern)) = patterns.min_by_key(|(_, pattern)| pattern.matches('{').count())
    else {
        return;
    };
    let name = format!("{method} {pattern} {status}");
    match ANSWERS.schemas.contains_key(&name) {
        true => ANSWERS.check(&name, body),
        false => assert!(status >= 400, "{name} is not described: {body}"),
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(wanted, there)| wanted.starts_with('{') || wanted == there)
}

/// Schemas by what they are of.
struct Checks {
    compiled: Schemas,
    schemas: BTreeMap<String, SchemaIndex>,
}

impl Checks {
    fn new(document: &Value, of: impl IntoIterator<Item = (String, Value)>) -> Self {
        let (names, mut schemas): (Vec<String>, Vec<Value>) = of.into_iter().unzip();
        let mut components = document["components"].clone();
        let joined: Vec<String> = joined(document);
        for (name, schema) in components["schemas"].as_object_mut().unwrap() {
            // Problems have members of their own; what is one of several is closed where they are joined.
            if name != "Problem" && !joined.contains(name) {
                close(schema);
            }
        }
        schemas.iter_mut().for_each(close);
        let mut compiler = Compiler::new();
        let root = "http://docent.test/description.json";
        let all = json!({"components": components, "of": schemas});
        compiler.add_resource(root, all).unwrap();
        let mut compiled = Schemas::new();
        let mut index = |n| compiler.compile(&format!("{root}#/of/{n}"), &mut compiled).unwrap();
        let schemas = names.into_iter().enumerate().map(|(n, name)| (name, index(n))).collect();
        Self { compiled, schemas }
    }

    fn check(&self, name: &str, value: &Value) {
        let index =
            self.schemas.get(name).unwrap_or_else(|| panic!("{name} is described: {value}"));
        if let Err(error) = self.compiled.validate(value, *index) {
            panic!("{name} is not as described: {error:#}\n{value:#}");
        }
    }
}

/// The components that others are joined of.
fn joined(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(all) = value["allOf"].as_array() {
        let names = all.iter().filter_map(|one| one["$ref"].as_str()?.rsplit('/').next());
        found.extend(names.map(str::to_owned));
    }
    let inner: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    found.extend(inner.into_iter().flat_map(joined));
    found
}

/// Nothing but what is described.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.contains_key("properties") || fields.contains_key("allOf") {
        fields.entry("unevaluatedProperties").or_insert(Value::Bool(false));
    }
    for key in ["oneOf", "properties"] {
        match fields.get_mut(key) {
            Some(Value::Array(all)) => all.iter_mut().for_each(close),
            Some(Value::Object(all)) => all.values_mut().for_each(close),
            _ => {}
        }
    }
    if let Some(items) = fields.get_mut("items") {
        close(items);
    }
}
