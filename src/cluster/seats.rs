//! Places of which a person has so many, on whichever nodes they are taken.
//!
//! A place is a member of a sorted set whose score is the time it lapses; the node that holds it
//! renews it. What a dead node held lapses by itself, and what an empty Redis forgot is there again
//! after the next renewal.

use super::error::ClusterError;
use super::node::{Cluster, PROMPT, Shared};
use crate::types::{TenantId, UserId};
use bb8_redis::redis::{Pipeline, Script};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use uuid::Uuid;

/// How long a place is held without being renewed.
const LAPSE: Duration = Duration::from_secs(60);
/// How often all places of a node are renewed.
const RENEW: Duration = Duration::from_secs(20);
/// Places renewed in one round trip.
const BATCH: usize = 1_000;

/// KEYS: the set. ARGV: the place, how many there are, when one lapses in seconds.
static SIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local now = tonumber(redis.call('TIME')[1])
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
         if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
         redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
         redis.call('EXPIRE', KEYS[1], ARGV[3])
         return 1",
    )
});

/// KEYS: sets. ARGV: when a place lapses in seconds, then one place per set.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local lapse = tonumber(redis.call('TIME')[1]) + ARGV[1]
         for i, key in ipairs(KEYS) do
           redis.call('ZADD', key, lapse, ARGV[i + 1])
           redis.call('EXPIRE', key, ARGV[1])
         end",
    )
});

/// A place that was taken; dropping it gives it back.
pub struct Seat {
    shared: Arc<Shared>,
    id: Uuid,
    key: String,
}

impl Cluster {
    /// Takes one of a person's `seats`; `Ok(None)` when all are taken. Without Redis there is nothing
    /// to take: `Err(Away)`, and the caller has only its own count.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn sit(
        &self,
        tenant: TenantId,
        user: UserId,
        seats: usize,
    ) -> Result<Option<Seat>, ClusterError> {
        let Some(shared) = self.shared.clone() else { return Err(ClusterError::Away) };
        let (id, key) = (Uuid::now_v7(), format!("docent:seats:{tenant}:{user}"));
        let mut sit = SIT.key(&key);
        sit.arg(id.to_string()).arg(seats).arg(LAPSE.as_secs());
        let taken: bool = shared.redis.script(&sit, PROMPT).await?;
        if !taken {
            return Ok(None);
        }
        shared.seats.insert(id, key.clone());
        Ok(Some(Seat { shared, id, key }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.seats.remove(&self.id);
        let (shared, key, id) = (Arc::clone(&self.shared), self.key.clone(), self.id);
        self.shared.tasks.spawn("cluster-seat", async move {
            let mut pipe = Pipeline::new();
            pipe.cmd("ZREM").arg(key).arg(id.to_string()).ignore();
            drop(shared.redis.run::<()>(&pipe, PROMPT).await); // or it lapses
        });
    }
}

/// Renews the places of this node for as long as it is polled.
pub(super) async fn keep_seats(shared: &Shared) {
    loop {
        tokio::time::sleep(RENEW).await;
        let held: Vec<(Uuid, String)> =
            shared.seats.iter().map(|seat| (*seat.key(), seat.value().clone())).collect();
        for batch in held.chunks(BATCH) {
            let mut keep = KEEP.prepare_invoke();
            keep.arg(LAPSE.as_secs());
            for (id, key) in batch {
                keep.key(key).arg(id.to_string());
            }
            // Away: the next renewal is early enough, and a lapsed place comes back with it.
            drop(shared.redis.script::<()>(&keep, Duration::from_secs(2)).await);
        }
    }
}
