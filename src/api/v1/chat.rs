//! Asking a question: streamed, or whole.

use super::quota;
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::api::stream::{Watch, sse_response};
use crate::chat::{Accepted, Asked, AskedError, CitationData, Part, UsageData, What, Wishes};
use crate::store::DbError;
use crate::store::quotas::Quota;
use crate::store::turns::Turn;
use crate::types::{AssistantId, ConversationId, Ctx, IdempotencyKey, MessageId, TurnId};
use actix_web::{HttpRequest, HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use utoipa::ToSchema;

/// A question; or a stored one, edited or answered again.
#[derive(Deserialize, ToSchema)]
pub(crate) struct AskBody {
    /// Left out, a conversation begins.
    conversation_id: Option<ConversationId>,
    /// Slug or id; left out, the conversation's or the tenant's default.
    assistant: Option<String>,
    /// The draft of `assistant` (an id) is tried, in a conversation of its own. For who may edit it.
    #[serde(default)]
    draft: bool,
    /// At most 16,000 characters. Left out only with `regenerate`.
    text: Option<String>,
    /// The id of a question in this conversation: `text` is asked in its place, beside it.
    edit_of: Option<MessageId>,
    /// The id of an answer in this conversation, or of its question: it is answered again.
    regenerate: Option<MessageId>,
}

impl AskBody {
    /// A question to try a draft with.
    pub(super) fn of_draft(
        assistant: AssistantId,
        conversation_id: Option<ConversationId>,
        text: String,
    ) -> Self {
        let (assistant, text) = (Some(assistant.to_string()), Some(text));
        Self { conversation_id, assistant, draft: true, text, edit_of: None, regenerate: None }
    }

    pub(super) fn asked(
        self,
        idempotency_key: Option<IdempotencyKey>,
    ) -> Result<Asked, AskedError> {
        let text = self.text.as_deref();
        let what = What::parse(self.conversation_id, text, self.edit_of, self.regenerate)?;
        let Self { assistant, draft, .. } = self;
        Ok(Asked { what, assistant, draft, idempotency_key, wishes: Wishes::default() })
    }
}

/// A whole answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answer {
    turn_id: TurnId,
    conversation_id: ConversationId,
    text: String,
    /// The passages the answer was given; it refers to them as `[index]`.
    citations: Vec<CitationData>,
    usage: Option<UsageData>,
    model: String,
    provider: String,
    latency_ms: u64,
}

async fn ask(
    request: &HttpRequest,
    state: &State,
    ctx: Ctx,
    body: AskBody,
) -> Result<Accepted, Problem> {
    let asked = body.asked(idempotency_key(request)?)?;
    Ok(state.chat.ask(ctx, asked).await?)
}

pub(crate) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = IdempotencyKey::parse(value.to_str().unwrap_or_default());
    key.map(Some).map_err(|error| Problem::invalid(format!("Idempotency-Key: {error}.")))
}

/// Ask, and stream the parts of the answer as server-sent events (AI SDK UI Message Stream v1).
#[utoipa::path(post, path = "/v1/chat/stream", tag = "chat", security(("bearer" = [])),
    request_body = AskBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
#[post("/v1/chat/stream")]
pub(crate) async fn stream(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<AskBody>,
) -> Result<HttpResponse, Problem> {
    ask_and_stream(&request, &state, ctx, body).await
}

pub(super) async fn ask_and_stream(
    request: &HttpRequest,
    state: &State,
    ctx: Ctx,
    body: AskBody,
) -> Result<HttpResponse, Problem> {
    let watch = Watch::open(state, ctx).await?; // before anything is asked
    let accepted = ask(request, state, ctx, body).await?;
    let mut response = HttpResponse::Ok();
    quota::header(&mut response, &quota::standing(state, ctx, &accepted).await);
    Ok(sse_response(&mut response, accepted.log.cursor(0), Some(accepted.conversation), watch))
}

/// Ask, and wait for the whole answer.
#[utoipa::path(post, path = "/v1/chat/send", tag = "chat", security(("bearer" = [])),
    request_body = AskBody, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Answer), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem), (status = 429, body = Problem), (status = 502, body = Problem)))]
#[post("/v1/chat/send")]
pub(crate) async fn send(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<AskBody>,
) -> Result<HttpResponse, Problem> {
    let started = Instant::now();
    let accepted = ask(&request, &state, ctx, body).await?;
    let mut answer = Answer {
        turn_id: accepted.turn,
        conversation_id: accepted.conversation,
        text: String::new(),
        citations: Vec::new(),
        usage: None,
        model: String::new(),
        provider: String::new(),
        latency_ms: 0,
    };
    collect(&accepted, &mut answer).await?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, accepted.turn).await.map_err(DbError::from)?;
    let quotas = Quota::load(&tx, ctx.tenant, ctx.user).await.map_err(DbError::from)?;
    tx.commit().await?;
    if let Some(turn) = turn {
        (answer.model, answer.provider) = (turn.model, turn.provider);
    }
    answer.latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut response = HttpResponse::Ok();
    quota::header(&mut response, &quota::limits(quotas));
    Ok(response.json(answer))
}

/// Reads the log to its end. A failed turn is a problem, with the turn's id to look at it.
async fn collect(accepted: &Accepted, answer: &mut Answer) -> Result<(), Problem> {
    let mut cursor = accepted.log.cursor(0);
    while let Some(batch) = cursor.next().await {
        for part in &batch.parts {
            match serde_json::from_slice(part) {
                Ok(Part::TextDelta { delta, .. }) => answer.text.push_str(&delta),
                Ok(Part::DataCitation { data, .. }) => answer.citations.push(data),
                Ok(Part::DataUsage { data }) => answer.usage = Some(data),
                Ok(Part::Error { error_text }) => {
                    let mut problem = Problem::new(Code::UpstreamFailed, error_text);
                    problem.more.insert("turn_id".into(), accepted.turn.to_string().into());
                    return Err(problem);
                }
                _ => {}
            }
        }
    }
    Ok(())
}
