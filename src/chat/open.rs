//! Step 1 of a turn: question, turn and reservation become durable in one transaction, or nothing
//! does. Refusals happen here, before anything costs anything.

use super::accepted::{Asked, Refused};
use super::service::ChatParts;
use super::{history, prompt};
use crate::llm::ChatMessage;
use crate::metering::{self, Ask, Grant, ReserveError};
use crate::store::assistants::Assistant;
use crate::store::conversations::{self, NewConversation};
use crate::store::messages::{Message, NewMessage};
use crate::store::turns::NewTurn;
use crate::store::{Conn, DbError};
use crate::types::{ConversationId, Ctx, IdempotencyKey, MessageId, TurnId};
use diesel::result::{DatabaseErrorKind, Error};

/// With fewer tokens left for an answer, a turn is refused.
const LEAST_OUTPUT: i64 = 64;

/// What a turn is to do, decided before it begins.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) ctx: Ctx,
    pub(super) turn: TurnId,
    pub(super) conversation: ConversationId,
    pub(super) is_new: bool,
    pub(super) asked: Asked,
    /// Of the request, to tell a repeat from another request with the same key.
    pub(super) hash: Vec<u8>,
}

/// An opened turn.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) question: MessageId,
    pub(super) answer: MessageId,
    pub(super) model: String,
    pub(super) instructions: String,
    pub(super) history: Vec<ChatMessage>,
    pub(super) max_output: u32,
}

/// Why no turn was opened.
pub(super) enum NotOpened {
    Refused(Refused),
    /// The key was used a moment ago: attach to that turn.
    Repeat,
}

impl<E: Into<Refused>> From<E> for NotOpened {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

pub(super) async fn open(parts: &ChatParts, order: &Order) -> Result<Opened, NotOpened> {
    let ctx = order.ctx;
    let mut tx = parts.db.tenant(ctx.tenant).await?;
    let assistant = assistant(&mut tx, order).await?;
    if order.is_new {
        let title = order.asked.question.title();
        NewConversation {
            tenant_id: ctx.tenant,
            id: order.conversation,
            user_id: ctx.user,
            assistant_id: assistant.id,
            title: &title,
        }
        .insert(&mut tx)
        .await?;
    }
    let earlier = if order.is_new {
        Vec::new()
    } else {
        Message::latest(&mut tx, ctx.tenant, order.conversation, history::LOOK_BACK).await?
    };
    let history = history::fitting(&earlier);
    let model = assistant.model.unwrap_or_else(|| parts.default_model.clone());
    let opened = Opened {
        question: MessageId::new(),
        answer: MessageId::new(),
        model,
        instructions: assistant.instructions,
        history,
        max_output: parts.max_output_tokens,
    };
    insert(&mut tx, parts, order, &opened, earlier.last().map(|message| message.id)).await?;
    let grant = reserve(&mut tx, order, &opened).await?;
    tx.commit().await?;
    let max_output = u32::try_from(grant.output).unwrap_or(opened.max_output);
    Ok(Opened { max_output, ..opened })
}

/// The conversation's own assistant, unless another one is named.
async fn assistant(tx: &mut Conn, order: &Order) -> Result<Assistant, Refused> {
    let ctx = order.ctx;
    let name = order.asked.assistant.as_deref();
    if order.is_new {
        return Assistant::pick(tx, ctx.tenant, name).await?.ok_or(Refused::NoAssistant);
    }
    let own = conversations::assistant_of(tx, ctx.tenant, ctx.user, order.conversation)
        .await?
        .ok_or(Refused::NoConversation)?;
    let assistant = match name {
        Some(_) => Assistant::pick(tx, ctx.tenant, name).await?,
        None => Assistant::find(tx, ctx.tenant, own).await?,
    };
    assistant.ok_or(Refused::NoAssistant)
}

async fn insert(
    tx: &mut Conn,
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
    parent: Option<MessageId>,
) -> Result<(), NotOpened> {
    let ctx = order.ctx;
    let turn = NewTurn {
        tenant_id: ctx.tenant,
        id: order.turn,
        conversation_id: order.conversation,
        user_id: ctx.user,
        question_id: opened.question,
        answer_id: opened.answer,
        idempotency_key: order.asked.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        request_hash: &order.hash,
        provider: parts.model.provider(),
        model: &opened.model,
        owner: parts.node,
    };
    if let Err(error) = turn.insert(tx).await {
        return Err(match broken_constraint(&error) {
            Some("turns_one_running") => Refused::TurnInProgress.into(),
            Some("turns_idempotency") => NotOpened::Repeat,
            _ => DbError::from(error).into(),
        });
    }
    NewMessage {
        tenant_id: ctx.tenant,
        id: opened.question,
        conversation_id: order.conversation,
        parent_id: parent,
        turn_id: order.turn,
        role: "user",
        status: "complete",
        content: order.asked.question.as_str(),
    }
    .insert(tx)
    .await?;
    conversations::touch(tx, ctx.tenant, order.conversation).await?;
    Ok(())
}

fn broken_constraint(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => info.constraint_name(),
        _ => None,
    }
}

async fn reserve(tx: &mut Conn, order: &Order, opened: &Opened) -> Result<Grant, Refused> {
    let question = order.asked.question.as_str();
    let ask = Ask {
        input: prompt::most_tokens(&opened.instructions, &opened.history, question),
        output: i64::from(opened.max_output),
        least_output: LEAST_OUTPUT,
    };
    metering::reserve(tx, order.ctx, order.turn, ask).await.map_err(|error| match error {
        ReserveError::Exceeded(exceeded) => Refused::QuotaExceeded(exceeded),
        ReserveError::Query(error) => error.into(),
    })
}
