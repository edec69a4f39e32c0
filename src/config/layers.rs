//! Where a setting's value comes from, and what was wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// All mistakes found in the settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The layers of values, strongest first, with the mistakes found so far.
#[derive(Debug, Default)]
pub struct Layers {
    layers: Vec<(&'static str, BTreeMap<String, String>)>,
    problems: Vec<String>,
}

impl Layers {
    /// Starts with the values given as flags, by setting name.
    #[must_use]
    pub fn new(flags: BTreeMap<String, String>) -> Self {
        Self { layers: vec![("flag", flags)], problems: Vec::new() }
    }

    /// Adds the process environment; empty values count as not set.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        let vars = std::env::vars().filter(|(_, value)| !value.is_empty()).collect();
        self.layers.push(("environment", vars));
        self
    }

    /// Adds `.env` and `docent.toml` of `folder`, where they exist. Names in the TOML file are
    /// checked against `known`; an environment has too many others to check.
    #[must_use]
    pub fn with_files(mut self, folder: &Path, known: &[&str]) -> Self {
        let env_file = folder.join(".env");
        if env_file.exists() {
            self.add_env_file(&env_file);
        }
        if let Ok(text) = std::fs::read_to_string(folder.join("docent.toml")) {
            self.add_toml(&text, known);
        }
        self
    }

    fn add_env_file(&mut self, path: &Path) {
        let lines = match dotenvy::from_path_iter(path) {
            Ok(lines) => lines,
            Err(error) => {
                self.problems.push(format!(".env cannot be read: {error}"));
                return;
            }
        };
        let mut values = BTreeMap::new();
        let mut last = None;
        for line in lines {
            match line {
                Ok((name, value)) => {
                    last = Some(name.clone());
                    if !value.is_empty() {
                        values.insert(name, value);
                    }
                }
                // The error quotes the line, and the line may hold a secret.
                Err(_quoting) => {
                    let place = last.map(|name| format!(" after {name}")).unwrap_or_default();
                    let why = "a line is not NAME=value (values with spaces need quotes)";
                    self.problems.push(format!(".env cannot be read{place}: {why}"));
                    return;
                }
            }
        }
        self.layers.push((".env", values));
    }

    fn add_toml(&mut self, text: &str, known: &[&str]) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                self.problems.push(format!("docent.toml is not valid TOML: {}", error.message()));
                return;
            }
        };
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let name = key.to_uppercase();
            if !known.contains(&name.as_str()) {
                self.problems.push(format!("docent.toml: there is no setting '{key}'"));
                continue;
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                toml::Value::Array(items) => {
                    items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                other => {
                    let kind = other.type_str();
                    self.problems.push(format!("docent.toml: '{key}' cannot be a {kind}"));
                    continue;
                }
            };
            values.insert(name, text);
        }
        self.layers.push(("docent.toml", values));
    }

    /// The strongest value and the layer it came from.
    fn find(&self, name: &str) -> Option<(&'static str, &str)> {
        self.layers
            .iter()
            .find_map(|(layer, values)| values.get(name).map(|value| (*layer, value.as_str())))
    }

    /// A text setting.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.find(name).map(|(_, value)| value.trim().to_owned())
    }

    /// All values whose names end so.
    #[must_use]
    pub fn ending(&self, suffix: &str) -> BTreeMap<String, String> {
        let weakest_first = self.layers.iter().rev().flat_map(|(_, values)| values);
        let named = weakest_first.filter(|(name, _)| name.ends_with(suffix));
        named.map(|(name, value)| (name.clone(), value.trim().to_owned())).collect()
    }

    /// A comma-separated list.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(String::from).collect()
    }

    /// A setting of another type; `kind` says in words what is expected. The value itself is not
    /// repeated: it may be a secret in the wrong place.
    pub fn parse<T: FromStr>(&mut self, name: &str, kind: &str, default: T) -> T {
        let Some((layer, value)) = self.find(name) else { return default };
        match value.trim().parse() {
            Ok(parsed) => parsed,
            Err(_) => {
                let problem = format!("{name} ({layer}) must be {kind}");
                self.problems.push(problem);
                default
            }
        }
    }

    /// Notes a mistake.
    pub fn complain(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// The mistakes, if there are any.
    ///
    /// # Errors
    /// With all of them.
    pub fn finish(self) -> Result<(), Problems> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }
}
