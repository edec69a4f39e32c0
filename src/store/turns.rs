//! Turns: one question and its answer, owned by the node that holds the lease.

use super::Conn;
use super::schema::turns;
use super::sql::{Kept, sql};
use crate::types::{ConversationId, MessageId, NodeId, TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Jsonb, Uuid};
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = turns)]
pub struct Turn {
    pub tenant_id: TenantId,
    pub id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    /// Its own, or an earlier turn's that is answered again.
    pub question_id: MessageId,
    pub answer_id: MessageId,
    pub owner: NodeId,
    /// running, complete, stopped or failed.
    pub state: String,
    pub request_hash: Vec<u8>,
    pub provider: String,
    pub model: String,
    /// Of a turn that a node of the last release runs: our own count.
    pub prompt_tokens: Option<i32>,
    /// What was asked of which model, step by step.
    pub steps: serde_json::Value,
    pub latency_ms: Option<i32>,
    pub created_at: DateTime<Utc>,
}

/// A turn to be opened.
#[derive(Insertable)]
#[diesel(table_name = turns)]
pub struct NewTurn<'a> {
    pub tenant_id: TenantId,
    pub id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub question_id: MessageId,
    pub answer_id: MessageId,
    pub idempotency_key: Option<&'a str>,
    pub request_hash: &'a [u8],
    pub provider: &'a str,
    pub model: &'a str,
    pub owner: NodeId,
}

impl NewTurn<'_> {
    /// Fails with a unique violation of `turns_one_running` when the conversation is busy, and of
    /// `turns_idempotency` when the key was used.
    pub async fn insert(&self, mut conn: &Conn) -> QueryResult<()> {
        Kept(diesel::insert_into(turns::table).values(self)).execute(&mut conn).await?;
        Ok(())
    }
}

/// How a turn ended.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// complete, stopped or failed.
    pub state: &'a str,
    pub error_code: Option<&'a str>,
    pub first_token_ms: Option<i32>,
    pub latency_ms: i32,
    /// Who answered at last.
    pub provider: &'a str,
    pub model: &'a str,
    pub steps: serde_json::Value,
}

impl Turn {
    pub async fn find(conn: &mut Conn, tenant: TenantId, id: TurnId) -> QueryResult<Option<Self>> {
        turns::table.find((tenant, id)).select(Self::as_select()).first(conn).await.optional()
    }

    /// The turn a user's idempotency key opened.
    pub async fn find_by_key(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        key: &str,
    ) -> QueryResult<Option<Self>> {
        turns::table
            .filter(
                turns::tenant_id
                    .eq(tenant)
                    .and(turns::user_id.eq(user))
                    .and(turns::idempotency_key.eq(key)),
            )
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// The turn, locked, if it still runs: whoever gets it closes it, once.
    pub async fn lock_running(
        mut conn: &Conn,
        tenant: TenantId,
        id: TurnId,
    ) -> QueryResult<Option<Self>> {
        turns::table
            .find((tenant, id))
            .filter(turns::state.eq("running"))
            .select(Self::as_select())
            .for_update()
            .first(&mut conn)
            .await
            .optional()
    }

    pub async fn close(&self, mut conn: &Conn, ending: Ending<'_>) -> QueryResult<()> {
        let update = diesel::update(turns::table.find((self.tenant_id, self.id))).set((
            turns::state.eq(ending.state),
            turns::error_code.eq(ending.error_code),
            turns::first_token_ms.eq(ending.first_token_ms),
            turns::latency_ms.eq(ending.latency_ms),
            turns::provider.eq(ending.provider),
            turns::model.eq(ending.model),
            turns::steps.eq(ending.steps),
            turns::ended_at.eq(diesel::dsl::now),
        ));
        Kept(update).execute(&mut conn).await?;
        Ok(())
    }
}

/// What a turn asked of which model so far.
pub struct Asked {
    pub turn: TurnId,
    pub steps: serde_json::Value,
}

/// Notes it, of turns that `owner` runs.
pub async fn set_steps(
    mut conn: &Conn,
    tenant: TenantId,
    owner: NodeId,
    asked: &[&Asked],
) -> QueryResult<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let ids: Vec<TurnId> = asked.iter().map(|asked| asked.turn).collect();
    let steps: Vec<&serde_json::Value> = asked.iter().map(|asked| &asked.steps).collect();
    sql("UPDATE turns SET steps = asked.steps
         FROM (SELECT t.id, new.steps FROM unnest($2, $3) new (id, steps)
               JOIN turns t ON t.tenant_id = $1 AND t.id = new.id AND t.owner = $4 AND t.state = 'running'
               ORDER BY t.id FOR NO KEY UPDATE OF t) asked
         WHERE turns.tenant_id = $1 AND turns.id = asked.id")
    .bind::<Uuid, _>(tenant)
    .bind::<Array<Uuid>, _>(ids)
    .bind::<Array<Jsonb>, _>(steps)
    .bind::<Uuid, _>(owner)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Asks the node that runs a turn to stop it.
pub async fn request_stop(conn: &mut Conn, tenant: TenantId, id: TurnId) -> QueryResult<()> {
    diesel::update(turns::table.find((tenant, id)).filter(turns::state.eq("running")))
        .set(turns::stop_requested.eq(true))
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives up turns that `owner` should run and does not: the sweeper closes them. Needs a system
/// transaction.
pub async fn disown(conn: &mut Conn, owner: NodeId, ids: &[TurnId]) -> QueryResult<usize> {
    let theirs = turns::owner.eq(owner).and(turns::state.eq("running")).and(turns::id.eq_any(ids));
    diesel::update(turns::table.filter(theirs))
        .set(turns::owner.eq(NodeId::from(uuid::Uuid::nil())))
        .execute(conn)
        .await
}

/// Frees the idempotency keys of turns that are a day old; needs a system transaction.
pub async fn free_keys(conn: &mut Conn) -> QueryResult<usize> {
    let text = "UPDATE turns SET idempotency_key = NULL
               WHERE idempotency_key IS NOT NULL AND created_at < now() - interval '1 day'";
    sql(text).execute(conn).await
}
