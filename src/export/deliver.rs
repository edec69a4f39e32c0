//! Hands events to a vendor, in order, until all are decided or it must stop.
//!
//! A batch that is refused as a whole is halved until the event that spoils it is alone: one poisonous
//! row parks itself and nothing else.

use super::answer::{Answer, Hold, Piece};
use super::vendor::Vendor;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A round ends before its lease does, with what it has.
const BUDGET: Duration = Duration::from_secs(20);

/// An event that was refused for good.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) seq: i64,
    pub(super) event_id: Uuid,
    pub(super) error: String,
}

/// How far it came.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) refused: Vec<Refused>,
    /// The events that are not decided, in order.
    pub(super) left: Vec<i64>,
    pub(super) hold: Option<Hold>,
    /// Of what is left, the vendor may have the events up to here.
    pub(super) doubt: Option<i64>,
}

/// Sends `pieces`.
pub(super) async fn deliver(vendor: &Vendor, pieces: &[Piece]) -> Delivery {
    let until = Instant::now() + BUDGET;
    let mut delivery = Delivery::default();
    let mut work: VecDeque<Vec<Piece>> =
        pieces.chunks(vendor.batch()).map(<[Piece]>::to_vec).collect();
    while Instant::now() < until
        && let Some(mut batch) = work.pop_front()
    {
        match vendor.send(&batch).await {
            Answer::Taken => {}
            Answer::Refused(error) if batch.len() == 1 => {
                delivery.refused.extend(batch.iter().map(|piece| refuse(piece, &error)));
            }
            Answer::Refused(_) => {
                let second = batch.split_off(batch.len() / 2);
                work.push_front(second);
                work.push_front(batch);
            }
            Answer::RefusedSome(mut named) => {
                let mut rest = Vec::new();
                for (index, piece) in batch.into_iter().enumerate() {
                    match named.remove(&index) {
                        Some(Some(error)) => delivery.refused.push(refuse(&piece, &error)),
                        Some(None) => {} // it is there already
                        None => rest.push(piece),
                    }
                }
                if !rest.is_empty() {
                    work.push_front(rest);
                }
            }
            Answer::Hold(hold) => {
                let last = batch.last().map(|piece| piece.seq);
                delivery.doubt = last.filter(|_| hold.in_doubt);
                delivery.hold = Some(hold);
                work.push_front(batch);
                break;
            }
        }
    }
    delivery.left = work.into_iter().flatten().map(|piece| piece.seq).collect();
    delivery.left.sort_unstable();
    delivery
}

fn refuse(piece: &Piece, error: &str) -> Refused {
    Refused { seq: piece.seq, event_id: piece.event_id, error: error.to_owned() }
}
