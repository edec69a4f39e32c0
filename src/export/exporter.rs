//! One exporter on one node: claim the cursor, send a page, move the cursor on.
//!
//! Three steps, each of which may be the last one of a process. What was sent and not noted is sent
//! again with the same ids; that it may have been sent is noted before, so that a vendor with a short
//! memory is never asked to take for new what it has forgotten.

use super::answer::{Piece, Rendered};
use super::deliver::{Delivery, Refused, deliver};
use super::pace::Pace;
use super::vendor::Vendor;
use crate::store::exported::{self, Page};
use crate::store::exports::{self, Claimed, Overview, Progress};
use crate::store::{Conn, Db, DbError};
use crate::types::NodeId;
use diesel::QueryResult;
use uuid::Uuid;

/// A node that is silent for so long loses the lease: longer than a round can take.
const LEASE_SECONDS: f64 = 60.0;
const IN_DOUBT: &str = "in_doubt: sent before, unanswered, and the vendor no longer knows the id; \
                        look there before a retry";

/// Exports to one vendor.
pub struct Exporter {
    db: Db,
    node: NodeId,
    vendor: Vendor,
    pace: Pace,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Nothing to do, or another node does it, or it is not time yet.
    Idle,
    /// So many rows were decided; there may be more.
    Moved(usize),
    /// The vendor does not take anything now.
    Held,
}

/// A row in this round's hands.
struct Row {
    seq: i64,
    event_id: Uuid,
    rendered: Rendered,
}

/// What a round is about.
struct Batch {
    claimed: Claimed,
    /// Parked rows that are sent again; otherwise rows behind the cursor.
    again: bool,
    rows: Vec<Row>,
}

impl Exporter {
    /// Exports to `vendor` on `node`.
    #[must_use]
    pub fn new(db: Db, node: NodeId, vendor: Vendor, pace: Pace) -> Self {
        Self { db, node, vendor, pace }
    }

    /// One of [`super::NAMES`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.vendor.name()
    }

    /// How it paces itself.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Sends at most one page.
    ///
    /// # Errors
    /// When the database cannot be asked; nothing is lost then.
    pub async fn round(&self) -> Result<Round, DbError> {
        let Some(batch) = self.claim().await? else { return Ok(Round::Idle) };
        let (mut pieces, mut refused) = (Vec::new(), Vec::new());
        for Row { seq, event_id, rendered } in &batch.rows {
            let (seq, event_id) = (*seq, *event_id);
            match rendered {
                Ok(Some(body)) => pieces.push(Piece { seq, event_id, body: body.clone() }),
                Ok(None) => {} // nothing to tell
                Err(error) => refused.push(Refused { seq, event_id, error: error.clone() }),
            }
        }
        let mut delivery = deliver(&self.vendor, &pieces).await;
        delivery.refused.append(&mut refused);
        self.settle(&batch, delivery).await
    }

    /// Step one: the lease, the rows, and a note that they are about to be sent.
    async fn claim(&self) -> Result<Option<Batch>, DbError> {
        let (mut tx, name) = (self.db.ledger().await?, self.name());
        let claimed = exports::claim(&mut tx, name, self.node, LEASE_SECONDS).await?;
        let Some(claimed) = claimed else {
            tx.commit().await?;
            return Ok(None);
        };
        let memory = self.vendor.memory().map(|memory| memory.as_secs_f64());
        if let Some(memory) = memory {
            exports::give_up_retries(&mut tx, name, memory, IN_DOUBT).await?;
        }
        let mut rows = self.read(&mut tx, None).await?;
        let again = !rows.is_empty();
        if again {
            let numbers: Vec<i64> = rows.iter().map(|row| row.seq).collect();
            exports::begin_retry(&mut tx, name, &numbers).await?;
        } else {
            rows = self.read(&mut tx, Some(&claimed)).await?;
            if let Some(last) = rows.last() {
                exports::begin(&mut tx, name, last.seq).await?;
            }
            if claimed.doubt_seconds.zip(memory).is_some_and(|(since, memory)| since > memory) {
                let sent = rows.iter_mut().filter(|row| matches!(row.rendered, Ok(Some(_))));
                sent.for_each(|row| row.rendered = Err(IN_DOUBT.into()));
            }
        }
        tx.commit().await?;
        Ok((!rows.is_empty()).then_some(Batch { claimed, again, rows }))
    }

    /// The next page behind the cursor; without one the parked rows that are to be sent again.
    async fn read(&self, conn: &mut Conn, cursor: Option<&Claimed>) -> QueryResult<Vec<Row>> {
        let (name, limit) = (self.name(), self.vendor.page());
        // What is in doubt is sent as it was: the same rows, and no more.
        let page = cursor.map(|c| Page { after: c.ledger_seq, upto: c.doubt_seq, limit });
        if self.vendor.tells_notices() {
            exported::number_notices(conn).await?;
            let notices = match page {
                Some(page) => exported::notices(conn, page).await?,
                None => exported::notices_again(conn, name, limit).await?,
            };
            let row = |notice: exported::Notice| {
                let rendered = Vendor::render_notice(&notice);
                Row { seq: notice.seq, event_id: notice.id, rendered }
            };
            return Ok(notices.into_iter().map(row).collect());
        }
        let usage = match page {
            Some(page) => exported::usage(conn, name, page).await?,
            None => exported::usage_again(conn, name, limit).await?,
        };
        let row = |usage: exported::UsageRow| {
            let rendered = self.vendor.render_usage(&usage);
            Row { seq: usage.ledger_seq, event_id: usage.event_id, rendered }
        };
        Ok(usage.into_iter().map(row).collect())
    }

    /// Step three: what was refused is parked, and the cursor moves past what is decided.
    async fn settle(&self, batch: &Batch, delivery: Delivery) -> Result<Round, DbError> {
        let Batch { claimed, again, rows } = batch;
        let Delivery { refused, left, hold, doubt } = delivery;
        let last = rows.last().map_or(claimed.ledger_seq, |row| row.seq);
        let decided_to = left.first().map_or(last, |first| first - 1);
        // An older doubt ends when its rows are decided; a refusal now says nothing about then.
        let older = claimed.doubt_seq.filter(|seq| *again || *seq > decided_to);
        let failures = u32::try_from(claimed.failures).unwrap_or(0);
        let pause = hold.as_ref().map(|hold| self.pace.pause(failures, hold.asked));
        let progress = Progress {
            exporter: self.name(),
            owner: self.node,
            ledger_seq: if *again { claimed.ledger_seq } else { decided_to },
            doubt_seq: older.or(doubt.filter(|_| !*again)),
            error: hold.as_ref().map(|hold| hold.error.as_str()),
            pause_seconds: pause.unwrap_or_default().as_secs_f64(),
            disabled: hold.as_ref().is_some_and(|hold| hold.gone),
        };
        let mut tx = self.db.ledger().await?;
        if !exports::advance(&mut tx, &progress).await? {
            tracing::warn!(exporter = self.name(), "The lease was lost; another node goes on");
            return Ok(Round::Held);
        }
        let is_decided =
            |seq: i64| if *again { left.binary_search(&seq).is_err() } else { seq <= decided_to };
        let mut parked = 0;
        for Refused { seq, event_id, error } in refused.iter().filter(|row| is_decided(row.seq)) {
            exports::park(&mut tx, self.name(), *seq, *event_id, error).await?;
            parked += 1;
        }
        let decided = rows.iter().map(|row| row.seq).filter(|seq| is_decided(*seq));
        let taken: Vec<i64> =
            decided.filter(|seq| !refused.iter().any(|row| row.seq == *seq)).collect();
        if *again {
            exports::unpark(&mut tx, self.name(), &taken).await?;
        }
        tx.commit().await?;
        let exported = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        metrics::counter!("docent_exported_total", "exporter" => self.name()).increment(exported);
        if parked > 0 {
            tracing::warn!(exporter = self.name(), export.parked = parked, "Parked rows");
        }
        let Some(error) = progress.error else { return Ok(Round::Moved(taken.len() + parked)) };
        tracing::warn!(
            exporter = self.name(),
            error,
            export.disabled = progress.disabled,
            export.pause_s = progress.pause_seconds,
            "An exporter waits"
        );
        Ok(Round::Held)
    }

    /// Writes down how far behind it is; what each node says is the same.
    ///
    /// # Errors
    /// When the database cannot be asked.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub async fn measure(&self) -> Result<(), DbError> {
        let mut tx = self.db.ledger().await?;
        let all: Vec<Overview> = exports::overview(&mut tx).await?;
        tx.commit().await?;
        if let Some(own) = all.iter().find(|own| own.exporter == self.name()) {
            let name = self.name();
            metrics::gauge!("docent_export_lag_rows", "exporter" => name).set(own.lag as f64);
            metrics::gauge!("docent_export_parked", "exporter" => name).set(own.parked as f64);
        }
        Ok(())
    }

    /// Gives the lease back, so that another node goes on at once.
    ///
    /// # Errors
    /// When the database cannot be asked; the lease then runs out by itself.
    pub async fn release(&self) -> Result<(), DbError> {
        let mut tx = self.db.ledger().await?;
        exports::release(&mut tx, self.name(), self.node).await?;
        tx.commit().await
    }
}
