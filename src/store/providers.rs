//! Who answers: a vendor, or any server that speaks a vendor's protocol.

use super::Conn;
use super::schema::providers;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = providers, treat_none_as_null = true)]
pub struct Provider {
    pub name: String,
    /// The protocol: openai, anthropic, gemini or demo.
    pub kind: String,
    /// `None`: the one of the settings.
    pub base_url: Option<String>,
    /// The name of the environment variable that holds the key; never the key.
    pub key_variable: Option<String>,
}

impl Provider {
    pub async fn list(conn: &mut Conn) -> QueryResult<Vec<Self>> {
        providers::table.order(providers::name).select(Self::as_select()).load(conn).await
    }

    pub async fn exists(conn: &mut Conn, name: &str) -> QueryResult<bool> {
        if name.contains('\0') {
            return Ok(false); // which PostgreSQL refuses
        }
        diesel::select(diesel::dsl::exists(providers::table.find(name))).get_result(conn).await
    }

    /// In place of what was there. Needs a system transaction.
    pub async fn put(&self, conn: &mut Conn) -> QueryResult<()> {
        let insert = diesel::insert_into(providers::table).values(self);
        insert.on_conflict(providers::name).do_update().set(self).execute(conn).await?;
        Ok(())
    }
}
