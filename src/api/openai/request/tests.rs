//! What of a request is used, ignored and refused.

use super::*;

fn read(more: &Value) -> Result<Wanted, Problem> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parse(body.to_string().as_bytes(), None)
}

/// A prompt that the client brings along, and how it wishes it answered.
fn given(more: &Value) -> (Arc<Given>, Wishes) {
    let wanted = read(more).unwrap_or_else(|problem| panic!("{problem}"));
    let wishes = Wishes { fingerprint: Vec::new(), ..wanted.asked.wishes.clone() };
    (Arc::clone(wanted.asked.given().unwrap()), wishes)
}

#[test]
fn what_is_used() {
    let wanted = read(&json!({"stream": true, "stream_options": {"include_usage": true}})).unwrap();
    assert!(wanted.stream && wanted.include_usage && wanted.model == "m");
    assert_eq!(wanted.asked.assistant.as_deref(), Some("m"));
    let (given, wishes) = given(&json!({
        "temperature": 0.5, "top_p": 0.9, "stop": "END", "seed": 7, "frequency_penalty": -1, "presence_penalty": 1,
        "max_tokens": 10, "max_completion_tokens": 20, "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "add", "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    }));
    let sampling = &wishes.sampling;
    assert_eq!(
        (sampling.temperature, sampling.top_p, sampling.seed),
        (Some(0.5), Some(0.9), Some(7))
    );
    assert_eq!((sampling.frequency_penalty, sampling.presence_penalty), (Some(-1.0), Some(1.0)));
    assert_eq!(
        (sampling.stop.as_slice(), wishes.max_output),
        (["END".to_owned()].as_slice(), Some(20))
    );
    assert_eq!(
        (wishes.effort, &wishes.tool_choice),
        (Some(Effort::Low), &ToolChoice::Named("add".into()))
    );
    assert!(given.tools[0].strict && given.tools[0].parameters["type"] == "object");
    assert!(matches!(&wishes.format, Format::Schema { name, strict: false, .. } if name == "a"));
}

#[test]
fn what_is_ignored() {
    let plain = given(&json!({}));
    for more in [
        json!({"user": "u", "store": true, "service_tier": "auto", "prompt_cache_key": "k", "new": [1]}),
        json!({"n": 1, "logprobs": false, "logit_bias": {}, "modalities": ["text"], "parallel_tool_calls": true}),
        json!({"temperature": null, "tools": null, "stop": null, "metadata": {"a": "b"}, "functions": null}),
        json!({"response_format": {"type": "text"}, "tool_choice": "auto", "prediction": {"type": "content"}}),
    ] {
        assert_eq!(given(&more), plain, "{more}");
    }
}

#[test]
fn what_is_refused_and_by_which_name() {
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"logit_bias": {"50256": -100}}), "logit_bias"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"parallel_tool_calls": "no"}), "parallel_tool_calls"),
        (json!({"functions": []}), "functions"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"max_tokens": 0}), "max_completion_tokens"),
        (json!({"reasoning_effort": "xhigh"}), "reasoning_effort"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools"),
        (json!({"tool_choice": "some"}), "tool_choice"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tool_choice": {"type": "function", "function": {"name": "add"}}}), "tool_choice"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format"),
        (json!({"metadata": {"conversation_id": "x"}}), "metadata"),
        (json!({"messages": []}), "messages"),
        (json!({"model": null}), "model"),
    ] {
        let problem = read(&more).unwrap_err();
        assert_eq!((problem.status, &problem.more["param"]), (400, &json!(param)), "{more}");
    }
}

#[test]
fn a_stored_conversation_goes_on_with_the_last_message() {
    let id = ConversationId::new();
    let wishes = json!({"metadata": {"conversation_id": id}, "temperature": 1, "max_tokens": 9,
        "response_format": {"type": "json_object"}, "tool_choice": "none"});
    let asked = read(&wishes).unwrap().asked;
    assert_eq!(asked.conversation(), Some(id));
    assert_eq!(asked.question().unwrap().as_str(), "Hi");
    let Wishes { tool_choice, format, sampling, max_output, .. } = asked.wishes;
    assert_eq!((tool_choice, format), (ToolChoice::Never, Format::Json));
    assert_eq!((sampling.temperature, max_output), (Some(1.0), Some(9)));
    let tools = json!([{"type": "function", "function": {"name": "add"}}]);
    let refused = read(&json!({"metadata": {"conversation_id": id}, "tools": tools})).unwrap_err();
    assert_eq!(refused.more["param"], "tools");
}

/// Every parameter of OpenAI's reference with a value that would change something, beside what it needs.
const REFERENCE: &[(&str, &str, &str)] = &[
    ("audio", r#"{"voice": "alloy", "format": "wav"}"#, "{}"),
    ("frequency_penalty", "1", "{}"),
    ("function_call", r#""auto""#, "{}"),
    ("functions", r#"[{"name": "add"}]"#, "{}"),
    ("logit_bias", r#"{"50256": -100}"#, "{}"),
    ("logprobs", "true", "{}"),
    ("max_completion_tokens", "9", "{}"),
    ("max_tokens", "9", "{}"),
    ("messages", r#"[{"role": "user", "content": "Bye"}]"#, "{}"),
    ("metadata", r#"{"a": "b"}"#, "{}"),
    ("metadata.conversation_id", r#""0190b8f0-0000-7000-8000-000000000000""#, "{}"),
    ("modalities", r#"["text", "audio"]"#, "{}"),
    ("model", r#""other""#, "{}"),
    ("moderation", r#"{"model": "omni-moderation-latest"}"#, "{}"),
    ("n", "2", "{}"),
    ("parallel_tool_calls", "false", TOOLS),
    ("prediction", r#"{"type": "content", "content": "Hi"}"#, "{}"),
    ("presence_penalty", "1", "{}"),
    ("prompt_cache_key", r#""k""#, "{}"),
    ("prompt_cache_options", r#"{"ttl": "30m"}"#, "{}"),
    ("prompt_cache_retention", r#""24h""#, "{}"),
    ("reasoning_effort", r#""low""#, "{}"),
    ("response_format", r#"{"type": "json_object"}"#, "{}"),
    ("safety_identifier", r#""s""#, "{}"),
    ("seed", "7", "{}"),
    ("service_tier", r#""flex""#, "{}"),
    ("stop", r#"["END"]"#, "{}"),
    ("store", "true", "{}"),
    ("stream", "true", "{}"),
    ("stream_options.include_usage", "true", r#"{"stream": true}"#),
    ("temperature", "0.5", "{}"),
    ("tool_choice", r#""required""#, TOOLS),
    ("tools", r#"[{"type": "function", "function": {"name": "sub"}}]"#, "{}"),
    ("top_logprobs", "3", "{}"),
    ("top_p", "0.5", "{}"),
    ("user", r#""anna""#, "{}"),
    ("verbosity", r#""low""#, "{}"),
    ("web_search_options", "{}", "{}"),
];
const TOOLS: &str = r#"{"tools": [{"type": "function", "function": {"name": "add"}}]}"#;

/// What becomes of a parameter.
fn fate(name: &str, value: &str, needs: &str) -> &'static str {
    let before: Value = serde_json::from_str(needs).unwrap();
    let (mut with, value) = (before.clone(), serde_json::from_str::<Value>(value).unwrap());
    match name.split_once('.') {
        Some((outer, inner)) => with[outer] = json!({inner: value}),
        None => with[name] = value,
    }
    let told = |wanted: Wanted| {
        let wishes = Wishes { fingerprint: Vec::new(), ..wanted.asked.wishes };
        format!("{:?}", Wanted { asked: Asked { wishes, ..wanted.asked }, ..wanted })
    };
    match read(&with).map(told) {
        Err(problem) => {
            assert_eq!(problem.more["param"], name);
            "refused"
        }
        Ok(said) if said == told(read(&before).unwrap()) => "ignored",
        Ok(_) => "used",
    }
}

#[test]
fn the_document_says_what_becomes_of_every_parameter() {
    let document = include_str!("../../../../docs/openai.md");
    let (_, table) = document.split_once("| parameter | |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let rows: Vec<(&str, &str)> =
        rows.filter_map(|row| row.trim_matches(['|', ' ']).split_once(" | ")).collect();
    for (name, value, needs) in REFERENCE {
        let quoted = format!("`{name}`");
        let row = rows.iter().find(|(names, _)| names.contains(&quoted));
        let (_, said) = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(said.starts_with(fate(name, value, needs)), "{name}: {said}");
    }
}
