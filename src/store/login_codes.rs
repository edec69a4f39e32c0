//! One-time codes sent by e-mail. Every guess is counted before it is compared, under the row's lock.

use super::Conn;
use super::schema::login_codes;
use super::sql::sql;
use crate::types::TenantId;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Integer, Text, Uuid};
use diesel_async::RunQueryDsl;

/// Guesses a code survives.
pub const MAX_ATTEMPTS: i32 = 5;
/// Wrong guesses an address survives in one UTC day, over all its codes.
pub const MAX_FAILURES_A_DAY: i32 = 30;

#[derive(QueryableByName)]
struct Guess {
    #[diesel(sql_type = Binary)]
    code_hash: Vec<u8>,
}

/// Stores a new code; the one before it is void.
pub async fn replace(
    conn: &mut Conn,
    tenant: TenantId,
    email: &str,
    code_hash: &[u8],
    ttl_seconds: i32,
) -> QueryResult<()> {
    sql("INSERT INTO login_codes (tenant_id, email, code_hash, expires_at)
         VALUES ($1, $2, $3, now() + make_interval(secs => $4))
         ON CONFLICT (tenant_id, email) DO UPDATE
           SET code_hash = excluded.code_hash, expires_at = excluded.expires_at, attempts = 0")
    .bind::<Uuid, _>(tenant)
    .bind::<Text, _>(email)
    .bind::<Binary, _>(code_hash)
    .bind::<Integer, _>(ttl_seconds)
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a guess and returns what to compare it with; `None` when there is no live code, or too
/// many guesses were made at it or today.
pub async fn count_guess(
    conn: &mut Conn,
    tenant: TenantId,
    email: &str,
) -> QueryResult<Option<Vec<u8>>> {
    let guess: Option<Guess> = sql(
        "UPDATE login_codes SET
           attempts = attempts + 1,
           failures = CASE WHEN failures_day = (now() AT TIME ZONE 'UTC')::date THEN failures ELSE 0 END + 1,
           failures_day = (now() AT TIME ZONE 'UTC')::date
         WHERE tenant_id = $1 AND email = $2 AND code_hash IS NOT NULL AND expires_at > now()
           AND attempts < $3
           AND (failures < $4 OR failures_day < (now() AT TIME ZONE 'UTC')::date)
         RETURNING code_hash",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Text, _>(email)
    .bind::<Integer, _>(MAX_ATTEMPTS)
    .bind::<Integer, _>(MAX_FAILURES_A_DAY)
    .get_result(conn)
    .await
    .optional()?;
    Ok(guess.map(|guess| guess.code_hash))
}

/// The guess was right: the code is used up and the guess was no failure.
pub async fn consume(conn: &mut Conn, tenant: TenantId, email: &str) -> QueryResult<()> {
    diesel::update(login_codes::table.find((tenant, email)))
        .set((
            login_codes::code_hash.eq(None::<Vec<u8>>),
            login_codes::failures.eq(login_codes::failures - 1),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
