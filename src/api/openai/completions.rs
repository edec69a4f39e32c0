//! Chat completions: a turn whose prompt the client brings along, or the next one of a stored conversation,
//! streamed or whole.

use super::chunks::{Chunks, Head};
use super::models::must_be_listed;
use super::refusal::{no_model, shape};
use super::request::{self, Wanted};
use super::speech::{Delta, Listener, usage, with};
use crate::api::body::Bytes;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::api::stream::{Watch, wire_response};
use crate::api::v1::idempotency_key;
use crate::chat::{Accepted, CitationData, Part, Refused, UsageData};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, post, web};
use chrono::Utc;
use serde_json::{Value, json};

/// The body of a request with pictures, in KiB.
const MOST_KIB: usize = 10 * 1024;

/// An answer in the shape of OpenAI's chat completions; docs/openai.md has every parameter.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", security(("bearer" = [])),
    request_body(content = Object, description = "As OpenAI's"),
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Object), (status = 400), (status = 404), (status = 422), (status = 429), (status = 502)))]
#[post("/v1/chat/completions", wrap = "from_fn(shape)")]
pub(crate) async fn completions(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    Bytes(body): Bytes<MOST_KIB>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(&request)?;
    // A large body with pictures takes milliseconds: not those of other requests of this worker.
    let read = web::block(move || request::parse(&body, key)).await;
    let wanted = read.map_err(|_died| Problem::invalid("The body cannot be read."))??;
    let Wanted { model, asked, stream, include_usage, calls } = wanted;
    must_be_listed(&state, ctx, &model).await?;
    let watch = if stream { Some(Watch::open(&state, ctx).await?) } else { None };
    let accepted = state.chat.ask(ctx, asked).await.map_err(refused)?;
    let head = Head {
        id: format!("chatcmpl-{}", accepted.turn),
        created: Utc::now().timestamp(),
        model,
        include_usage,
        calls,
    };
    let mut response = HttpResponse::Ok();
    response.insert_header(("x-turn-id", accepted.turn.to_string()));
    match watch {
        Some(watch) => {
            Ok(wire_response(&mut response, accepted.log.cursor(0), Chunks::new(head), watch))
        }
        None => Ok(response.json(whole(&accepted, head).await?)),
    }
}

/// A name that is neither an assistant's nor a model's.
fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::NoAssistant | Refused::NoModel(_) => no_model(),
        other => other.into(),
    }
}

/// What was said in all.
#[derive(Default)]
struct Said {
    text: String,
    thoughts: String,
    calls: Vec<(String, String, String)>,
    citations: Vec<CitationData>,
    reason: &'static str,
    usage: Option<UsageData>,
}

async fn whole(accepted: &Accepted, head: Head) -> Result<Value, Problem> {
    let mut said = Said::default();
    let (mut listener, mut cursor) = (Listener::new(head.calls), accepted.log.cursor(0));
    while let Some(batch) = cursor.next().await {
        for part in &batch.parts {
            let Ok(part) = serde_json::from_slice::<Part>(part) else { continue };
            for delta in listener.hear(part) {
                said.add(delta)?;
            }
        }
    }
    Ok(said.completion(&head))
}

impl Said {
    fn add(&mut self, delta: Delta) -> Result<(), Problem> {
        match delta {
            Delta::Begin => {}
            Delta::Cited(citations) => self.citations.extend(citations),
            Delta::Text(text) => self.text.push_str(&text),
            Delta::Thought(text) => self.thoughts.push_str(&text),
            Delta::CallBegin { id, name, .. } => self.calls.push((id, name, String::new())),
            Delta::CallInput { index, json } => {
                if let Some((.., arguments)) = self.calls.get_mut(index) {
                    arguments.push_str(&json);
                }
            }
            Delta::End { reason, usage } => (self.reason, self.usage) = (reason, usage),
            // A name that only the provider knows to be nobody's.
            Delta::Failed { error: Some(error), .. } if error.code == "model_unknown" => {
                return Err(no_model());
            }
            Delta::Failed { message, .. } => {
                return Err(Problem::new(Code::UpstreamFailed, message));
            }
        }
        Ok(())
    }

    fn completion(self, head: &Head) -> Value {
        let text = (!self.text.is_empty() || self.calls.is_empty()).then_some(self.text);
        let message = json!({"role": "assistant", "content": text, "refusal": null});
        let message = match self.thoughts.is_empty() {
            true => message,
            false => with(message, "reasoning_content", self.thoughts.into()),
        };
        let call = |(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let calls: Vec<Value> = self.calls.into_iter().map(call).collect();
        let message = match calls.is_empty() {
            true => message,
            false => with(message, "tool_calls", calls.into()),
        };
        let completion = json!({
            "id": head.id, "object": "chat.completion", "created": head.created, "model": head.model,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.reason}],
            "usage": self.usage.as_ref().map(usage),
        });
        match self.citations.is_empty() {
            true => completion,
            false => with(completion, "citations", json!(self.citations)),
        }
    }
}
