//! Prices, in nano-dollars for a million units. A version is never changed.

use super::Conn;
use super::sql::{Sql, sql};
use crate::types::{Meter, TenantId, TurnId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const MILLION: i128 = 1_000_000;
/// As the database's `cost_of`: a cost that large is a mistake, and sums of it must not overflow.
const MOST: i128 = 1 << 60;

/// What a model costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, QueryableByName)]
pub struct Price {
    /// `model@date`, `model@date/own` for a tenant's own.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// For an embedding model: what it embeds.
    #[diesel(sql_type = BigInt)]
    pub input: i64,
    /// `None`: as input.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cached_input: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub output: i64,
    /// `None`: as output.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub reasoning: Option<i64>,
    /// For one request, not for a million. `None`: requests have no price of their own.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub request: Option<i64>,
}

/// A version to be added.
#[derive(Clone, Debug)]
pub struct NewPrice {
    pub version: String,
    pub model: String,
    pub valid_from: DateTime<Utc>,
    pub input: i64,
    pub cached_input: Option<i64>,
    pub output: i64,
    pub reasoning: Option<i64>,
    pub request: Option<i64>,
}

impl NewPrice {
    /// Adds it to the list, or to a tenant's own prices; false when the version is there. The list needs
    /// the owner.
    pub async fn insert(&self, conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<bool> {
        let (table, column, value) = match tenant {
            Some(_) => ("tenant_prices", "tenant_id, ", "$9, "),
            None => ("prices", "", ""),
        };
        let text = format!(
            "INSERT INTO {table} ({column}version, model, valid_from, input, cached_input, output, reasoning, request)
             SELECT {value}$1, $2, $3, $4, $5, $6, $7, $8 WHERE $9::uuid IS NOT DISTINCT FROM $9
             ON CONFLICT DO NOTHING"
        );
        Ok(self.bind(&text, tenant).execute(conn).await? == 1)
    }

    /// Whether this very price has its version.
    pub async fn is_there(&self, conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<bool> {
        let table = if tenant.is_some() { "tenant_prices" } else { "prices" };
        let own = if tenant.is_some() { "tenant_id = $9" } else { "$9::uuid IS NULL" };
        let text = format!(
            "SELECT 1 FROM {table} WHERE {own} AND version = $1 AND model = $2 AND valid_from = $3 AND input = $4
               AND cached_input IS NOT DISTINCT FROM $5 AND output = $6
               AND reasoning IS NOT DISTINCT FROM $7 AND request IS NOT DISTINCT FROM $8"
        );
        Ok(self.bind(&text, tenant).execute(conn).await? == 1)
    }

    fn bind(&self, text: &str, tenant: Option<TenantId>) -> Sql<'_> {
        sql(text)
            .bind::<Text, _>(&self.version)
            .bind::<Text, _>(&self.model)
            .bind::<Timestamptz, _>(self.valid_from)
            .bind::<BigInt, _>(self.input)
            .bind::<Nullable<BigInt>, _>(self.cached_input)
            .bind::<BigInt, _>(self.output)
            .bind::<Nullable<BigInt>, _>(self.reasoning)
            .bind::<Nullable<BigInt>, _>(self.request)
            .bind::<Nullable<Uuid>, _>(tenant)
    }
}

impl Price {
    /// The price in force for a tenant; `None` is "no price known", which is not a price of zero.
    pub async fn of(conn: &mut Conn, tenant: TenantId, model: &str) -> QueryResult<Option<Self>> {
        sql("SELECT * FROM price_of($1, $2) p WHERE version IS NOT NULL")
            .bind::<Uuid, _>(tenant)
            .bind::<Text, _>(model)
            .get_result(conn)
            .await
            .optional()
    }

    /// The prices a turn was quoted: of the models that may answer, and of its embedding model.
    pub async fn quoted(
        conn: &mut Conn,
        tenant: TenantId,
        turn: TurnId,
    ) -> QueryResult<(BTreeMap<String, Option<Self>>, Option<Self>)> {
        #[derive(QueryableByName)]
        struct Row {
            /// `None`: what embeds.
            #[diesel(sql_type = Nullable<Text>)]
            of: Option<String>,
            #[diesel(embed)]
            price: Price,
        }
        let rows: Vec<Row> = sql("SELECT v.of, p.* FROM reservations r
             CROSS JOIN LATERAL (
               SELECT q.key AS of, q.value AS version FROM jsonb_each_text(r.quoted) q
               UNION ALL SELECT NULL, r.embedding_price_version
               -- Reserved by a node of the last release.
               UNION ALL SELECT t.model, r.price_version FROM turns t
                 WHERE r.quoted = '{}' AND t.tenant_id = r.tenant_id AND t.id = r.turn_id) v
             CROSS JOIN LATERAL price_version($1, v.version) p
             WHERE r.tenant_id = $1 AND r.turn_id = $2 AND p.version IS NOT NULL")
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(turn)
        .load(conn)
        .await?;
        let (mut chat, mut embedding) = (BTreeMap::new(), None);
        for row in rows {
            match row.of {
                Some(model) => drop(chat.insert(model, Some(row.price))),
                None => embedding = Some(row.price),
            }
        }
        Ok((chat, embedding))
    }

    /// What a quantity of a meter costs, rounded up; `None` where this model has no price for it.
    #[must_use]
    pub fn cost(&self, meter: Meter, quantity: i64) -> Option<i64> {
        let per_million = match meter {
            Meter::Requests => return self.request.map(|each| each.saturating_mul(quantity)),
            Meter::InputTokens | Meter::EmbeddingTokens => self.input,
            Meter::CachedInputTokens => self.cached_input.unwrap_or(self.input),
            Meter::OutputTokens => self.output,
            Meter::ReasoningTokens => self.reasoning.unwrap_or(self.output),
            Meter::Pages | Meter::StoredBytes => return None,
        };
        let cost = i128::from(quantity) * i128::from(per_million);
        // Towards the larger number, also of what is given back: an exact opposite cancels out.
        let up = cost.div_euclid(MILLION) + i128::from(cost.rem_euclid(MILLION) > 0);
        i64::try_from(up.min(MOST)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price() -> Price {
        Price {
            version: "m@2026-01-01".into(),
            input: 37_500_000,
            cached_input: Some(9_375_000),
            output: 150_000_000,
            reasoning: None,
            request: Some(7),
        }
    }

    #[test]
    fn a_cost_is_rounded_up_to_a_whole_nano_dollar() {
        let price = price();
        assert_eq!(price.cost(Meter::InputTokens, 1), Some(38));
        assert_eq!(price.cost(Meter::InputTokens, 2), Some(75));
        assert_eq!(price.cost(Meter::CachedInputTokens, 8), Some(75));
        assert_eq!(price.cost(Meter::ReasoningTokens, 3), Some(450), "as output");
        assert_eq!(price.cost(Meter::Requests, 2), Some(14));
        assert_eq!(price.cost(Meter::Pages, 2), None);
        assert_eq!(price.cost(Meter::InputTokens, i64::MAX), Some(1 << 60));
    }

    proptest! {
        #[test]
        fn parts_never_cost_more_than_a_nano_dollar_each_above_the_whole(
            a in 0i64..10_000_000, b in 0i64..10_000_000
        ) {
            let price = price();
            let cost = |n| price.cost(Meter::InputTokens, n).unwrap();
            prop_assert!(cost(a) + cost(b) >= cost(a + b));
            prop_assert!(cost(a) + cost(b) <= cost(a + b) + 1);
        }
    }
}
