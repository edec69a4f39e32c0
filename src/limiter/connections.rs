//! How many streams and sockets a person has open: one person with many tabs, or a broken client that
//! never closes, must not use up what is there for all. With Redis the count is that of all nodes;
//! while it is away, each node counts its own.

use crate::cluster::{Cluster, Seat};
use crate::types::{Ctx, TenantId, UserId};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::time::Duration;

type Person = (TenantId, UserId);

/// Counts open connections. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    most: usize,
    cluster: Cluster,
    open: Arc<DashMap<Person, usize>>,
}

/// An open connection: it counts until it is dropped.
pub struct Connection {
    person: Person,
    open: Arc<DashMap<Person, usize>>,
    /// Among those on all nodes; only held.
    seat: Option<Seat>,
}

/// A person has as many connections as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyConnections {
    pub most: usize,
    pub retry_after: Duration,
}

/// Connections close when people close them; there is nothing to calculate.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Connections {
    /// At most `most` for each person.
    #[must_use]
    pub fn new(most: usize, cluster: Cluster) -> Self {
        Self { most, cluster, open: Arc::default() }
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    /// When the person has no place left.
    pub async fn open(&self, ctx: Ctx) -> Result<Connection, TooManyConnections> {
        let mut connection = self.open_here(ctx)?;
        match self.cluster.sit(ctx.tenant, ctx.user, self.most).await {
            Ok(Some(seat)) => connection.seat = Some(seat),
            Ok(None) => return Err(self.full()),
            Err(_away) => {} // our own count is what there is
        }
        Ok(connection)
    }

    fn open_here(&self, ctx: Ctx) -> Result<Connection, TooManyConnections> {
        let person = (ctx.tenant, ctx.user);
        let mut count = self.open.entry(person).or_insert(0);
        if *count >= self.most {
            return Err(self.full());
        }
        *count += 1;
        drop(count);
        Ok(Connection { person, open: Arc::clone(&self.open), seat: None })
    }

    fn full(&self) -> TooManyConnections {
        TooManyConnections { most: self.most, retry_after: RETRY_AFTER }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.open.entry(self.person) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Role;

    fn somebody() -> Ctx {
        Ctx::new(TenantId::new(), UserId::new(), Role::Member)
    }

    #[tokio::test]
    async fn a_place_is_given_back() {
        let (anna, ben) = (somebody(), somebody());
        let connections = Connections::new(2, Cluster::default());
        let first = connections.open(anna).await.ok();
        let second = connections.open(anna).await.ok();
        assert!(first.is_some() && second.is_some());
        let refused = connections.open(anna).await.err().unwrap();
        assert_eq!(refused.most, 2);
        assert!(connections.open(ben).await.is_ok(), "others have places of their own");
        drop(first);
        assert!(connections.open(anna).await.is_ok());
        drop(second);
        assert!(connections.open.is_empty(), "nobody is remembered who has nothing open");
    }
}
