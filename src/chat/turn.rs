//! A turn from acceptance to its bill. It runs on the main runtime, for its session actor; whether a
//! client is there makes no difference to it.

use super::accepted::Accepted;
use super::answer::{End, Ends, answer};
use super::feed::ConversationEvent;
use super::journal::Journal;
use super::log::TurnLog;
use super::open::{NotOpened, Order, open};
use super::service::Core;
use super::settle::{Settlement, items, last_parts, usage};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// What the asker hears: the turn, a refusal, or that the key was just used.
pub(super) type Reply = oneshot::Sender<Result<Accepted, NotOpened>>;

/// How often settlement is tried before clients are told the end without waiting for it longer.
const TRIES_BEFORE_TELLING: u32 = 8;
/// How often settlement is tried when the failure does not look passing.
const TRIES_AGAINST_ERRORS: u32 = 5;

/// Runs one turn. Every path ends in one terminal part, and in one settlement.
pub(super) async fn run(core: Arc<Core>, order: Order, ends: Ends, reply: Reply) {
    let opened = match open(&core, &order).await {
        Ok(opened) => opened,
        Err(not_opened) => {
            // The asker may have left; then nobody needs the answer.
            drop(reply.send(Err(not_opened)));
            return;
        }
    };
    let log = TurnLog::new(order.turn);
    core.live.insert(order.ctx, Arc::clone(&log), ends.stop.clone());
    announce(&core, &order);
    let accepted = Accepted {
        turn: order.turn,
        conversation: order.conversation,
        log: Arc::clone(&log),
        headroom: Vec::new(),
    };
    drop(reply.send(Ok(accepted)));
    let prompt_tokens = Arc::new(AtomicU32::new(0));
    let (finish, finished) = oneshot::channel();
    let (report, reported) = oneshot::channel();
    let journal =
        Journal::new(core.db.clone(), order.ctx.tenant, log.cursor(0), Arc::clone(&prompt_tokens));
    core.tasks.spawn("turn-journal", async move {
        let written = journal.run(finished).await;
        let _gone = report.send(written); // only a turn that panicked does not wait
    });
    let answer = answer(&core, &order, &opened, &log, &ends, &prompt_tokens).await;
    drop(finish);
    let written = reported.await.unwrap_or(0);
    let items = items(&answer, prompt_tokens.load(Ordering::Relaxed));
    let settlement = Settlement {
        order: &order,
        opened: &opened,
        answer: &answer,
        items: &items,
        embedding_model: core.retriever.embedding_model(),
        unwritten: (written, parts_from(&log, written)),
    };
    settle(&core, &settlement, &log).await;
    core.live.mark_ended(order.turn);
    let event = ConversationEvent::TurnEnded {
        conversation_id: order.conversation,
        turn_id: order.turn,
        state: answer.end.state().into(),
    };
    core.events.publish(order.ctx.tenant, order.ctx.user, &event);
    metrics::counter!("docent_turns_total", "outcome" => answer.end.state()).increment(1);
    metrics::histogram!("docent_turn_seconds").record(answer.started.elapsed());
}

/// Before the asker hears: a tab of theirs learns of the turn no later than of its first part.
fn announce(core: &Core, order: &Order) {
    let (conversation_id, turn_id) = (order.conversation, order.turn);
    let publish = |event| core.events.publish(order.ctx.tenant, order.ctx.user, &event);
    if order.is_new {
        let title = order.asked.question.title();
        publish(ConversationEvent::Created { conversation_id, title });
    }
    publish(ConversationEvent::TurnStarted { conversation_id, turn_id });
}

fn parts_from(log: &Arc<TurnLog>, offset: usize) -> Vec<Bytes> {
    let mut cursor = log.cursor(offset);
    let batches = std::iter::from_fn(|| cursor.take_ready());
    batches.flat_map(|batch| batch.parts).collect()
}

/// Settles, as often as it takes, and ends the log.
async fn settle(core: &Core, settlement: &Settlement<'_>, log: &TurnLog) {
    let turn = settlement.order.turn;
    let mut tries = 0;
    loop {
        tries += 1;
        match settlement.commit(&core.db).await {
            Ok(Some(settled)) => {
                if !settled.keep_log {
                    core.live.forget(turn); // before anybody can know that it ended
                }
                return settled.last.iter().for_each(|part| log.append(part));
            }
            Ok(None) => {
                // The sweeper took us for dead and closed the turn; what it wrote is what counts.
                let message = "This answer was interrupted. Ask again.".into();
                let end = End::Failed { code: "interrupted", message };
                return last_parts(&end, None).iter().for_each(|part| log.append(part));
            }
            Err(error) => {
                tracing::error!(turn.id = %turn, %error, tries, "A turn could not be settled");
                if !error.is_transient() && tries >= TRIES_AGAINST_ERRORS {
                    // The lease runs out, and the sweeper closes and bills it from the journal.
                    let message = "The answer could not be saved. Ask again.".into();
                    let end = End::Failed { code: "internal", message };
                    return last_parts(&end, None).iter().for_each(|part| log.append(part));
                }
            }
        }
        if tries == TRIES_BEFORE_TELLING {
            let told = last_parts(&settlement.answer.end, usage(settlement.items, None));
            told.iter().for_each(|part| log.append(part));
        }
        let wait = Duration::from_millis(100).saturating_mul(1 << tries.min(6));
        tokio::time::sleep(wait).await;
    }
}
