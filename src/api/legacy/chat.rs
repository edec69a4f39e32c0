//! A question to a specialist, whose conversation the client keeps.

use super::stream::events;
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::api::stream::Watch;
use crate::chat::{Accepted, Asked, Given, Part, UsageData, What, Wishes};
use crate::llm::{self, ChatMessage};
use crate::store::DbError;
use crate::store::assistants::Assistant;
use crate::store::turns::Turn;
use crate::types::{Ctx, Question};
use actix_web::http::header;
use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// The most that may have been said before.
const MAX_HISTORY: usize = 200;

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SaidBy {
    User,
    Assistant,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Said {
    role: SaidBy,
    content: String,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct LegacyBody {
    /// Slug or id of an assistant.
    specialist_id: String,
    /// At most 16,000 characters.
    message: String,
    /// What was said before, oldest first; at most 200 messages.
    #[serde(default)]
    conversation_history: Vec<Said>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LegacyAnswer {
    content: String,
    /// As it was asked for.
    specialist_id: String,
    specialist_name: String,
    provider: String,
    model: String,
    input_tokens: i64,
    output_tokens: i64,
    /// Null when the model has no price.
    estimated_cost_usd: Option<f64>,
    latency_ms: u64,
}

impl LegacyBody {
    fn messages(&self) -> Result<Vec<ChatMessage>, Problem> {
        let message = Question::parse(&self.message).map_err(|error| {
            Problem::invalid(format!("{error}.").replace("`text`", "`message`")).about("message")
        })?;
        if self.conversation_history.len() > MAX_HISTORY {
            let detail = format!("`conversation_history` has more than {MAX_HISTORY} messages.");
            return Err(Problem::invalid(detail).about("conversation_history"));
        }
        let said = self.conversation_history.iter().map(|said| {
            let role = match said.role {
                SaidBy::User => llm::Role::User,
                SaidBy::Assistant => llm::Role::Assistant,
            };
            ChatMessage::new(role, said.content.as_str())
        });
        let last = ChatMessage::new(llm::Role::User, message.as_str());
        Ok(said.chain([last]).collect())
    }
}

/// A turn under way, and what was heard of it.
pub(super) struct Asking {
    started: Instant,
    specialist_id: String,
    specialist_name: String,
    pub(super) accepted: Accepted,
    content: String,
    usage: Option<UsageData>,
    failed: Option<String>,
}

impl Asking {
    async fn begin(state: &State, ctx: Ctx, body: LegacyBody) -> Result<Self, Problem> {
        let started = Instant::now();
        let messages = body.messages()?;
        let tx = state.db.tenant(ctx.tenant).await?;
        let found = Assistant::pick(&tx, ctx.tenant, Some(&body.specialist_id)).await;
        tx.commit().await?;
        let found = found.map_err(DbError::from)?;
        let assistant = found.ok_or_else(|| Problem::not_found("specialist"))?;
        let given = Given { messages, tools: Vec::new() };
        let asked = Asked {
            what: What::Given(Arc::new(given)),
            assistant: Some(assistant.id.to_string()),
            draft: false,
            idempotency_key: None, // without a key nothing is a repeat
            wishes: Wishes::default(),
        };
        Ok(Self {
            started,
            specialist_id: body.specialist_id,
            specialist_name: assistant.name,
            accepted: state.chat.ask(ctx, asked).await?,
            content: String::new(),
            usage: None,
            failed: None,
        })
    }

    /// Takes note of a part; returns what it adds to the answer's text.
    pub(super) fn hear(&mut self, part: &[u8]) -> Option<String> {
        match serde_json::from_slice(part).ok()? {
            Part::TextDelta { delta, .. } => {
                self.content.push_str(&delta);
                return Some(delta);
            }
            Part::DataUsage { data } => self.usage = Some(data),
            Part::Error { error_text } => self.failed = Some(error_text),
            _ => {}
        }
        None
    }

    /// The whole answer, once all was heard.
    pub(super) async fn answer(
        &mut self,
        state: &State,
        ctx: Ctx,
    ) -> Result<LegacyAnswer, Problem> {
        if let Some(failed) = self.failed.take() {
            let mut problem = Problem::new(Code::UpstreamFailed, failed);
            problem.more.insert("turn_id".into(), self.accepted.turn.to_string().into());
            return Err(problem);
        }
        let mut tx = state.db.tenant(ctx.tenant).await?;
        let turn = Turn::find(&mut tx, ctx.tenant, self.accepted.turn).await;
        tx.commit().await?;
        let turn = turn.map_err(DbError::from)?;
        let (provider, model) = turn.map(|turn| (turn.provider, turn.model)).unwrap_or_default();
        let usage = self.usage.as_ref();
        Ok(LegacyAnswer {
            content: std::mem::take(&mut self.content),
            specialist_id: self.specialist_id.clone(),
            specialist_name: self.specialist_name.clone(),
            provider,
            model,
            input_tokens: usage.map_or(0, |usage| usage.input_tokens),
            output_tokens: usage.map_or(0, |usage| usage.output_tokens),
            estimated_cost_usd: usage.and_then(|usage| usage.cost_nano_usd).map(dollars),
            latency_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate of one answer's cost")]
fn dollars(nano: i64) -> f64 {
    nano as f64 / 1e9
}

/// Ask a specialist, with the conversation so far. Kept for older clients: use `/v1/chat/send`.
#[utoipa::path(post, path = "/chat/send", tag = "legacy", security(("bearer" = [])), request_body = LegacyBody,
    responses((status = 200, body = LegacyAnswer), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem), (status = 429, body = Problem), (status = 502, body = Problem)))]
#[post("/chat/send")]
pub(crate) async fn send(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<LegacyBody>,
) -> Result<web::Json<LegacyAnswer>, Problem> {
    let mut asking = Asking::begin(&state, ctx, body).await?;
    let mut cursor = asking.accepted.log.cursor(0);
    while let Some(batch) = cursor.next().await {
        for part in &batch.parts {
            asking.hear(part);
        }
    }
    Ok(web::Json(asking.answer(&state, ctx).await?))
}

/// The same, streamed: pieces of the answer, then all of it. Kept for older clients: use `/v1/chat/stream`.
#[utoipa::path(post, path = "/chat/stream", tag = "legacy", security(("bearer" = [])), request_body = LegacyBody,
    responses((status = 200, content_type = "text/event-stream"), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
#[post("/chat/stream")]
pub(crate) async fn stream(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(body): Body<LegacyBody>,
) -> Result<HttpResponse, Problem> {
    let watch = Watch::open(&state, ctx).await?; // before anything is asked
    let asking = Asking::begin(&state, ctx, body).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(events(state.get_ref().clone(), ctx, asking, watch))))
}
