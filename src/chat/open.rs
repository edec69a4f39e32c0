//! Step 1 of a turn: question, turn and reservation become durable in one transaction, or nothing
//! does. Refusals happen here, before anything costs anything.

use super::accepted::Refused;
use super::asked::{Asked, What};
use super::history::{self, History};
use super::opened::Opened;
use super::prompt;
use super::search::Search;
use super::service::ChatParts;
use super::tool_step::most_embedded;
use crate::llm::{Format, ToolCall, ToolChoice, tokens};
use crate::metering::{self, Ask, Grant, Prices};
use crate::store::approvals::Approval;
use crate::store::assistants::Assistant;
use crate::store::conversations::{self, NewConversation};
use crate::store::messages::{Message, NewMessage};
use crate::store::summaries::Remembered;
use crate::store::turns::NewTurn;
use crate::store::{Conn, DbError, Tx};
use crate::types::{
    AssistantId, ChatName, ConversationId, Ctx, IdempotencyKey, MessageId, Question, TurnId,
};
use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};
use futures_util::join;

/// With fewer tokens left for an answer, a turn is refused.
pub(super) const LEAST_OUTPUT: i64 = 64;

/// What a call and its result add to a prompt at most.
const MOST_OF_A_RESULT: i64 = 8_000;

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

/// Why no turn was opened.
pub(super) enum NotOpened {
    Refused(Refused),
    /// The key was used a moment ago: attach to that turn. Or the name was, and its turn runs.
    Repeat,
}

impl<E: Into<Refused>> From<E> for NotOpened {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Opens the turn; with the search for its passages, which has begun.
pub(super) async fn open(
    parts: &ChatParts,
    order: &Order,
) -> Result<(Opened, Option<Search>), NotOpened> {
    let ctx = order.ctx;
    let (tx, mut opened, stored) = begin(parts, order).await?;
    let mut before = None;
    if !order.is_new {
        // Once the turn is there no other one adds to the conversation, and its branch can be read.
        let (inserted, held, earlier) = join!(
            insert_turn(&tx, parts, order, &opened),
            hold(&tx, order, stored.as_ref()),
            earlier(&tx, order, stored.as_ref()),
        );
        inserted?;
        held?;
        before = opened.recall(&earlier?);
    }
    let mut search = Search::new(parts, ctx.tenant, &opened);
    let grant = Search::beside(&mut search, admit(tx, parts, order, &opened, before)).await?;
    opened.prices = grant.prices;
    opened.standing = grant.standing;
    opened.max_output = u32::try_from(grant.output).unwrap_or(opened.max_output);
    Ok((opened, search))
}

/// The question and what it may cost become durable, or it is refused.
async fn admit(
    tx: Tx,
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
    before: Option<MessageId>,
) -> Result<Grant, NotOpened> {
    let models = opened.models(0);
    let (begun, said, shown, grant) = join!(
        insert_conversation(&tx, parts, order, opened),
        insert_question(&tx, order, opened, before),
        show_question(&tx, order, opened),
        metering::reserve(&tx, order.ctx, order.turn, parts.node, ask(opened, &models)),
    );
    begun?;
    said?;
    shown?;
    let grant = grant.map_err(Refused::from)?;
    tx.commit().await?;
    Ok(grant)
}

/// Begins a transaction, and finds out what is asked, and of whom; with the stored question that is edited or
/// answered again.
pub(super) async fn begin(
    parts: &ChatParts,
    order: &Order,
) -> Result<(Tx, Opened, Option<Message>), Refused> {
    let tenant = order.ctx.tenant;
    let first = async |conn: &Conn| {
        join!(assistant(conn, order), parts.retriever.space(conn, tenant), stored(conn, order))
    };
    let (mut tx, (assistant, space, stored)) = parts.db.tenant_with(tenant, first).await?;
    let (assistant, answers) = assistant?;
    let name = if answers { assistant.model.as_deref() } else { order.asked.assistant.as_deref() };
    let route = parts.catalogue.resolve_in(&mut tx, tenant, name).await?;
    let stored = stored?;
    let rules = parts.guard.rules_in(&mut tx, tenant).await?;
    let billed_to = answers.then_some(assistant.id);
    let given = order.asked.given().map(|given| given.filtered(&rules, billed_to)).transpose()?;
    let (question, text) = match (order.asked.question(), &stored, &given) {
        (Some(question), ..) => (MessageId::new(), question.as_str().to_owned()),
        (None, Some(stored), _) => (stored.id, stored.content.clone()),
        (None, None, Some(given)) => (MessageId::new(), given.question()),
        (None, None, None) => return Err(Refused::NoMessage),
    };
    let text = rules.input(billed_to, &text)?.unwrap_or(text);
    let decided = decided(&mut tx, order).await?;
    let wishes = order.asked.wishes.clone();
    // Not all models can call tools and keep to a format.
    let callable = answers
        && given.as_ref().is_none_or(|given| given.tools.is_empty())
        && wishes.tool_choice == ToolChoice::Auto
        && wishes.format == Format::Text
        && route.candidates.iter().any(|it| it.capabilities.tools);
    let mut names = if callable { assistant.tools } else { Vec::new() };
    names.extend(decided.iter().map(|(call, _)| call.name.clone()));
    let tools = parts.toolbox.offer(&mut tx, tenant, &names).await?;
    // In a conversation that is not stored, nobody can be asked.
    let tools = if given.is_some() { tools.unattended() } else { tools };
    let opened = Opened {
        question,
        text,
        answer: MessageId::new(),
        assistant: assistant.id,
        billed_to,
        route,
        space: space?,
        prices: Prices::default(),
        standing: Vec::new(),
        instructions: assistant.instructions,
        language: assistant.language,
        temperature: assistant.temperature.filter(|_| answers),
        collections: assistant.collections,
        tools,
        history: History::default(),
        decided,
        given,
        rules,
        max_output: parts.max_output_tokens.min(wishes.max_output.unwrap_or(u32::MAX)),
        wishes,
    };
    Ok((tx, opened, stored))
}

/// What was said before the question, oldest first, as far as it is looked at.
pub(super) async fn earlier(
    conn: &Conn,
    order: &Order,
    stored: Option<&Message>,
) -> QueryResult<Vec<Remembered>> {
    let tenant = order.ctx.tenant;
    match stored.map(|stored| stored.parent_id) {
        Some(Some(before)) => Remembered::branch(conn, tenant, before, history::LOOK_BACK).await,
        None if !order.is_new => {
            Remembered::shown(conn, tenant, order.conversation, history::LOOK_BACK).await
        }
        _ => Ok(Vec::new()),
    }
}

/// What the turn wants to use at most.
pub(super) fn ask<'a>(opened: &'a Opened, models: &'a [String]) -> Ask<'a> {
    let retrieves = opened.billed_to.is_some();
    let prompt = i64::from(tokens::count_request(&opened.request(&[])));
    let prompt = if opened.decided.is_some() { prompt + MOST_OF_A_RESULT } else { prompt };
    let output = i64::from(opened.max_output);
    Ask {
        assistant: opened.billed_to,
        models,
        embedding_model: opened.space.billed_as(),
        input: if retrieves { prompt + prompt::MOST_PASSAGES } else { prompt },
        output,
        least_output: LEAST_OUTPUT.min(output),
        embedding: if retrieves { i64::from(tokens::count(&opened.text)) } else { 0 }
            + most_embedded(&opened.tools),
    }
}

/// The call that this turn was opened to decide, which is done here: once.
async fn decided(tx: &mut Conn, order: &Order) -> Result<Option<(ToolCall, bool)>, Refused> {
    let What::Decision { approval, approved, .. } = order.asked.what else { return Ok(None) };
    let waited = Approval::decide(tx, order.ctx.tenant, approval, approved).await?;
    let Approval { call_id, tool, arguments, signature, .. } = waited.ok_or(Refused::Decided)?;
    Ok(Some((ToolCall { id: call_id, name: tool, arguments, signature }, approved)))
}

/// The question that is edited or answered again.
async fn stored(conn: &Conn, order: &Order) -> Result<Option<Message>, Refused> {
    let id = match &order.asked.what {
        What::Question { .. } | What::Named { .. } | What::Decision { .. } | What::Given(_) => {
            return Ok(None);
        }
        What::Edit { of, .. } => *of,
        What::Regenerate { message, .. } => *message,
    };
    let (tenant, conversation) = (order.ctx.tenant, order.conversation);
    let mut found = Message::find_in(conn, tenant, conversation, id).await?;
    if let (What::Regenerate { .. }, Some(Message { role, parent_id: Some(parent), .. })) =
        (&order.asked.what, &found)
        && role == "assistant"
    {
        found = Message::find_in(conn, tenant, conversation, *parent).await?;
    }
    found.filter(|message| message.role == "user").map(Some).ok_or(Refused::NoMessage)
}

/// The conversation's own assistant, unless another one is named. False: it only lends the conversation
/// its name, and what was named is a model.
async fn assistant(conn: &Conn, order: &Order) -> Result<(Assistant, bool), Refused> {
    let Ctx { tenant, user, .. } = order.ctx;
    let Asked { assistant: name, draft, .. } = &order.asked;
    let name = name.as_deref();
    if order.is_new && *draft {
        let id = name.and_then(|name| name.parse().ok());
        return Ok((tried(conn, order.ctx, id, None).await?, true));
    }
    if order.is_new {
        let picked = Assistant::pick(conn, tenant, name).await?;
        let (picked, answers) = match picked {
            None if order.asked.given().is_some() => {
                (Assistant::pick(conn, tenant, None).await?, false)
            }
            picked => (picked, true),
        };
        return Ok((picked.ok_or(Refused::NoAssistant)?, answers));
    }
    let at = order.conversation;
    let (own, found) = join!(conversations::assistant_of(conn, tenant, user, at), async {
        match name {
            Some(_) => Assistant::pick(conn, tenant, name).await,
            None => Assistant::of(conn, tenant, at).await,
        }
    });
    let (own, trial) = own?.ok_or(Refused::NoConversation)?;
    let assistant = match found? {
        _ if trial => Some(tried(conn, order.ctx, Some(own), name).await?),
        _ if *draft => None,
        found => found,
    };
    Ok((assistant.ok_or(Refused::NoAssistant)?, true))
}

/// A draft, for who may edit it; a conversation that tries one goes on with it and with no other.
async fn tried(
    conn: &Conn,
    ctx: Ctx,
    id: Option<AssistantId>,
    named: Option<&str>,
) -> Result<Assistant, Refused> {
    let id = id.filter(|id| named.is_none_or(|name| name == id.to_string()));
    let found = match id.filter(|_| ctx.manages_assistants()) {
        Some(id) => Assistant::draft(conn, ctx.tenant, id).await?,
        None => None,
    };
    found.ok_or(Refused::NoAssistant)
}

/// A conversation that is new, and its first turn.
async fn insert_conversation(
    conn: &Conn,
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
) -> Result<(), NotOpened> {
    if !order.is_new {
        return Ok(());
    }
    let new = NewConversation {
        tenant_id: order.ctx.tenant,
        id: order.conversation,
        user_id: order.ctx.user,
        assistant_id: opened.assistant,
        title: &order.asked.question().map(|_| Question::title(&opened.text)).unwrap_or_default(),
        client_id: order.asked.name().map(ChatName::as_str),
        kind: match (&opened.given, order.asked.draft) {
            (Some(_), _) => "api",
            (None, true) => "trial",
            (None, false) => "chat",
        },
    };
    let (made, inserted) = join!(new.insert(conn), insert_turn(conn, parts, order, opened));
    made.map_err(|error| match broken_constraint(&error) {
        Some("conversations_client_id") => NotOpened::Repeat,
        _ => DbError::from(error).into(),
    })?;
    inserted
}

/// Nobody turns the conversation to another branch meanwhile.
async fn hold(conn: &Conn, order: &Order, stored: Option<&Message>) -> Result<(), DbError> {
    if stored.is_none() && !order.is_new {
        conversations::lock(conn, order.ctx.tenant, order.ctx.user, order.conversation).await?;
    }
    Ok(())
}

async fn insert_turn(
    conn: &Conn,
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
) -> Result<(), NotOpened> {
    let ctx = order.ctx;
    let first = opened.route.candidates.first();
    let turn = NewTurn {
        tenant_id: ctx.tenant,
        id: order.turn,
        conversation_id: order.conversation,
        user_id: ctx.user,
        question_id: opened.question,
        answer_id: opened.answer,
        idempotency_key: order.asked.idempotency_key.as_ref().map(IdempotencyKey::as_str),
        request_hash: &order.hash,
        provider: first.map_or("", |first| &first.provider),
        model: first.map_or("", |first| &first.id),
        owner: parts.node,
    };
    turn.insert(conn).await.map_err(|error| match broken_constraint(&error) {
        Some("turns_one_running") => Refused::TurnInProgress.into(),
        Some("turns_idempotency") => NotOpened::Repeat,
        _ => DbError::from(error).into(),
    })
}

async fn insert_question(
    conn: &Conn,
    order: &Order,
    opened: &Opened,
    parent: Option<MessageId>,
) -> Result<(), DbError> {
    if order.asked.question().is_none() {
        return Ok(());
    }
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
    Ok(message.insert(conn).await?)
}

async fn show_question(conn: &Conn, order: &Order, opened: &Opened) -> Result<(), DbError> {
    if opened.given.is_none() {
        conversations::asked(conn, order.ctx.tenant, order.conversation, opened.question).await?;
    }
    Ok(())
}

fn broken_constraint(error: &Error) -> Option<&str> {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => info.constraint_name(),
        _ => None,
    }
}
