//! A place in the database where whoever comes by is stopped until the test lets go: what a server
//! was doing when it was killed is decided by the test, not by luck.

use super::Database;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

/// A closed gate.
pub struct Gate {
    database: Database,
    table: String,
    /// Holds the lock that the trigger wants.
    keeper: AsyncPgConnection,
}

impl Gate {
    /// Closes a gate at `event` (`BEFORE UPDATE ON documents`) for rows that fit `condition`.
    pub async fn at(database: &Database, event: &str, condition: &str) -> Self {
        Self::of(database, &format!("TRIGGER gate {event}"), event, condition).await
    }

    /// Closes a gate where a transaction that did `event` (`AFTER INSERT ON turns`) is committed: whoever
    /// goes away there is not told that it was.
    pub async fn at_commit(database: &Database, event: &str, condition: &str) -> Self {
        let trigger = format!("CONSTRAINT TRIGGER gate {event} DEFERRABLE INITIALLY DEFERRED");
        Self::of(database, &trigger, event, condition).await
    }

    async fn of(database: &Database, trigger: &str, event: &str, condition: &str) -> Self {
        let mut keeper = database.connect().await;
        keeper
            .batch_execute(&format!(
                "SELECT pg_advisory_lock(4711);
                 CREATE OR REPLACE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
                 CREATE {trigger} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION gate()"
            ))
            .await
            .expect("a gate can be made");
        let table = event.rsplit(' ').next().expect("a table").to_owned();
        Self { database: database.clone(), table, keeper }
    }

    /// Returns when somebody stands before it.
    pub async fn until_reached(&self) {
        self.database
            .until(
                "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await;
    }

    /// Opens it and takes it away.
    pub async fn open(self) {
        drop(self.keeper);
        self.database.run(&format!("DROP TRIGGER gate ON {}", self.table)).await;
    }
}
