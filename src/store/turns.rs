//! Turns: one question and its answer, owned by the node that holds the lease.

use super::Conn;
use super::schema::turns;
use crate::types::{ConversationId, MessageId, NodeId, TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

/// How long a node may be silent before its turns are taken from it, in seconds.
pub const LEASE_SECONDS: f64 = 15.0;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = turns)]
pub struct Turn {
    pub tenant_id: TenantId,
    pub id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub answer_id: MessageId,
    /// running, complete, stopped or failed.
    pub state: String,
    pub request_hash: Vec<u8>,
    pub provider: String,
    pub model: String,
    /// Our own count, once the model was asked.
    pub prompt_tokens: Option<i32>,
    pub latency_ms: Option<i32>,
    pub created_at: DateTime<Utc>,
}

/// A turn to be opened.
pub struct NewTurn<'a> {
    pub tenant_id: TenantId,
    pub id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
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
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::sql_query(
            "INSERT INTO turns (tenant_id, id, conversation_id, user_id, answer_id, idempotency_key,
                                request_hash, provider, model, owner, lease_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))",
        )
        .bind::<Uuid, _>(self.tenant_id)
        .bind::<Uuid, _>(self.id)
        .bind::<Uuid, _>(self.conversation_id)
        .bind::<Uuid, _>(self.user_id)
        .bind::<Uuid, _>(self.answer_id)
        .bind::<Nullable<Text>, _>(self.idempotency_key)
        .bind::<Binary, _>(self.request_hash)
        .bind::<Text, _>(self.provider)
        .bind::<Text, _>(self.model)
        .bind::<Uuid, _>(self.owner)
        .bind::<Double, _>(LEASE_SECONDS)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// How a turn ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// complete, stopped or failed.
    pub state: &'a str,
    pub error_code: Option<&'a str>,
    pub first_token_ms: Option<i32>,
    pub latency_ms: i32,
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
        conn: &mut Conn,
        tenant: TenantId,
        id: TurnId,
    ) -> QueryResult<Option<Self>> {
        turns::table
            .find((tenant, id))
            .filter(turns::state.eq("running"))
            .select(Self::as_select())
            .for_update()
            .first(conn)
            .await
            .optional()
    }

    /// Like [`Turn::lock_running`], but only if its node has gone silent.
    pub async fn lock_orphan(
        conn: &mut Conn,
        tenant: TenantId,
        id: TurnId,
    ) -> QueryResult<Option<Self>> {
        turns::table
            .find((tenant, id))
            .filter(turns::state.eq("running").and(turns::lease_until.lt(diesel::dsl::now)))
            .select(Self::as_select())
            .for_update()
            .skip_locked()
            .first(conn)
            .await
            .optional()
    }

    pub async fn close(&self, conn: &mut Conn, ending: Ending<'_>) -> QueryResult<()> {
        diesel::update(turns::table.find((self.tenant_id, self.id)))
            .set((
                turns::state.eq(ending.state),
                turns::error_code.eq(ending.error_code),
                turns::first_token_ms.eq(ending.first_token_ms),
                turns::latency_ms.eq(ending.latency_ms),
                turns::ended_at.eq(diesel::dsl::now),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Notes how many tokens the model was sent.
pub async fn set_prompt_tokens(
    conn: &mut Conn,
    tenant: TenantId,
    id: TurnId,
    tokens: i32,
) -> QueryResult<()> {
    diesel::update(turns::table.find((tenant, id)))
        .set(turns::prompt_tokens.eq(tokens))
        .execute(conn)
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

/// Pushes the leases of the given turns that `owner` runs, and returns those that another node was
/// asked to stop; needs a system transaction.
pub async fn renew_leases(
    conn: &mut Conn,
    owner: NodeId,
    ids: &[TurnId],
) -> QueryResult<Vec<TurnId>> {
    let renewed: Vec<Renewed> = diesel::sql_query(
        "UPDATE turns SET lease_until = now() + make_interval(secs => $2)
         WHERE owner = $1 AND state = 'running' AND id = ANY($3)
         RETURNING id, stop_requested",
    )
    .bind::<Uuid, _>(owner)
    .bind::<Double, _>(LEASE_SECONDS)
    .bind::<Array<Uuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(renewed.into_iter().filter(|turn| turn.stop_requested).map(|turn| turn.id).collect())
}

#[derive(QueryableByName)]
struct Renewed {
    #[diesel(sql_type = Uuid)]
    id: TurnId,
    #[diesel(sql_type = Bool)]
    stop_requested: bool,
}

#[derive(QueryableByName)]
struct Orphan {
    #[diesel(sql_type = Uuid)]
    tenant_id: TenantId,
    #[diesel(sql_type = Uuid)]
    id: TurnId,
}

/// Turns whose node has gone silent; needs a system transaction.
pub async fn orphans(conn: &mut Conn, limit: i64) -> QueryResult<Vec<(TenantId, TurnId)>> {
    let rows: Vec<Orphan> = diesel::sql_query(
        "SELECT tenant_id, id FROM turns WHERE state = 'running' AND lease_until < now()
         ORDER BY lease_until LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.id)).collect())
}

/// Ends every lease at once: the caller knows that no other node lives (`docent dev`). Needs a
/// system transaction.
pub async fn expire_all_leases(conn: &mut Conn) -> QueryResult<usize> {
    diesel::sql_query("UPDATE turns SET lease_until = '-infinity' WHERE state = 'running'")
        .execute(conn)
        .await
}
