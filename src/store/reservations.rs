//! Reserving, settling and billing: each is one function of the database, so one round trip, and its
//! locks are held for no longer than that and the commit.

use super::Conn;
use super::ledger::NewEntry;
use super::prices::Price;
use super::sql::sql;
use crate::types::{AssistantId, NodeId, TenantId, TurnId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a turn wants to hold.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub tenant: TenantId,
    pub user: UserId,
    pub assistant: Option<AssistantId>,
    pub turn: TurnId,
    pub owner: NodeId,
    /// Seconds until the sweeper may settle it.
    pub lasts: f64,
    /// Any of these may answer.
    pub models: &'a [String],
    pub embedding_model: &'a str,
    pub input: i64,
    pub output: i64,
    pub least_output: i64,
    pub embedding: i64,
}

/// A limit, and where one stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, QueryableByName)]
pub struct Limit {
    #[diesel(sql_type = Text)]
    pub scope: String,
    #[diesel(sql_type = Text)]
    pub period: String,
    /// `unpriced` when cost is limited and the model has no price.
    #[diesel(sql_type = Text)]
    pub meter: String,
    #[diesel(sql_type = BigInt)]
    pub max_amount: i64,
    #[diesel(sql_type = BigInt)]
    pub used: i64,
    #[diesel(sql_type = BigInt)]
    pub reserved: i64,
    /// `None`: never, it is a level.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub resets_at: Option<DateTime<Utc>>,
}

/// What models cost; `None`: unpriced.
pub type Quoted = BTreeMap<String, Option<Price>>;

/// What was granted.
#[derive(Clone, Debug)]
pub struct Granted {
    pub output: i64,
    /// Over a soft limit.
    pub over_quota: bool,
    /// The most it can cost; `None`: one of the models is unpriced.
    pub cost: Option<i64>,
    pub quoted: Quoted,
    pub embedding_price: Option<Price>,
    /// The limits that it counts against, where they stand with it. Nothing of one more step.
    pub standing: Vec<Limit>,
}

#[derive(QueryableByName)]
struct Outcome {
    #[diesel(sql_type = Nullable<BigInt>)]
    granted: Option<i64>,
    #[diesel(sql_type = Nullable<Bool>)]
    over_quota: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    cost: Option<i64>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    quoted: Option<serde_json::Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    embedding_price: Option<serde_json::Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    standing: Option<serde_json::Value>,
    #[diesel(embed)]
    broken: Broken,
}

/// The limit that a refusal names; all `None` where nothing was refused.
#[derive(QueryableByName)]
struct Broken {
    #[diesel(sql_type = Nullable<Text>)]
    scope: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    period: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    meter: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    max_amount: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    used: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    reserved: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    resets_at: Option<DateTime<Utc>>,
}

impl Broken {
    fn limit(self) -> Limit {
        Limit {
            scope: self.scope.unwrap_or_default(),
            period: self.period.unwrap_or_default(),
            meter: self.meter.unwrap_or_default(),
            max_amount: self.max_amount.unwrap_or_default(),
            used: self.used.unwrap_or_default(),
            reserved: self.reserved.unwrap_or_default(),
            resets_at: self.resets_at,
        }
    }
}

impl Outcome {
    fn result(self) -> Result<Granted, Limit> {
        fn read<T: serde::de::DeserializeOwned>(json: Option<serde_json::Value>) -> Option<T> {
            json.and_then(|json| serde_json::from_value(json).ok())
        }
        let Some(output) = self.granted else { return Err(self.broken.limit()) };
        Ok(Granted {
            output,
            over_quota: self.over_quota.unwrap_or_default(),
            cost: self.cost,
            quoted: read(self.quoted).unwrap_or_default(),
            embedding_price: read(self.embedding_price),
            standing: read(self.standing).unwrap_or_default(),
        })
    }
}

const RESERVE: &str = "SELECT granted, over_quota, cost, quoted,
        CASE WHEN (embedding_price).version IS NOT NULL THEN to_jsonb(embedding_price) END AS embedding_price,
        scope, period, meter, max_amount, used, reserved, resets_at, standing
     FROM reserve_turn($1, $2, $3, $4, $5, make_interval(secs => $6), $7, $8, $9, $10, $11, $12, $13)";

/// Reserves, all or nothing; the inner error is the limit that would be broken. With `keep` false it
/// only says what would be granted.
pub async fn reserve(
    mut conn: &Conn,
    request: &Request<'_>,
    keep: bool,
) -> QueryResult<Result<Granted, Limit>> {
    let outcome: Outcome = sql(RESERVE)
        .bind::<Uuid, _>(request.tenant)
        .bind::<Uuid, _>(request.user)
        .bind::<Nullable<Uuid>, _>(request.assistant)
        .bind::<Uuid, _>(request.turn)
        .bind::<Uuid, _>(request.owner)
        .bind::<Double, _>(request.lasts)
        .bind::<Array<Text>, _>(request.models)
        .bind::<Text, _>(request.embedding_model)
        .bind::<BigInt, _>(request.input)
        .bind::<BigInt, _>(request.output)
        .bind::<BigInt, _>(request.least_output)
        .bind::<BigInt, _>(request.embedding)
        .bind::<Bool, _>(keep)
        .get_result(&mut conn)
        .await?;
    Ok(outcome.result())
}

/// One more step of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Extension<'a> {
    pub tenant: TenantId,
    pub turn: TurnId,
    pub models: &'a [String],
    pub input: i64,
    pub output: i64,
    pub least_output: i64,
    pub embedding: i64,
}

const EXTEND: &str = "SELECT *, NULL::jsonb AS embedding_price, NULL::jsonb AS standing
     FROM extend_turn($1, $2, $3, $4, $5, $6, $7)";

/// Adds to a turn's reservation; `None` when there is none that is open.
pub async fn extend(
    conn: &mut Conn,
    step: Extension<'_>,
) -> QueryResult<Option<Result<Granted, Limit>>> {
    let outcome: Option<Outcome> = sql(EXTEND)
        .bind::<Uuid, _>(step.tenant)
        .bind::<Uuid, _>(step.turn)
        .bind::<Array<Text>, _>(step.models)
        .bind::<BigInt, _>(step.input)
        .bind::<BigInt, _>(step.output)
        .bind::<BigInt, _>(step.least_output)
        .bind::<BigInt, _>(step.embedding)
        .get_result(conn)
        .await
        .optional()?;
    Ok(outcome.map(Outcome::result))
}

/// Closes the turn's reservation, appends the entries and moves the counters; false when somebody
/// did before.
pub async fn settle(
    mut conn: &Conn,
    tenant: TenantId,
    turn: TurnId,
    entries: &[NewEntry],
) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Settled {
        #[diesel(sql_type = Bool)]
        settled: bool,
    }
    let outcome: Settled = sql("SELECT settle_turn($1, $2, $3) AS settled")
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(turn)
        .bind::<Jsonb, _>(serde_json::to_value(entries).unwrap_or_default())
        .get_result(&mut conn)
        .await?;
    Ok(outcome.settled)
}

/// Appends entries that nothing was reserved for to the periods that are open now. With `checked`
/// the inner error is the hard limit that they would break: roll back then. Returns how many were new.
pub async fn bill(
    conn: &mut Conn,
    (tenant, user, assistant): (TenantId, Option<UserId>, Option<AssistantId>),
    source: uuid::Uuid,
    entries: &[NewEntry],
    checked: bool,
) -> QueryResult<Result<i64, Limit>> {
    #[derive(QueryableByName)]
    struct Billed {
        #[diesel(sql_type = Nullable<BigInt>)]
        appended: Option<i64>,
        #[diesel(embed)]
        broken: Broken,
    }
    let outcome: Billed = sql("SELECT * FROM bill_now($1, $2, $3, $4, $5, $6)")
        .bind::<Uuid, _>(tenant)
        .bind::<Nullable<Uuid>, _>(user)
        .bind::<Nullable<Uuid>, _>(assistant)
        .bind::<Uuid, _>(source)
        .bind::<Jsonb, _>(serde_json::to_value(entries).unwrap_or_default())
        .bind::<Bool, _>(checked)
        .get_result(conn)
        .await?;
    Ok(outcome.appended.ok_or_else(|| outcome.broken.limit()))
}
