//! What of a request is used, ignored and refused.

use super::*;

fn read(more: &Value) -> Result<Wanted, Problem> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    parse(body.to_string().as_bytes(), None)
}

fn given(more: &Value) -> Arc<Given> {
    let wanted = read(more).unwrap_or_else(|problem| panic!("{problem}"));
    Arc::clone(wanted.asked.given().unwrap())
}

#[test]
fn what_is_used() {
    let wanted = read(&json!({"stream": true, "stream_options": {"include_usage": true}})).unwrap();
    assert!(wanted.stream && wanted.include_usage && wanted.model == "m");
    assert_eq!(wanted.asked.assistant.as_deref(), Some("m"));
    let given = given(&json!({
        "temperature": 0.5, "top_p": 0.9, "stop": "END", "seed": 7, "frequency_penalty": -1, "presence_penalty": 1,
        "max_tokens": 10, "max_completion_tokens": 20, "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "add", "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    }));
    let sampling = &given.sampling;
    assert_eq!(
        (sampling.temperature, sampling.top_p, sampling.seed),
        (Some(0.5), Some(0.9), Some(7))
    );
    assert_eq!((sampling.frequency_penalty, sampling.presence_penalty), (Some(-1.0), Some(1.0)));
    assert_eq!(
        (sampling.stop.as_slice(), given.max_output),
        (["END".to_owned()].as_slice(), Some(20))
    );
    assert_eq!(
        (given.effort, &given.tool_choice),
        (Some(Effort::Low), &ToolChoice::Named("add".into()))
    );
    assert!(given.tools[0].strict && given.tools[0].parameters["type"] == "object");
    assert!(matches!(&given.format, Format::Schema { name, strict: false, .. } if name == "a"));
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
        let given = given(&more);
        assert_eq!(
            Given { fingerprint: plain.fingerprint.clone(), ..(*given).clone() },
            *plain,
            "{more}"
        );
    }
}

#[test]
fn what_is_refused_and_by_which_name() {
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"logit_bias": {"50256": -100}}), "logit_bias"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"parallel_tool_calls": false}), "parallel_tool_calls"),
        (json!({"functions": []}), "functions"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"max_tokens": 0}), "max_completion_tokens"),
        (json!({"reasoning_effort": "xhigh"}), "reasoning_effort"),
        (json!({"tools": [{"type": "web_search"}]}), "tools"),
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools"),
        (json!({"tool_choice": "some"}), "tool_choice"),
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
    let wanted = read(&json!({"metadata": {"conversation_id": id}, "temperature": 1})).unwrap();
    assert_eq!(wanted.asked.conversation(), Some(id));
    assert_eq!(wanted.asked.question().unwrap().as_str(), "Hi");
    let tools = json!([{"type": "function", "function": {"name": "add"}}]);
    let refused = read(&json!({"metadata": {"conversation_id": id}, "tools": tools})).unwrap_err();
    assert_eq!(refused.more["param"], "metadata");
}
