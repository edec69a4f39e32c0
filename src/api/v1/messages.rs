//! The messages of a conversation: a tree, of which one branch is looked at.

use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::chat::{ApprovalData, CitationData, ConversationEvent, UsageData};
use crate::store::approvals::Approval;
use crate::store::conversations::{self, Conversation};
use crate::store::ledger;
use crate::store::messages::{self, Message};
use crate::store::{Conn, DbError, citations};
use crate::types::{ConversationId, Ctx, MessageId, TenantId, TurnId};
use actix_web::{get, put, web};
use chrono::{DateTime, Utc};
use diesel::QueryResult;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// A question or an answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessageView {
    id: MessageId,
    /// What it follows or answers; null for a first question.
    parent_id: Option<MessageId>,
    /// The messages with the same parent, itself and an answer that is being written included,
    /// oldest first: edits of a question, answers to a question.
    siblings: Vec<MessageId>,
    /// user or assistant.
    role: String,
    turn_id: TurnId,
    text: String,
    /// complete, stopped or failed.
    status: String,
    citations: Vec<CitationData>,
    /// The calls that wait for the reader's word; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<ApprovalData>,
    usage: Option<UsageData>,
    created_at: DateTime<Utc>,
}

/// An answer that is being written; it becomes a message when it ends.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunningView {
    /// The turn to attach to.
    turn_id: TurnId,
    message_id: MessageId,
    /// The question. The answer is on this branch when that is its last message.
    parent_id: MessageId,
    siblings: Vec<MessageId>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MessageList {
    data: Vec<MessageView>,
    running: Option<RunningView>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// True: the messages of all branches.
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Turning {
    /// A message of the branch; or the answer that is being written.
    message_id: MessageId,
}

/// The messages of the branch that the user looks at, oldest first.
#[utoipa::path(get, path = "/v1/conversations/{id}/messages", tag = "conversations",
    security(("bearer" = [])), params(("id" = ConversationId, Path), ListQuery),
    responses((status = 200, body = MessageList), (status = 404, body = Problem)))]
#[get("/v1/conversations/{id}/messages")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ConversationId>,
    query: web::Query<ListQuery>,
) -> Result<web::Json<MessageList>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = Conversation::find(&mut tx, ctx.tenant, ctx.user, *id).await;
    let found = found.map_err(DbError::from)?.ok_or_else(|| Problem::not_found("conversation"))?;
    let messages = view(&mut tx, ctx.tenant, &found, query.all).await.map_err(DbError::from)?;
    tx.commit().await?;
    Ok(web::Json(messages))
}

/// Turn to the branch through a message: to its newest end. A turn that runs goes on where it is.
#[utoipa::path(put, path = "/v1/conversations/{id}/branch", tag = "conversations",
    security(("bearer" = [])), params(("id" = ConversationId, Path)), request_body = Turning,
    responses((status = 200, body = MessageList), (status = 404, body = Problem)))]
#[put("/v1/conversations/{id}/branch")]
pub(crate) async fn turn_to(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ConversationId>,
    Body(body): Body<Turning>,
) -> Result<web::Json<MessageList>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    // A turn that ends meanwhile moves the branch after us, or did before we looked.
    let there = conversations::lock(&tx, ctx.tenant, ctx.user, *id).await;
    let found = Conversation::find(&mut tx, ctx.tenant, ctx.user, *id).await;
    let (true, Some(found)) = (there.map_err(DbError::from)?, found.map_err(DbError::from)?) else {
        return Err(Problem::not_found("conversation"));
    };
    let leaf = leaf(&mut tx, ctx, &found, body.message_id).await.map_err(DbError::from)?;
    let leaf = leaf.ok_or_else(|| Problem::not_found("message"))?;
    conversations::show(&mut tx, ctx.tenant, *id, leaf).await.map_err(DbError::from)?;
    let found = Conversation { leaf_id: Some(leaf), ..found };
    let messages = view(&mut tx, ctx.tenant, &found, false).await.map_err(DbError::from)?;
    tx.commit().await?;
    let event = ConversationEvent::Branched { conversation_id: *id, message_id: leaf };
    state.chat.events().publish(ctx.tenant, ctx.user, &event);
    Ok(web::Json(messages))
}

async fn leaf(
    tx: &mut Conn,
    ctx: Ctx,
    conversation: &Conversation,
    through: MessageId,
) -> QueryResult<Option<MessageId>> {
    let asked = conversation.running_question_id;
    if conversation.running_answer_id == Some(through) {
        return Ok(asked);
    }
    messages::newest_leaf(tx, ctx.tenant, conversation.id, through, asked).await
}

async fn view(
    tx: &mut Conn,
    tenant: TenantId,
    conversation: &Conversation,
    all: bool,
) -> QueryResult<MessageList> {
    let mut rows = match conversation.leaf_id {
        _ if all => Message::list(tx, tenant, conversation.id).await?,
        Some(leaf) => Message::branch(tx, tenant, leaf, i64::MAX).await?,
        None => Vec::new(),
    };
    // It may have been stored since the conversation was looked at; it is said to be running.
    rows.retain(|row| Some(row.id) != conversation.running_answer_id);
    let families = Families::load(tx, tenant, conversation).await?;
    let turns: Vec<TurnId> =
        rows.iter().filter(|row| row.role == "assistant").map(|row| row.turn_id).collect();
    let mut citations: HashMap<TurnId, Vec<CitationData>> = HashMap::new();
    for row in citations::of_turns(tx, tenant, &turns).await? {
        citations.entry(row.turn_id).or_default().push(row.into());
    }
    let mut waiting: HashMap<TurnId, Vec<ApprovalData>> = HashMap::new();
    for row in Approval::waiting(tx, tenant, &turns).await? {
        waiting.entry(row.turn_id).or_default().push(row.into());
    }
    let billed = ledger::of_turns(tx, tenant, &turns).await?;
    let one = |row: Message| {
        let answer = row.role == "assistant";
        let cited = answer.then(|| citations.remove(&row.turn_id)).flatten();
        let waits = answer.then(|| waiting.remove(&row.turn_id)).flatten();
        MessageView {
            id: row.id,
            parent_id: row.parent_id,
            siblings: families.of(row.parent_id),
            citations: cited.unwrap_or_default(),
            approvals: waits.unwrap_or_default(),
            usage: answer.then(|| UsageData::billed(&billed, row.turn_id)).flatten(),
            role: row.role,
            turn_id: row.turn_id,
            text: row.content,
            status: row.status,
            created_at: row.created_at,
        }
    };
    let data = rows.into_iter().map(one).collect();
    Ok(MessageList { data, running: families.running(conversation) })
}

/// Who has the same parent.
struct Families(HashMap<Option<MessageId>, Vec<MessageId>>);

impl Families {
    async fn load(
        tx: &mut Conn,
        tenant: TenantId,
        conversation: &Conversation,
    ) -> QueryResult<Self> {
        let mut families: HashMap<_, Vec<MessageId>> = HashMap::new();
        for place in messages::tree(tx, tenant, conversation.id).await? {
            families.entry(place.parent_id).or_default().push(place.id);
        }
        if let Some(answer) = conversation.running_answer_id {
            let family = families.entry(conversation.running_question_id).or_default();
            if !family.contains(&answer) {
                family.push(answer);
            }
        }
        Ok(Self(families))
    }

    fn of(&self, parent: Option<MessageId>) -> Vec<MessageId> {
        self.0.get(&parent).cloned().unwrap_or_default()
    }

    fn running(&self, conversation: &Conversation) -> Option<RunningView> {
        let parent_id = conversation.running_question_id?;
        Some(RunningView {
            turn_id: conversation.running_turn_id?,
            message_id: conversation.running_answer_id?,
            parent_id,
            siblings: self.of(Some(parent_id)),
        })
    }
}
