//! How many streams and sockets a person has open on this node: one person with many tabs, or a
//! broken client that never closes, must not use up what is there for all.

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
    open: Arc<DashMap<Person, usize>>,
}

/// An open connection: it counts until it is dropped.
pub struct Connection {
    person: Person,
    open: Arc<DashMap<Person, usize>>,
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
    pub fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    /// When the person has no place left.
    #[expect(clippy::unused_async, reason = "counting on all nodes will have to ask")]
    pub async fn open(&self, ctx: Ctx) -> Result<Connection, TooManyConnections> {
        let person = (ctx.tenant, ctx.user);
        let mut count = self.open.entry(person).or_insert(0);
        if *count >= self.most {
            return Err(TooManyConnections { most: self.most, retry_after: RETRY_AFTER });
        }
        *count += 1;
        drop(count);
        Ok(Connection { person, open: Arc::clone(&self.open) })
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
        Ctx { tenant: TenantId::new(), user: UserId::new(), role: Role::Member }
    }

    #[tokio::test]
    async fn a_place_is_given_back() {
        let (anna, ben) = (somebody(), somebody());
        let connections = Connections::new(2);
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
