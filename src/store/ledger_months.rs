//! The ledger's months: tables of their own, made ahead, closed when they are over, and taken out
//! when they are no longer kept.

use super::Conn;
use super::sql::sql;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Integer, Timestamptz};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

/// Nobody waits long for a change of tables.
const PATIENCE: &str = "SET LOCAL lock_timeout = '5s'";

/// Makes the tables of the month that is `ahead` of this one; false when they are there. Needs the
/// owner. Fails with a check violation when rows of that month came before it.
pub async fn make(conn: &mut Conn, ahead: i32) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Made {
        #[diesel(sql_type = Bool)]
        made: bool,
    }
    conn.batch_execute(PATIENCE).await?;
    let made: Made = sql("SELECT make_ledger_month((date_trunc('month', now() AT TIME ZONE 'UTC')
                                   + make_interval(months => $1))::date) AS made")
    .bind::<Integer, _>(ahead)
    .get_result(conn)
    .await?;
    Ok(made.made)
}

/// Closes months that have been over for an hour and hold nothing; returns how many. Needs a ledger
/// transaction.
pub async fn close(conn: &mut Conn) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Closed {
        #[diesel(sql_type = BigInt)]
        closed: i64,
    }
    let text = "SELECT close_months('1 hour') AS closed";
    Ok(sql(text).get_result::<Closed>(conn).await?.closed)
}

/// A month that has tables of its own.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Month {
    #[diesel(sql_type = Date)]
    pub month: NaiveDate,
    /// From here on everything is kept.
    #[diesel(sql_type = Timestamptz)]
    pub kept_from: DateTime<Utc>,
}

/// The months that are wholly older than `kept` months, the oldest first.
pub async fn older_than(conn: &mut Conn, kept: i32) -> QueryResult<Vec<Month>> {
    sql(
        "WITH months AS (
           SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
           FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'usage_ledger'::regclass AND c.relname ~ '^usage_ledger_[0-9]{4}_[0-9]{2}$')
         SELECT month, k.kept_from FROM months,
           (SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => $1))
                   AT TIME ZONE 'UTC' AS kept_from) k
         WHERE month < (k.kept_from AT TIME ZONE 'UTC')::date ORDER BY month",
    )
    .bind::<Integer, _>(kept)
    .load(conn)
    .await
}

impl Month {
    fn suffix(self) -> String {
        self.month.format("%Y_%m").to_string()
    }

    /// Keeps writers out of the month until the transaction ends; readers go on. Needs the owner.
    pub async fn hold(self, conn: &mut Conn) -> QueryResult<()> {
        let month = self.suffix();
        conn.batch_execute(&format!(
            "{PATIENCE}; LOCK TABLE usage_ledger_{month}, ledger_seals_{month} IN EXCLUSIVE MODE"
        ))
        .await
    }

    /// True when nothing can happen to its rows any more: all are sealed, and count in days that need
    /// not be kept and in months that are closed. Needs a ledger transaction.
    pub async fn is_done(self, conn: &mut Conn) -> QueryResult<bool> {
        #[derive(QueryableByName)]
        struct Done {
            #[diesel(sql_type = Bool)]
            done: bool,
        }
        let done = sql(
            "SELECT NOT EXISTS (
               SELECT FROM usage_ledger l WHERE l.month = $1 AND (l.day_start >= $2
                 OR NOT EXISTS (SELECT FROM ledger_seals s WHERE s.tenant_id = l.tenant_id
                                AND s.event_id = l.event_id AND s.month = $1)
                 OR NOT EXISTS (SELECT FROM quota_counters c WHERE c.tenant_id = l.tenant_id
                                AND c.scope = 'tenant' AND c.scope_id = l.tenant_id AND c.period = 'month'
                                AND c.period_start = l.period_start AND c.slice = 0
                                AND c.closed_at IS NOT NULL))) AS done",
        )
        .bind::<Date, _>(self.month)
        .bind::<Timestamptz, _>(self.kept_from);
        Ok(done.get_result::<Done>(conn).await?.done)
    }

    /// Writes down what the check of the books must know of rows that it will not find. Needs a
    /// ledger transaction.
    pub async fn write_off(self, conn: &mut Conn) -> QueryResult<()> {
        sql("UPDATE ledger_heads h SET base_seq = s.tenant_seq, base_hash = s.hash
             FROM (SELECT DISTINCT ON (tenant_id) tenant_id, tenant_seq, hash FROM ledger_seals
                   WHERE month = $1 ORDER BY tenant_id, tenant_seq DESC) s
             WHERE h.tenant_id = s.tenant_id AND s.tenant_seq > h.base_seq")
        .bind::<Date, _>(self.month)
        .execute(conn)
        .await?;
        sql("UPDATE ledger_heads h SET base_stored_bytes = h.base_stored_bytes + l.bytes
             FROM (SELECT tenant_id, sum(quantity)::bigint AS bytes FROM usage_ledger
                   WHERE month = $1 AND meter = 'stored_bytes' GROUP BY 1) l
             WHERE h.tenant_id = l.tenant_id")
        .bind::<Date, _>(self.month)
        .execute(conn)
        .await?;
        sql(
            "UPDATE ledger_state SET kept_from = greatest(kept_from, $2), base_seq = greatest(base_seq,
               (SELECT max(ledger_seq) FROM ledger_seals WHERE month = $1))",
        )
        .bind::<Date, _>(self.month)
        .bind::<Timestamptz, _>(self.kept_from)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Takes its tables out of the ledger; they stay, under another name. Needs the owner.
    pub async fn detach(self, conn: &mut Conn) -> QueryResult<()> {
        let month = self.suffix();
        for table in ["usage_ledger", "ledger_seals"] {
            conn.batch_execute(&format!(
                "ALTER TABLE {table} DETACH PARTITION {table}_{month};
                 ALTER TABLE {table}_{month} RENAME TO {table}_{month}_detached"
            ))
            .await?;
        }
        Ok(())
    }
}
