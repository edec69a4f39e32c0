//! The pool, and the only doors to it.
//!
//! Connections are opened on the main runtime: one opened on an actix worker's would die with it.

use super::Conn;
use super::tx::Tx;
use crate::runtime::Tasks;
use crate::types::TenantId;
use bb8::QueueStrategy;
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::pooled_connection::bb8::{Pool, PooledConnection, RunError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, PoolError};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use std::time::Duration;
use thiserror::Error;

/// How large the pool is and how long a caller waits for a connection.
#[derive(Clone, Debug)]
pub struct DbOptions {
    pub url: String,
    pub max_connections: u32,
    pub acquire: Duration,
}

/// A server that is gone without a word is noticed within half a minute, not when the kernel gives
/// up; in seconds.
const TCP: [(&str, u32); 5] = [
    ("connect_timeout", 5),
    ("tcp_user_timeout", 20),
    ("keepalives_idle", 15),
    ("keepalives_interval", 5),
    ("keepalives_retries", 3),
];

/// The URL with our defaults for what it does not say.
fn with_defaults(url: &str) -> String {
    let mut url = url.to_owned();
    for (name, value) in TCP {
        if !url.contains(name) {
            let joint = if url.contains('?') { '&' } else { '?' };
            url.push_str(&format!("{joint}{name}={value}"));
        }
    }
    url
}

/// No statement and no transaction of a request may hold others up for longer. Said once for each connection: to
/// say it in each transaction costs as much as a query does.
const DEADLINES: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
    SET idle_in_transaction_session_timeout = '15s'";
const NO_DEADLINES: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0";

async fn connect(url: &str) -> ConnectionResult<Conn> {
    let mut conn = Conn::establish(url).await?;
    conn.batch_execute(DEADLINES).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// How a tenant's transaction begins: in one round trip. The id is a UUID, so there is nothing to escape.
fn of_tenant(tenant: TenantId) -> String {
    format!("BEGIN; SET LOCAL ROLE docent_app; SET LOCAL docent.tenant_id = '{tenant}'")
}

/// Of failures that diesel has no word for, those that pass: deadlines, deadlocks, a restart.
const PASSING: [&str; 5] = [
    "canceling statement due to",
    "deadlock detected",
    "terminating connection",
    "the database system is",
    "connection slots",
];

/// A failure of the database. Callers answer 503 for `Unavailable` and an opaque 500 for `Query`.
#[derive(Debug, Error)]
pub enum DbError {
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    #[error("a database query failed")]
    Query(#[from] diesel::result::Error),
    #[error("{0}")]
    Unsafe(String),
}

impl DbError {
    /// Work that has a deadline: a database that hangs is away.
    ///
    /// # Errors
    /// Those of the work, and `Unavailable` when it is late.
    pub async fn after<T>(
        deadline: Duration,
        work: impl Future<Output = Result<T, Self>>,
    ) -> Result<T, Self> {
        let late = |_| Err(Self::Unavailable("it took too long".into()));
        tokio::time::timeout(deadline, work).await.unwrap_or_else(late)
    }

    /// True when the same work may succeed if it is tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use diesel::result::{DatabaseErrorKind as Kind, Error};
        match self {
            Self::Unavailable(_) => true,
            Self::Query(Error::DatabaseError(Kind::Unknown, info)) => {
                PASSING.iter().any(|words| info.message().contains(words))
            }
            Self::Query(Error::DatabaseError(kind, _)) => matches!(
                kind,
                Kind::SerializationFailure | Kind::ClosedConnection | Kind::UnableToSendCommand
            ),
            Self::Query(Error::BrokenTransactionManager) => true,
            _ => false,
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<Conn>,
    tasks: Tasks,
}

impl Db {
    /// Opens the pool in the background: a database that is down is found by the first transaction.
    #[must_use]
    pub fn open(options: &DbOptions, tasks: &Tasks) -> Self {
        let main = tasks.clone();
        let mut config = ManagerConfig::<Conn>::default();
        config.custom_setup = Box::new(move |url| {
            let (url, main) = (url.to_owned(), main.clone());
            Box::pin(async move {
                main.on_main(async move { connect(&url).await })
                    .await
                    .unwrap_or_else(|stop| Err(ConnectionError::BadConnection(stop.to_string())))
            })
        });
        let manager =
            AsyncDieselConnectionManager::new_with_config(with_defaults(&options.url), config);
        let pool = Pool::builder()
            .max_size(options.max_connections)
            // The next one is opened before it is needed.
            .min_idle(Some(1))
            .connection_timeout(options.acquire)
            // The one used last: it is warm, and the few that a quiet server needs are enough.
            .queue_strategy(QueueStrategy::Lifo)
            .test_on_check_out(false) // a round trip per use; a dead socket is seen by is_broken
            .build_unchecked(manager);
        Self { pool, tasks: tasks.clone() }
    }

    /// A transaction that sees the rows of `tenant` and no others.
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tx, DbError> {
        let conn = self.connection().await?;
        Tx::begin(conn, self.tasks.clone(), &of_tenant(tenant)).await
    }

    /// The same, with its first queries, which are not waited for one by one: all of it is one round trip. They
    /// must be joined in their order (`futures_util::join!`, not tokio's, which begins anywhere).
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time.
    pub async fn tenant_with<T>(
        &self,
        tenant: TenantId,
        first: impl AsyncFnOnce(&Conn) -> T,
    ) -> Result<(Tx, T), DbError> {
        let conn = self.connection().await?;
        Tx::begin_with(conn, self.tasks.clone(), &of_tenant(tenant), first).await
    }

    /// A whole transaction in one round trip: `all` of its statements, joined in their order, and its end. None may
    /// depend on the answer to another.
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time; when one of them failed, nothing remains.
    pub async fn tenant_once<T>(
        &self,
        tenant: TenantId,
        all: impl AsyncFnOnce(&Conn) -> QueryResult<T>,
    ) -> Result<T, DbError> {
        let conn = self.connection().await?;
        Tx::whole(conn, self.tasks.clone(), &of_tenant(tenant), all).await
    }

    /// A transaction for work across tenants: the queue, the sweeper, finding a tenant by its slug.
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time.
    pub async fn system(&self) -> Result<Tx, DbError> {
        self.begin("BEGIN; SET LOCAL ROLE docent_system").await
    }

    /// A transaction of the ledger's keepers, across tenants: it numbers, chains, sums, checks and exports
    /// it, and reads no text.
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time.
    pub async fn ledger(&self) -> Result<Tx, DbError> {
        self.begin("BEGIN; SET LOCAL ROLE docent_ledger").await
    }

    /// A transaction of the login role, which owns the tables: for what only an owner may do
    /// (a partition and its index). It has no deadline: an index takes as long as it takes.
    ///
    /// # Errors
    /// `Unavailable` when no connection could be had in time.
    pub async fn owner(&self) -> Result<Tx, DbError> {
        self.begin(&format!("BEGIN; {NO_DEADLINES}")).await
    }

    async fn begin(&self, statements: &str) -> Result<Tx, DbError> {
        Tx::begin(self.connection().await?, self.tasks.clone(), statements).await
    }

    async fn connection(&self) -> Result<PooledConnection<'static, Conn>, DbError> {
        self.pool.get_owned().await.map_err(|error| match error {
            RunError::TimedOut => DbError::Unavailable("no connection became free in time".into()),
            RunError::User(PoolError::ConnectionError(error)) => {
                DbError::Unavailable(error.to_string())
            }
            RunError::User(PoolError::QueryError(error)) => DbError::Query(error),
        })
    }

    /// Refuses a set-up in which row security would not hold: the roles transactions switch to must
    /// neither be superusers nor bypass it, and every table with a tenant must force it.
    ///
    /// # Errors
    /// `Unsafe` names the role or table.
    pub async fn check_isolation(&self) -> Result<(), DbError> {
        #[derive(diesel::QueryableByName)]
        struct Finding {
            #[diesel(sql_type = diesel::sql_types::Text)]
            what: String,
        }
        let mut tx = self.owner().await?;
        let findings: Vec<Finding> = diesel::sql_query(
            "SELECT 'role ' || rolname || ' bypasses row-level security' AS what FROM pg_roles
              WHERE rolname IN ('docent_app', 'docent_system', 'docent_billing', 'docent_ledger', 'docent_search')
                AND (rolsuper OR rolbypassrls)
             UNION ALL
             SELECT 'table ' || c.relname || ' does not force row-level security' FROM pg_class c
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
              WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
        )
        .load(&mut *tx)
        .await?;
        match findings.as_slice() {
            [] => Ok(()),
            found => {
                let all: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
                Err(DbError::Unsafe(format!(
                    "refusing to start, tenants would not be isolated: {}",
                    all.join("; ")
                )))
            }
        }
    }
}
