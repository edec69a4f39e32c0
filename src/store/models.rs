//! Models: whose they are, what they can do, and how long they may take.

use super::Conn;
use super::schema::models;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = models)]
pub struct Model {
    /// As it is shown and billed.
    pub id: String,
    pub provider: String,
    /// As its provider calls it.
    pub name: String,
    pub context_window: i32,
    pub max_output: i32,
    pub tools: bool,
    pub images: bool,
    pub json_schema: bool,
    pub reasoning: bool,
    pub enabled: bool,
    pub connect_ms: i32,
    pub first_token_ms: i32,
    pub idle_ms: i32,
    pub total_ms: i32,
}

/// A model as somebody describes it: what is left out has its default, or stays as it is.
#[derive(Clone, Debug, Insertable, AsChangeset)]
#[diesel(table_name = models)]
pub struct NewModel {
    pub id: String,
    pub provider: String,
    pub name: String,
    pub context_window: i32,
    pub max_output: i32,
    pub tools: Option<bool>,
    pub images: Option<bool>,
    pub json_schema: Option<bool>,
    pub reasoning: Option<bool>,
    pub enabled: Option<bool>,
    pub connect_ms: Option<i32>,
    pub first_token_ms: Option<i32>,
    pub idle_ms: Option<i32>,
    pub total_ms: Option<i32>,
}

impl Model {
    pub async fn list(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        models::table.order(models::id).select(Self::as_select()).load(conn).await
    }
}

impl NewModel {
    /// Adds it or changes what is there. Needs a system transaction.
    pub async fn put(&self, conn: &mut Conn) -> QueryResult<()> {
        let insert = diesel::insert_into(models::table).values(self);
        insert.on_conflict(models::id).do_update().set(self).execute(conn).await?;
        Ok(())
    }
}
