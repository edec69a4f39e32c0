//! A transaction in hand: commit it, or drop it and it is rolled back.
//!
//! Dropping covers every way out, also a request that was cancelled in the middle of a query. The
//! rollback runs on the main runtime, off the caller's path, before the connection is reused.

use super::sql::sql;
use super::{Conn, DbError};
use crate::runtime::Tasks;
use diesel::QueryResult;
use diesel_async::pooled_connection::bb8::PooledConnection;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::join;
use std::ops::{Deref, DerefMut};

type Pooled = PooledConnection<'static, Conn>;

/// An open transaction; derefs to the connection that query functions take.
pub struct Tx {
    conn: Option<Pooled>,
    tasks: Tasks,
}

impl Tx {
    pub(super) async fn begin(
        conn: Pooled,
        tasks: Tasks,
        statements: &str,
    ) -> Result<Self, DbError> {
        let mut tx = Self { conn: Some(conn), tasks };
        tx.batch_execute(statements).await?;
        Ok(tx)
    }

    /// The same, with the first queries sent along: PostgreSQL reads them in this order, and refuses all of them
    /// when the transaction did not begin as it should.
    pub(super) async fn begin_with<T>(
        conn: Pooled,
        tasks: Tasks,
        statements: &str,
        first: impl AsyncFnOnce(&Conn) -> T,
    ) -> Result<(Self, T), DbError> {
        let tx = Self { conn: Some(conn), tasks };
        let mut conn: &Conn = &tx;
        let (begun, first) = join!(conn.batch_execute(statements), first(&tx));
        begun?;
        Ok((tx, first))
    }

    /// A transaction that is sent as a whole.
    pub(super) async fn whole<T>(
        conn: Pooled,
        tasks: Tasks,
        statements: &str,
        all: impl AsyncFnOnce(&Conn) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        let with_end = async |conn: &Conn| join!(all(conn), end(conn));
        let (mut tx, (all, ended)) = Self::begin_with(conn, tasks, statements, with_end).await?;
        tx.ended(ended)?;
        Ok(all?)
    }

    /// Makes the work durable, with a last statement that is sent along; or with several, joined in their order.
    /// None may depend on the answer to another: the end would come before it.
    ///
    /// # Errors
    /// When the database refused; nothing of the transaction remains then.
    pub async fn commit_with<T>(
        mut self,
        last: impl AsyncFnOnce(&Conn) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        let (last, ended) = join!(last(&self), end(&self));
        self.ended(ended)?;
        Ok(last?)
    }

    fn ended(&mut self, ended: QueryResult<()>) -> QueryResult<()> {
        if ended.is_ok() {
            self.conn = None; // nothing left to roll back: after a failure the end was none
        }
        ended
    }

    /// Makes the work durable.
    ///
    /// # Errors
    /// When the database refused; nothing of the transaction remains then.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.batch_execute("COMMIT").await?;
        self.conn = None; // back to the pool, nothing left to roll back
        Ok(())
    }
}

/// Prepared like the others, and so waits with them for the connection's statements: what is sent as plain text
/// would overtake one that has to be prepared first.
async fn end(mut conn: &Conn) -> QueryResult<()> {
    sql("COMMIT").execute(&mut conn).await.map(drop)
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(mut conn) = self.conn.take() {
            self.tasks.spawn("rollback", async move {
                // A failure means that the connection is dead; the pool sees that by itself.
                drop(conn.batch_execute("ROLLBACK").await);
            });
        }
    }
}

#[expect(clippy::expect_used, reason = "the connection leaves only in commit and drop")]
impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("an open transaction has a connection")
    }
}

#[expect(clippy::expect_used, reason = "the connection leaves only in commit and drop")]
impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("an open transaction has a connection")
    }
}
