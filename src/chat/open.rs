//! Step 1 of a turn: question, turn and reservation become durable in one transaction, or nothing
//! does. Refusals happen here, before anything costs anything.

use super::accepted::Refused;
use super::asked::{Asked, What};
use super::prompt::Manner;
use super::service::ChatParts;
use super::{history, prompt};
use crate::llm::{ChatMessage, tokens};
use crate::metering::{self, Ask, Prices};
use crate::store::assistants::Assistant;
use crate::store::conversations::{self, Conversation, NewConversation};
use crate::store::messages::{Message, NewMessage};
use crate::store::turns::NewTurn;
use crate::store::{Conn, DbError};
use crate::types::{AssistantId, ConversationId, Ctx, IdempotencyKey, MessageId, TurnId};
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

impl Order {
    pub(super) fn new(ctx: Ctx, asked: Asked, hash: Vec<u8>) -> Self {
        let conversation = asked.conversation().unwrap_or_else(ConversationId::new);
        let is_new = asked.conversation().is_none();
        Self { ctx, turn: TurnId::new(), conversation, is_new, asked, hash }
    }
}

/// An opened turn.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) question: MessageId,
    /// What the question says.
    pub(super) text: String,
    pub(super) answer: MessageId,
    pub(super) assistant: AssistantId,
    pub(super) model: String,
    /// What the turn was quoted.
    pub(super) prices: Prices,
    pub(super) instructions: String,
    /// `None`: that of the question.
    pub(super) language: Option<String>,
    pub(super) temperature: Option<f32>,
    /// Empty: all documents.
    pub(super) collections: Vec<String>,
    pub(super) history: Vec<ChatMessage>,
    pub(super) max_output: u32,
}

impl Opened {
    /// How it is to be answered.
    pub(super) fn manner(&self) -> Manner<'_> {
        Manner { instructions: &self.instructions, language: self.language.as_deref() }
    }
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
    let (mut opened, stored) = begin(&mut tx, parts, order).await?;
    if let (true, Some(question)) = (order.is_new, order.asked.question()) {
        NewConversation {
            tenant_id: ctx.tenant,
            id: order.conversation,
            user_id: ctx.user,
            assistant_id: opened.assistant,
            title: &question.title(),
            trial: order.asked.draft,
        }
        .insert(&mut tx)
        .await?;
    }
    // From here on no other turn adds to the conversation: its branch can be read.
    insert_turn(&mut tx, parts, order, &opened).await?;
    if stored.is_none() && !order.is_new {
        conversations::lock(&mut tx, ctx.tenant, ctx.user, order.conversation).await?;
    }
    let before = recall(&mut tx, order, &mut opened, stored).await?;
    if order.asked.question().is_some() {
        insert_question(&mut tx, order, &opened, before).await?;
    }
    conversations::asked(&mut tx, ctx.tenant, order.conversation, opened.question).await?;
    let grant = metering::reserve(&mut tx, ctx, order.turn, parts.node, ask(parts, &opened));
    let grant = grant.await.map_err(Refused::from)?;
    tx.commit().await?;
    opened.prices = grant.prices;
    opened.max_output = u32::try_from(grant.output).unwrap_or(opened.max_output);
    Ok(opened)
}

/// What is asked, and of whom; with the stored question that is edited or answered again.
pub(super) async fn begin(
    tx: &mut Conn,
    parts: &ChatParts,
    order: &Order,
) -> Result<(Opened, Option<Message>), Refused> {
    let assistant = assistant(tx, order).await?;
    let stored = stored(tx, order).await?;
    let (question, text) = match (order.asked.question(), &stored) {
        (Some(question), _) => (MessageId::new(), question.as_str().to_owned()),
        (None, Some(stored)) => (stored.id, stored.content.clone()),
        (None, None) => return Err(Refused::NoMessage),
    };
    let opened = Opened {
        question,
        text,
        answer: MessageId::new(),
        assistant: assistant.id,
        model: assistant.model.unwrap_or_else(|| parts.default_model.clone()),
        prices: Prices::default(),
        instructions: assistant.instructions,
        language: assistant.language,
        temperature: assistant.temperature,
        collections: assistant.collections,
        history: Vec::new(),
        max_output: parts.max_output_tokens,
    };
    Ok((opened, stored))
}

/// What was said before the question; returns the message that it follows.
pub(super) async fn recall(
    tx: &mut Conn,
    order: &Order,
    opened: &mut Opened,
    stored: Option<Message>,
) -> Result<Option<MessageId>, Refused> {
    let before = match stored {
        Some(stored) => stored.parent_id,
        None if order.is_new => None,
        None => leaf(tx, order).await?,
    };
    if let Some(before) = before {
        let tenant = order.ctx.tenant;
        let earlier = Message::branch(tx, tenant, before, history::LOOK_BACK).await?;
        opened.history = history::fitting(&earlier);
    }
    Ok(before)
}

/// What the turn wants to use at most.
pub(super) fn ask<'a>(parts: &'a ChatParts, opened: &'a Opened) -> Ask<'a> {
    Ask {
        assistant: opened.assistant,
        model: &opened.model,
        embedding_model: parts.retriever.embedding_model(),
        input: prompt::most_tokens(opened.manner(), &opened.history, &opened.text),
        output: i64::from(opened.max_output),
        least_output: LEAST_OUTPUT,
        embedding: i64::from(tokens::count(&opened.text)),
    }
}

/// The question that is edited or answered again.
async fn stored(tx: &mut Conn, order: &Order) -> Result<Option<Message>, Refused> {
    let id = match &order.asked.what {
        What::Question { .. } => return Ok(None),
        What::Edit { of, .. } => *of,
        What::Regenerate { message, .. } => *message,
    };
    let (tenant, conversation) = (order.ctx.tenant, order.conversation);
    let mut found = Message::find_in(tx, tenant, conversation, id).await?;
    if let (What::Regenerate { .. }, Some(Message { role, parent_id: Some(parent), .. })) =
        (&order.asked.what, &found)
        && role == "assistant"
    {
        found = Message::find_in(tx, tenant, conversation, *parent).await?;
    }
    found.filter(|message| message.role == "user").map(Some).ok_or(Refused::NoMessage)
}

/// Where the active branch ends.
async fn leaf(tx: &mut Conn, order: &Order) -> Result<Option<MessageId>, Refused> {
    let ctx = order.ctx;
    let found = Conversation::find(tx, ctx.tenant, ctx.user, order.conversation).await?;
    Ok(found.ok_or(Refused::NoConversation)?.leaf_id)
}

/// The conversation's own assistant, unless another one is named. A conversation that tries a draft goes
/// on with it, as long as its user may edit assistants.
async fn assistant(tx: &mut Conn, order: &Order) -> Result<Assistant, Refused> {
    let ctx = order.ctx;
    let Asked { assistant: name, draft, .. } = &order.asked;
    let (own, trial) = if order.is_new {
        (name.as_ref().filter(|_| *draft).and_then(|name| name.parse().ok()), *draft)
    } else {
        let found = conversations::assistant_of(tx, ctx.tenant, ctx.user, order.conversation);
        let (own, trial) = found.await?.ok_or(Refused::NoConversation)?;
        (Some(own), trial)
    };
    let may_try = trial && ctx.role.manages_assistants();
    let assistant = match (own, name.as_deref()) {
        (Some(own), name) if may_try && name.is_none_or(|name| name == own.to_string()) => {
            Assistant::draft(tx, ctx.tenant, own).await?
        }
        _ if trial || *draft => None,
        (Some(own), None) => Assistant::find(tx, ctx.tenant, own).await?,
        (_, name) => Assistant::pick(tx, ctx.tenant, name).await?,
    };
    assistant.ok_or(Refused::NoAssistant)
}

async fn insert_turn(
    tx: &mut Conn,
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
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
    turn.insert(tx).await.map_err(|error| match broken_constraint(&error) {
        Some("turns_one_running") => Refused::TurnInProgress.into(),
        Some("turns_idempotency") => NotOpened::Repeat,
        _ => DbError::from(error).into(),
    })
}

async fn insert_question(
    tx: &mut Conn,
    order: &Order,
    opened: &Opened,
    parent: Option<MessageId>,
) -> Result<(), DbError> {
    let message = NewMessage {
        tenant_id: order.ctx.tenant,
        id: opened.question,
        conversation_id: order.conversation,
        parent_id: parent,
        turn_id: order.turn,
        role: "user",
        status: "complete",
        content: &opened.text,
    };
    Ok(message.insert(tx).await?)
}

fn broken_constraint(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => info.constraint_name(),
        _ => None,
    }
}
