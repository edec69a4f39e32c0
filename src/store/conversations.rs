//! Conversations of a user.

use super::Conn;
use super::schema::conversations;
use super::sql::{Kept, sql};
use super::turns::Turn;
use crate::types::{AssistantId, ConversationId, MessageId, TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

/// A conversation, with the turn that is running in it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Conversation {
    #[diesel(sql_type = Uuid)]
    pub id: ConversationId,
    #[diesel(sql_type = Uuid)]
    pub assistant_id: AssistantId,
    /// A draft of the assistant is tried in it.
    #[diesel(sql_type = Bool)]
    pub trial: bool,
    #[diesel(sql_type = Text)]
    pub assistant_name: String,
    #[diesel(sql_type = Text)]
    pub title: String,
    /// The last message of the branch that the user looks at.
    #[diesel(sql_type = Nullable<Uuid>)]
    pub leaf_id: Option<MessageId>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub running_turn_id: Option<TurnId>,
    /// What the running turn answers.
    #[diesel(sql_type = Nullable<Uuid>)]
    pub running_question_id: Option<MessageId>,
    /// What will be its answer; there is no such message yet.
    #[diesel(sql_type = Nullable<Uuid>)]
    pub running_answer_id: Option<MessageId>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = conversations)]
pub struct NewConversation<'a> {
    pub tenant_id: TenantId,
    pub id: ConversationId,
    pub user_id: UserId,
    pub assistant_id: AssistantId,
    pub title: &'a str,
    /// `chat`; `trial`: a draft is tried in it; `api`: made for one turn. Lists have the first only.
    pub kind: &'a str,
    /// What the client calls it.
    pub client_id: Option<&'a str>,
}

impl NewConversation<'_> {
    pub async fn insert(&self, mut conn: &Conn) -> QueryResult<()> {
        Kept(diesel::insert_into(conversations::table).values(self)).execute(&mut conn).await?;
        Ok(())
    }
}

const SELECT: &str = "SELECT c.id, c.assistant_id, c.kind = 'trial' AS trial,
       CASE c.kind WHEN 'trial' THEN a.draft->>'name' ELSE a.name END AS assistant_name, c.title, c.leaf_id, t.id AS running_turn_id,
       t.question_id AS running_question_id, t.answer_id AS running_answer_id, c.created_at, c.updated_at
     FROM conversations c
     JOIN assistants a ON a.tenant_id = c.tenant_id AND a.id = c.assistant_id
     LEFT JOIN turns t ON t.tenant_id = c.tenant_id AND t.conversation_id = c.id AND t.state = 'running'
     WHERE c.tenant_id = $1 AND c.user_id = $2 AND c.kind <> 'api'";

impl Conversation {
    /// Only the user's own: somebody else's is not there.
    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        id: ConversationId,
    ) -> QueryResult<Option<Self>> {
        sql(format!("{SELECT} AND c.id = $3"))
            .bind::<Uuid, _>(tenant)
            .bind::<Uuid, _>(user)
            .bind::<Uuid, _>(id)
            .get_result(conn)
            .await
            .optional()
    }

    /// The user's conversation that a client has this name for; or whose id it is.
    pub async fn find_named(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        name: &str,
    ) -> QueryResult<Option<Self>> {
        let id: Option<ConversationId> = name.parse().ok();
        sql(format!("{SELECT} AND (c.client_id = $3 OR c.id = $4)"))
            .bind::<Uuid, _>(tenant)
            .bind::<Uuid, _>(user)
            .bind::<Text, _>(name)
            .bind::<Nullable<Uuid>, _>(id)
            .get_result(conn)
            .await
            .optional()
    }

    /// Last used first, those before `before`.
    pub async fn list(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        before: Option<(DateTime<Utc>, ConversationId)>,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let (time, id) = before.unzip();
        sql(format!(
            "{SELECT} AND c.kind = 'chat' AND ($3::timestamptz IS NULL OR (c.updated_at, c.id) < ($3, $4))
             ORDER BY c.updated_at DESC, c.id DESC LIMIT $5"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(user)
        .bind::<Nullable<Timestamptz>, _>(time)
        .bind::<Nullable<Uuid>, _>(id)
        .bind::<BigInt, _>(limit)
        .load(conn)
        .await
    }
}

/// The assistant of the user's conversation, and whether its draft is tried there; not of one that was made for
/// one turn.
pub async fn assistant_of(
    mut conn: &Conn,
    tenant: TenantId,
    user: UserId,
    id: ConversationId,
) -> QueryResult<Option<(AssistantId, bool)>> {
    conversations::table
        .find((tenant, id))
        .filter(conversations::user_id.eq(user).and(conversations::kind.ne("api")))
        .select((conversations::assistant_id, conversations::kind.eq("trial")))
        .first(&mut conn)
        .await
        .optional()
}

/// Whether a conversation is stored at all: not one that was made for one turn.
pub async fn is_kept(conn: &mut Conn, tenant: TenantId, id: ConversationId) -> QueryResult<bool> {
    let kind: Option<String> = conversations::table
        .find((tenant, id))
        .select(conversations::kind)
        .first(conn)
        .await
        .optional()?;
    Ok(kind.is_some_and(|kind| kind != "api"))
}

/// Deletes what was made for one turn, so many seconds after it; needs a system transaction.
pub async fn delete_passing(conn: &mut Conn, seconds: f64) -> QueryResult<usize> {
    sql(
        "DELETE FROM conversations c
         WHERE c.kind = 'api' AND c.created_at < now() - make_interval(secs => $1)
           AND NOT EXISTS (SELECT FROM turns t WHERE t.tenant_id = c.tenant_id AND t.conversation_id = c.id
             AND (t.state = 'running' OR t.ended_at > now() - make_interval(secs => $1)))",
    )
    .bind::<diesel::sql_types::Double, _>(seconds)
    .execute(conn)
    .await
}

/// Locks the user's conversation, so that its branch stays as it is; false when there is none.
pub async fn lock(
    mut conn: &Conn,
    tenant: TenantId,
    user: UserId,
    id: ConversationId,
) -> QueryResult<bool> {
    let found = conversations::table
        .find((tenant, id))
        .filter(conversations::user_id.eq(user))
        .select(conversations::id)
        .for_no_key_update()
        .first::<ConversationId>(&mut conn)
        .await
        .optional()?;
    Ok(found.is_some())
}

/// The user looks at the branch that ends here.
pub async fn show(
    conn: &mut Conn,
    tenant: TenantId,
    id: ConversationId,
    leaf: MessageId,
) -> QueryResult<()> {
    diesel::update(conversations::table.find((tenant, id)))
        .set(conversations::leaf_id.eq(leaf))
        .execute(conn)
        .await?;
    Ok(())
}

/// A turn begins: its question is what the user looks at.
pub async fn asked(
    mut conn: &Conn,
    tenant: TenantId,
    id: ConversationId,
    question: MessageId,
) -> QueryResult<()> {
    let change = (conversations::leaf_id.eq(question), conversations::updated_at.eq(now));
    let update = diesel::update(conversations::table.find((tenant, id))).set(change);
    Kept(update).execute(&mut conn).await?;
    Ok(())
}

/// A turn ended: its answer is what the user looks at, unless they turned to another branch.
pub async fn answered(mut conn: &Conn, turn: &Turn) -> QueryResult<()> {
    sql("UPDATE conversations SET updated_at = now(),
           leaf_id = CASE WHEN leaf_id = $3 THEN $4 ELSE leaf_id END
         WHERE tenant_id = $1 AND id = $2")
    .bind::<Uuid, _>(turn.tenant_id)
    .bind::<Uuid, _>(turn.conversation_id)
    .bind::<Uuid, _>(turn.question_id)
    .bind::<Uuid, _>(turn.answer_id)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// False when the user has no such conversation.
pub async fn rename(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    id: ConversationId,
    title: &str,
) -> QueryResult<bool> {
    let rows = diesel::update(
        conversations::table.find((tenant, id)).filter(conversations::user_id.eq(user)),
    )
    .set(conversations::title.eq(title))
    .execute(conn)
    .await?;
    Ok(rows == 1)
}

/// Deletes it with its messages and turns, unless a turn runs in it; the ledger keeps what it cost.
pub async fn delete(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    id: ConversationId,
) -> QueryResult<bool> {
    let rows = sql("DELETE FROM conversations c WHERE tenant_id = $1 AND user_id = $2 AND id = $3
           AND NOT EXISTS (SELECT FROM turns t WHERE t.tenant_id = $1 AND t.conversation_id = $3
                           AND t.state = 'running')")
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(user)
    .bind::<Uuid, _>(id)
    .execute(conn)
    .await?;
    Ok(rows == 1)
}
