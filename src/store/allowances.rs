//! Which models a plan, or a tenant, may use. No list means all; a tenant's own list holds instead of its
//! plan's.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Array<Text>>)]
    models: Option<Vec<String>>,
}

/// A plan's list.
#[derive(Clone, Debug, QueryableByName)]
pub struct PlanModels {
    #[diesel(sql_type = Text)]
    pub plan: String,
    #[diesel(sql_type = Array<Text>)]
    pub models: Vec<String>,
}

/// What a tenant may use.
pub async fn of_tenant(conn: &mut Conn, tenant: TenantId) -> QueryResult<Option<Vec<String>>> {
    let found: Option<Found> =
        sql("SELECT coalesce(own.models, plan.models) AS models FROM tenants t
         LEFT JOIN tenant_models own ON own.tenant_id = t.tenant_id
         LEFT JOIN plan_models plan ON plan.plan = t.plan WHERE t.tenant_id = $1")
        .bind::<Uuid, _>(tenant)
        .get_result(conn)
        .await
        .optional()?;
    Ok(found.and_then(|found| found.models))
}

/// The lists of all plans that have one.
pub async fn of_plans(conn: &mut Conn) -> QueryResult<Vec<PlanModels>> {
    sql("SELECT plan, models FROM plan_models ORDER BY plan").load(conn).await
}

/// Gives a tenant a list of its own; `None` takes it away.
pub async fn set_tenant(
    conn: &mut Conn,
    tenant: TenantId,
    models: Option<&[String]>,
) -> QueryResult<()> {
    let text = match models {
        Some(_) => {
            "INSERT INTO tenant_models VALUES ($1, $2)
             ON CONFLICT (tenant_id) DO UPDATE SET models = excluded.models"
        }
        None => "DELETE FROM tenant_models WHERE tenant_id = $1 AND $2::text[] IS NULL",
    };
    let query = sql(text).bind::<Uuid, _>(tenant);
    query.bind::<Nullable<Array<Text>>, _>(models).execute(conn).await?;
    Ok(())
}

/// The same for a plan. Needs a system transaction.
pub async fn set_plan(conn: &mut Conn, plan: &str, models: Option<&[String]>) -> QueryResult<()> {
    let text = match models {
        Some(_) => {
            "INSERT INTO plan_models VALUES ($1, $2)
             ON CONFLICT (plan) DO UPDATE SET models = excluded.models"
        }
        None => "DELETE FROM plan_models WHERE plan = $1 AND $2::text[] IS NULL",
    };
    let query = sql(text).bind::<Text, _>(plan);
    query.bind::<Nullable<Array<Text>>, _>(models).execute(conn).await?;
    Ok(())
}
