//! Calls of tools that wait for a person's word.

use super::Conn;
use super::schema::{approvals, turns};
use crate::types::{ApprovalId, ConversationId, TenantId, TurnId, UserId};
use chrono::{TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// How long one waits.
const LASTS: TimeDelta = TimeDelta::days(1);

/// The call.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = approvals)]
pub struct Approval {
    pub tenant_id: TenantId,
    pub id: ApprovalId,
    pub turn_id: TurnId,
    pub call_id: String,
    pub tool: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
    pub signature: Option<String>,
}

impl Approval {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(approvals::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// Of a turn of this user, with the conversation.
    pub async fn find(
        conn: &mut Conn,
        (tenant, user): (TenantId, UserId),
        turn: TurnId,
        id: ApprovalId,
    ) -> QueryResult<Option<(Self, ConversationId)>> {
        approvals::table
            .inner_join(turns::table.on(
                turns::tenant_id.eq(approvals::tenant_id).and(turns::id.eq(approvals::turn_id)),
            ))
            .filter(approvals::tenant_id.eq(tenant).and(approvals::id.eq(id)))
            .filter(approvals::turn_id.eq(turn).and(turns::user_id.eq(user)))
            .select((Self::as_select(), turns::conversation_id))
            .first(conn)
            .await
            .optional()
    }

    /// Those of these turns that still wait, oldest first.
    pub async fn waiting(
        conn: &mut Conn,
        tenant: TenantId,
        turns: &[TurnId],
    ) -> QueryResult<Vec<Self>> {
        approvals::table
            .filter(approvals::tenant_id.eq(tenant).and(approvals::turn_id.eq_any(turns)))
            .filter(approvals::state.eq("pending"))
            .filter(approvals::created_at.gt(Utc::now() - LASTS))
            .order(approvals::id)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// Decides it; `None`: it was decided before, or waited for more than a day.
    pub async fn decide(
        conn: &mut Conn,
        tenant: TenantId,
        id: ApprovalId,
        approved: bool,
    ) -> QueryResult<Option<Self>> {
        let waiting = approvals::table
            .find((tenant, id))
            .filter(approvals::state.eq("pending"))
            .filter(approvals::created_at.gt(Utc::now() - LASTS));
        let state = if approved { "approved" } else { "declined" };
        diesel::update(waiting)
            .set((approvals::state.eq(state), approvals::decided_at.eq(Utc::now())))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}
