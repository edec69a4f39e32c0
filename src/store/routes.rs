//! Routes: names, and the models that they stand for; the server's and a tenant's own.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct RouteRow {
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Ids, in the order in which they are asked.
    #[diesel(sql_type = Array<Text>)]
    pub models: Vec<String>,
    /// One for each model: the order is drawn. `None`: it is fixed.
    #[diesel(sql_type = Nullable<Array<Integer>>)]
    pub weights: Option<Vec<i32>>,
    /// continue or end.
    #[diesel(sql_type = Text)]
    pub after_cut: String,
}

impl RouteRow {
    /// The server's, or a tenant's own.
    pub async fn list(conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<Vec<Self>> {
        let table = match tenant {
            Some(_) => "tenant_routes WHERE tenant_id = $1",
            None => "routes WHERE $1::uuid IS NULL",
        };
        sql(format!("SELECT name, models, weights, after_cut FROM {table} ORDER BY name"))
            .bind::<Nullable<Uuid>, _>(tenant)
            .load(conn)
            .await
    }

    /// In place of what was there. The server's need a system transaction.
    pub async fn put(&self, conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<()> {
        let (table, column, value, key) = match tenant {
            Some(_) => ("tenant_routes", "tenant_id, ", "$5, ", "tenant_id, name"),
            None => ("routes", "", "", "name"),
        };
        sql(format!(
            "INSERT INTO {table} ({column}name, models, weights, after_cut)
             SELECT {value}$1, $2, $3, $4 WHERE $5::uuid IS NOT DISTINCT FROM $5
             ON CONFLICT ({key}) DO UPDATE
             SET models = excluded.models, weights = excluded.weights, after_cut = excluded.after_cut"
        ))
        .bind::<Text, _>(&self.name)
        .bind::<Array<Text>, _>(&self.models)
        .bind::<Nullable<Array<Integer>>, _>(&self.weights)
        .bind::<Text, _>(&self.after_cut)
        .bind::<Nullable<Uuid>, _>(tenant)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// False when there was none.
    pub async fn remove(
        conn: &mut Conn,
        tenant: Option<TenantId>,
        name: &str,
    ) -> QueryResult<bool> {
        if name.contains('\0') {
            return Ok(false); // which PostgreSQL refuses
        }
        let whose = match tenant {
            Some(_) => "tenant_routes WHERE tenant_id = $2",
            None => "routes WHERE $2::uuid IS NULL",
        };
        let query = sql(format!("DELETE FROM {whose} AND name = $1"));
        let query = query.bind::<Text, _>(name).bind::<Nullable<Uuid>, _>(tenant);
        Ok(query.execute(conn).await? == 1)
    }
}
