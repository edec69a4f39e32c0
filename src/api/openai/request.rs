//! A chat completion that is asked for. Each parameter is used, ignored or refused as docs/openai.md says;
//! `null` is as good as left out.

use super::messages;
use super::refusal::wrong;
use super::speech::Calls;
use crate::api::problem::Problem;
use crate::chat::{Asked, Given, What, Wishes};
use crate::llm::{ChatMessage, Effort, Format, Sampling, Tool, ToolChoice};
use crate::types::{ConversationId, IdempotencyKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What would change the answer and is not there: refused, unless it says what is so anyway.
const REFUSED: &[(&str, &[&str])] = &[
    ("n", &["1"]),
    ("logprobs", &["false"]),
    ("top_logprobs", &["0"]),
    ("logit_bias", &["{}"]),
    ("modalities", &["[\"text\"]"]),
    ("audio", &[]),
    ("functions", &[]),
    ("function_call", &[]),
    ("web_search_options", &[]),
];

/// A completion that is wished for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) model: String,
    pub(super) asked: Asked,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// Which calls of tools the client is to hear of.
    pub(super) calls: Calls,
}

/// The parameters of a request, taken out one by one.
struct Parameters(Map<String, Value>);

impl Parameters {
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let value = self.0.remove(name).filter(|value| !value.is_null());
        let read = value.map(serde_json::from_value).transpose();
        read.map_err(|error| wrong(name, format!("`{name}` is not as documented: {error}.")))
    }

    fn number(&mut self, name: &str, least: f32, most: f32) -> Result<Option<f32>, Problem> {
        let number = self.take::<f32>(name)?;
        match number.is_none_or(|number| (least..=most).contains(&number)) {
            true => Ok(number),
            false => Err(wrong(name, format!("`{name}` is {least} to {most}."))),
        }
    }

    fn refuse_what_is_not_there(&mut self) -> Result<(), Problem> {
        for (name, harmless) in REFUSED {
            let value = self.0.remove(*name).filter(|value| !value.is_null());
            if value.is_some_and(|value| !harmless.contains(&value.to_string().as_str())) {
                return Err(wrong(name, format!("`{name}` is not supported here: leave it out.")));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct WantedTool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<WantedFunction>,
}

#[derive(Deserialize)]
struct WantedFunction {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default)]
    strict: Option<bool>,
}

/// Reads a body.
pub(super) fn parse(body: &[u8], key: Option<IdempotencyKey>) -> Result<Wanted, Problem> {
    let read: Result<Map<String, Value>, _> = serde_json::from_slice(body);
    let read = read.map_err(|error| Problem::invalid(format!("The body is not JSON: {error}.")))?;
    let mut of = Parameters(read);
    of.refuse_what_is_not_there()?;
    let model: String = of.take("model")?.ok_or_else(|| wrong("model", "`model` is missing."))?;
    let stream = of.take("stream")?.unwrap_or(false);
    let options: Option<Value> = of.take("stream_options")?;
    let include_usage = options.is_some_and(|options| is_true(options.get("include_usage")));
    let metadata: Option<Map<String, Value>> = of.take("metadata")?;
    let conversation = conversation(metadata)?;
    let messages = messages::parse(of.take("messages")?.unwrap_or_default())?;
    let tools = tools(&mut of)?;
    let calls = match (tools.is_empty(), of.take("parallel_tool_calls")?) {
        (true, _) => Calls::Ours,
        (false, Some(false)) => Calls::First,
        (false, _) => Calls::All,
    };
    let wishes = Wishes {
        tool_choice: tool_choice(&mut of, &tools)?,
        format: format(&mut of)?,
        sampling: sampling(&mut of)?,
        effort: of.take::<Effort>("reasoning_effort")?,
        max_output: max_output(&mut of)?,
        fingerprint: Sha256::digest(body).to_vec(),
    };
    let what = match conversation {
        None => What::Given(Arc::new(Given { messages, tools })),
        Some(id) if tools.is_empty() => {
            let last = messages.last().map(ChatMessage::text).unwrap_or_default();
            What::parse(Some(id), Some(&last), None, None)?
        }
        Some(_) => return Err(wrong("tools", "A stored conversation takes no `tools`.")),
    };
    let assistant = Some(model.clone());
    let asked = Asked { what, assistant, idempotency_key: key, draft: false, wishes };
    Ok(Wanted { model, asked, stream, include_usage, calls })
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// The stored conversation that goes on; other metadata is ignored.
fn conversation(metadata: Option<Map<String, Value>>) -> Result<Option<ConversationId>, Problem> {
    let Some(id) = metadata.and_then(|mut all| all.remove("conversation_id")) else {
        return Ok(None);
    };
    let id = id.as_str().and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| wrong("metadata", "`metadata.conversation_id` is not an id."))
}

fn max_output(of: &mut Parameters) -> Result<Option<u32>, Problem> {
    let older = of.take("max_tokens")?;
    let most: Option<u32> = of.take("max_completion_tokens")?.or(older);
    match most {
        Some(0) => Err(wrong("max_completion_tokens", "`max_completion_tokens` is above 0.")),
        most => Ok(most),
    }
}

fn sampling(of: &mut Parameters) -> Result<Sampling, Problem> {
    let stop = match of.take("stop")? {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(list) => serde_json::from_value(list)
            .map_err(|_why| wrong("stop", "`stop` is a text or a list of texts."))?,
    };
    if stop.len() > 4 || stop.iter().any(String::is_empty) {
        return Err(wrong("stop", "`stop` has at most 4 texts, none of them empty."));
    }
    Ok(Sampling {
        temperature: of.number("temperature", 0.0, 2.0)?,
        top_p: of.number("top_p", 0.0, 1.0)?,
        stop,
        seed: of.take("seed")?,
        frequency_penalty: of.number("frequency_penalty", -2.0, 2.0)?,
        presence_penalty: of.number("presence_penalty", -2.0, 2.0)?,
    })
}

fn tools(of: &mut Parameters) -> Result<Vec<Tool>, Problem> {
    let wanted: Vec<WantedTool> = of.take("tools")?.unwrap_or_default();
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let tool = |wanted: WantedTool| {
        let Some(function) = wanted.function.filter(|_| wanted.kind == "function") else {
            return Err(wrong("tools", "`tools` are of type `function`."));
        };
        let WantedFunction { name, description, parameters, strict } = function;
        if name.is_empty() || name.len() > 64 || !name.chars().all(named) {
            return Err(wrong("tools", "A tool's name has 1 to 64 letters, digits, `_`, `-`."));
        }
        let nothing = || json!({"type": "object", "properties": {}});
        Ok(Tool {
            name,
            description: description.unwrap_or_default(),
            parameters: parameters.unwrap_or_else(nothing),
            strict: strict.unwrap_or(false),
        })
    };
    wanted.into_iter().map(tool).collect()
}

fn tool_choice(of: &mut Parameters, tools: &[Tool]) -> Result<ToolChoice, Problem> {
    let choice: Option<Value> = of.take("tool_choice")?;
    let named = |choice: &Value| Some(choice.pointer("/function/name")?.as_str()?.to_owned());
    let is_there = |name: &String| tools.iter().any(|tool| tool.name == *name);
    let word = choice.as_ref().map(|choice| choice.as_str().unwrap_or_default());
    match (word, choice.as_ref().and_then(named)) {
        (None | Some("auto"), _) => Ok(ToolChoice::Auto),
        (Some("none"), _) => Ok(ToolChoice::Never),
        (Some("required"), _) if !tools.is_empty() => Ok(ToolChoice::Required),
        (_, Some(name)) if is_there(&name) => Ok(ToolChoice::Named(name)),
        _ => Err(wrong("tool_choice", "`tool_choice` is auto, none, required, or one of `tools`.")),
    }
}

fn format(of: &mut Parameters) -> Result<Format, Problem> {
    let Some(format) = of.take::<Value>("response_format")? else { return Ok(Format::Text) };
    let text = |path: &str| format.pointer(path).and_then(Value::as_str);
    let schema = format.pointer("/json_schema/schema");
    match (text("/type"), text("/json_schema/name"), schema) {
        (Some("text"), ..) => Ok(Format::Text),
        (Some("json_object"), ..) => Ok(Format::Json),
        (Some("json_schema"), Some(name), Some(schema @ Value::Object(_))) => Ok(Format::Schema {
            name: name.to_owned(),
            schema: schema.clone(),
            strict: is_true(format.pointer("/json_schema/strict")),
        }),
        _ => Err(wrong(
            "response_format",
            "`response_format` is text, json_object, or json_schema with `name` and `schema`.",
        )),
    }
}

#[cfg(test)]
mod tests;
