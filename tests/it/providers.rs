//! Whatever a provider speaks, the same answer is the same events.

use crate::support::{Provider, Script, Step};
use docent::llm::{
    Anthropic, ChatEvent, ChatMessage, ChatModel, ChatRequest, FinishReason, Gemini, LlmError,
    OpenAi, Role, TokenUsage,
};
use docent::net::{ClientOptions, Clients};
use futures_util::StreamExt;

/// One client for each protocol, all asking the same server.
fn models(provider: &Provider) -> [Box<dyn ChatModel>; 3] {
    let http = Clients::new(ClientOptions::default()).unwrap();
    [
        Box::new(OpenAi::new(http.clone(), &provider.url, None)),
        Box::new(Anthropic::new(http.clone(), &provider.url, None)),
        Box::new(Gemini::new(http, &provider.gemini_url, None)),
    ]
}

/// The text, the thoughts and the calls of an answer, why it ended and what it cost.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    thought: String,
    calls: Vec<(String, String, String)>,
    finish: Option<FinishReason>,
    usage: TokenUsage,
}

async fn ask(model: &dyn ChatModel) -> (Answer, Option<LlmError>) {
    let question = vec![ChatMessage::new(Role::User, "Hello?")];
    let mut answer = Answer::default();
    let mut events = match model.ask(ChatRequest::new("scripted", question, 64)).await {
        Ok(answering) => answering.events,
        Err(error) => return (answer, Some(error)),
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(ChatEvent::Text(text)) => answer.text.push_str(&text),
            Ok(ChatEvent::Reasoning { text, .. }) => answer.thought.push_str(&text),
            Ok(ChatEvent::ToolBegin { id, name, .. }) => {
                answer.calls.push((id, name, String::new()));
            }
            Ok(ChatEvent::ToolInput { index, json }) => {
                answer.calls[index as usize].2.push_str(&json);
            }
            Ok(ChatEvent::Finished(reason)) => answer.finish = Some(reason),
            Ok(ChatEvent::Usage(usage)) => answer.usage = answer.usage.updated(usage),
            Err(error) => return (answer, Some(error)),
        }
    }
    (answer, None)
}

fn usage(input: u64, output: u64) -> TokenUsage {
    TokenUsage { input: Some(input), output: Some(output), ..TokenUsage::default() }
}

#[tokio::test]
async fn an_answer_is_the_same_in_every_protocol() {
    let provider = Provider::start().await;
    for model in models(&provider) {
        let (answer, error) = ask(&*model).await;
        let finish = Some(FinishReason::Stop);
        let text = "Forty-two. [1]".to_owned();
        let expected = Answer { text, finish, usage: usage(120, 7), ..Answer::default() };
        assert!(error.is_none(), "{}: {error:?}", model.provider());
        assert_eq!(answer, expected, "{}", model.provider());
    }
    let gemini = "/v1beta/models/scripted:streamGenerateContent?alt=sse";
    assert_eq!(provider.paths(), ["/v1/chat/completions", "/v1/messages", gemini]);
}

#[tokio::test]
async fn calls_are_the_same_in_every_protocol() {
    let provider = Provider::start().await;
    let calls = [("c1", "weather", r#"{"city":"Köln"}"#), ("c2", "time", "{}")];
    provider.always(Script::calls("Two things. ", &calls, 50, 20));
    for model in models(&provider) {
        let (answer, error) = ask(&*model).await;
        let expected = Answer {
            thought: "Two things. ".into(),
            calls: calls.map(|(id, name, json)| (id.into(), name.into(), json.into())).to_vec(),
            finish: Some(FinishReason::ToolCalls),
            usage: usage(50, 20),
            ..Answer::default()
        };
        assert!(error.is_none(), "{}: {error:?}", model.provider());
        assert_eq!(answer, expected, "{}", model.provider());
    }
}

#[tokio::test]
async fn refusals_and_cuts_are_the_same_in_every_protocol() {
    let provider = Provider::start().await;
    for model in models(&provider) {
        provider.next(Script::error(503, "overloaded"));
        let (_, error) = ask(&*model).await;
        let error = error.unwrap();
        assert_eq!((error.code(), error.retryable()), ("model_overloaded", true));

        provider.next(Script::steps(vec![Step::Text("Half".into()), Step::Reset]));
        let (answer, error) = ask(&*model).await;
        assert_eq!(error.unwrap().code(), "model_cut_off", "{}", model.provider());
        assert_eq!(answer.finish, None);
    }
}
