//! Prices per token, in nano-dollars.

use super::Conn;
use super::schema::prices;
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = prices)]
pub struct Price {
    pub valid_from: DateTime<Utc>,
    pub input_nano_usd: i64,
    pub output_nano_usd: i64,
}

impl Price {
    /// The price in force; `None` is "no price known", which is not a price of zero.
    pub async fn in_force(conn: &mut Conn, model: &str) -> QueryResult<Option<Self>> {
        prices::table
            .filter(prices::model.eq(model).and(prices::valid_from.le(now)))
            .order(prices::valid_from.desc())
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }
}
