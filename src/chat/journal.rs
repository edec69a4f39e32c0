//! The durable copy of running turns' logs: one more cursor into each, written down twice a second, all turns
//! of a tenant in one round trip.
//!
//! After a crash it is what clients resume from and what turns are billed by. It never holds a stream or an end
//! up: when the database is away, parts wait in their logs and are written when it is back.

use super::log::TurnLog;
use super::step::Steps;
use crate::store::segments::{self, Run};
use crate::store::turns::{self, Asked};
use crate::store::{Conn, Db, DbError};
use crate::types::{NodeId, TenantId, TurnId};
use futures_util::stream::{StreamExt, iter};
use futures_util::try_join;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(500);
/// A database that hangs is away.
const TRY: Duration = Duration::from_secs(2);
/// Tenants that are written at once.
const AT_ONCE: usize = 4;
/// Bytes that one round trip carries, or a little more. Full: the rest is carried by the next one.
const MOST_BYTES: usize = 1 << 20;

/// How much of a log is written down.
struct Page {
    tenant: TenantId,
    log: Arc<TurnLog>,
    written: usize,
    steps: Steps,
    /// The version of the steps that is written down.
    noted: u64,
}

/// What is new of a log.
struct News {
    run: Run,
    /// The offset after it.
    next: usize,
    asked: Option<(u64, Asked)>,
}

/// Writes the logs of this node's turns.
pub(super) struct Journal {
    db: Db,
    node: NodeId,
    pages: Mutex<HashMap<TurnId, Page>>,
}

impl Journal {
    pub(super) fn new(db: Db, node: NodeId) -> Self {
        Self { db, node, pages: Mutex::default() }
    }

    /// Writes this log down until it is taken.
    pub(super) fn add(&self, tenant: TenantId, log: &Arc<TurnLog>, steps: &Steps) {
        let (log, steps) = (Arc::clone(log), steps.clone());
        let turn = log.turn();
        self.pages().insert(turn, Page { tenant, log, written: 0, steps, noted: 0 });
    }

    /// Writes no more of it; returns the first offset that is not known to be written. What is on its way is written
    /// again with the rest of the log, from the same offset on, and the longer run stays.
    pub(super) fn take(&self, turn: TurnId) -> usize {
        self.pages().remove(&turn).map_or(0, |page| page.written)
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<TurnId, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until `closing`.
    pub(super) async fn run(&self, closing: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while closing.run_until_cancelled(tick.tick()).await.is_some() {
            let batches = iter(batches(self.news()));
            batches.for_each_concurrent(AT_ONCE, |(tenant, news)| self.keep(tenant, news)).await;
        }
    }

    fn news(&self) -> Vec<(TenantId, News)> {
        self.pages().values().filter_map(|page| Some((page.tenant, page.news()?))).collect()
    }

    async fn keep(&self, tenant: TenantId, news: Vec<News>) {
        match DbError::after(TRY, self.write(tenant, &news)).await {
            Ok(()) => self.written(&news),
            Err(error) => tracing::warn!(tenant.id = %tenant, turns = news.len(), %error,
                "Turns' logs could not be written down; trying again"),
        }
    }

    /// Turns that somebody who took us for dead has closed are left out: their logs stay as they are.
    async fn write(&self, tenant: TenantId, news: &[News]) -> Result<(), DbError> {
        let runs: Vec<&Run> = news.iter().map(|news| &news.run).collect();
        let asked: Vec<&Asked> =
            news.iter().filter_map(|news| news.asked.as_ref().map(|(_, asked)| asked)).collect();
        let all = async |conn: &Conn| {
            try_join!(
                turns::set_steps(conn, tenant, self.node, &asked),
                segments::append(conn, tenant, self.node, &runs)
            )
        };
        self.db.tenant_once(tenant, all).await?;
        Ok(())
    }

    fn written(&self, news: &[News]) {
        let mut pages = self.pages();
        for News { run, next, asked } in news {
            let Some(page) = pages.get_mut(&run.turn) else { continue };
            page.written = *next;
            page.noted = asked.as_ref().map_or(page.noted, |(version, _)| *version);
        }
    }
}

impl Page {
    fn news(&self) -> Option<News> {
        let (parts, next) = self.log.lines_from(self.written);
        if parts.is_empty() {
            return None;
        }
        let turn = self.log.turn();
        let first_offset = i32::try_from(self.written).unwrap_or(i32::MAX);
        let asked = self.steps.since(self.noted);
        let asked = asked.map(|(version, steps)| (version, Asked { turn, steps }));
        Some(News { run: Run { turn, first_offset, parts }, next, asked })
    }
}

/// What goes in one round trip each: of one tenant, and not too much.
fn batches(news: Vec<(TenantId, News)>) -> Vec<(TenantId, Vec<News>)> {
    let mut full = Vec::new();
    let mut open: HashMap<TenantId, (usize, Vec<News>)> = HashMap::new();
    for (tenant, news) in news {
        let (bytes, batch) = open.entry(tenant).or_default();
        *bytes += news.run.parts.len();
        batch.push(news);
        if *bytes >= MOST_BYTES {
            full.push((tenant, std::mem::take(batch)));
            *bytes = 0;
        }
    }
    full.extend(open.into_iter().map(|(tenant, (_, batch))| (tenant, batch)));
    full.retain(|(_, batch)| !batch.is_empty());
    full
}

#[cfg(test)]
mod tests {
    use super::super::part::Part;
    use super::*;

    fn news(bytes: usize) -> News {
        let run = Run { turn: TurnId::new(), first_offset: 0, parts: "x".repeat(bytes) };
        News { run, next: 1, asked: None }
    }

    #[test]
    fn a_round_trip_is_of_one_tenant_and_not_too_large() {
        let (one, two) = (TenantId::new(), TenantId::new());
        let sizes = [MOST_BYTES - 1, 1, 5, MOST_BYTES * 3, 7];
        let mut all: Vec<_> = sizes.into_iter().map(|bytes| (one, news(bytes))).collect();
        all.push((two, news(9)));
        let batches = batches(all);
        let mut lengths: Vec<(bool, Vec<usize>)> = Vec::new();
        for (tenant, batch) in &batches {
            let of = batch.iter().map(|news| news.run.parts.len()).collect();
            lengths.push((*tenant == one, of));
        }
        lengths.sort();
        let first = vec![MOST_BYTES - 1, 1];
        let expected =
            [(false, vec![9]), (true, vec![5, MOST_BYTES * 3]), (true, vec![7]), (true, first)];
        assert_eq!(lengths, expected);
    }

    #[test]
    fn what_is_written_is_not_news() {
        let log = TurnLog::new(TurnId::new());
        let steps = Steps::default();
        let mut page =
            Page { tenant: TenantId::new(), log: Arc::clone(&log), written: 0, steps, noted: 0 };
        assert!(page.news().is_none(), "there is nothing yet");
        log.append(&Part::delta("one".into()));
        page.steps.begin(super::super::step::Step::default());
        let news = page.news().unwrap();
        assert_eq!((news.run.first_offset, news.next), (0, 1));
        page.written = news.next;
        page.noted = news.asked.unwrap().0;
        assert!(page.news().is_none());
        log.append(&Part::delta("two".into()));
        let news = page.news().unwrap();
        assert_eq!((news.run.first_offset, news.next, news.asked.is_none()), (1, 2, true));
    }
}
