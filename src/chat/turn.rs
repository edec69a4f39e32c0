//! A turn from acceptance to its bill. It is opened and settled on the main runtime, for its session actor, and
//! streamed on that of its asker; whether a client is there makes no difference to it.

use super::accepted::Accepted;
use super::answer::{Answer, End, Ends, answer};
use super::feed::ConversationEvent;
use super::log::TurnLog;
use super::open::{NotOpened, Order, open};
use super::opened::Opened;
use super::replay::end_as_stored;
use super::search::Search;
use super::service::Core;
use super::session::Start;
use super::settle::{Settled, Settlement, last_parts};
use super::step::Steps;
use super::summary;
use crate::store::turns::Turn;
use crate::store::{Db, DbError};
use crate::types::Question;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What the asker hears: the turn, a refusal, or that the key was just used.
pub(super) type Reply = oneshot::Sender<Result<Accepted, NotOpened>>;

/// How long a settlement may take.
const TRY: Duration = Duration::from_secs(5);
/// How long, and how often at least, settlement is tried before clients are told the end and the turn waits in a file.
const PATIENCE: Duration = Duration::from_secs(5);
const TRIES: u32 = 3;
/// How often it is tried when the failure does not look passing.
const TRIES_AGAINST_ERRORS: u32 = 5;

/// Runs one turn. Every path ends in one terminal part, and in one settlement.
pub(super) async fn run(core: Arc<Core>, start: Start, ends: Ends) {
    let Start { order, reply, place, charge, near } = start;
    core.live.begin(order.turn);
    let began = Instant::now();
    let (mut opened, mut search) = match open(&core, &order).await {
        Ok(opened) => opened,
        Err(not_opened) => {
            core.live.give_up(order.turn);
            drop(charge); // it used nothing, and who is refused may ask again at once
            // The asker may have left; then nobody needs the answer.
            drop(reply.send(Err(not_opened)));
            return;
        }
    };
    metrics::histogram!("docent_turn_open_seconds").record(began.elapsed());
    let log = TurnLog::new(order.turn);
    core.live.insert(order.ctx, Arc::clone(&log), ends.clone());
    core.mirror.add(&log);
    announce(&core, &order, &opened);
    let accepted = Accepted {
        turn: order.turn,
        conversation: order.conversation,
        log: Arc::clone(&log),
        standing: Some(std::mem::take(&mut opened.standing)),
    };
    drop(reply.send(Ok(accepted)));
    let steps = Steps::default();
    let since = Instant::now();
    Search::finish(&mut search, &ends).await;
    core.journal.add(order.ctx.tenant, &log, &steps);
    let turn = Arc::new((order, opened));
    let work = work(Arc::clone(&core), Arc::clone(&turn), (search, since, ends), &log, &steps);
    let answered = core.tasks.on(&near, work).await;
    let (order, opened) = &*turn;
    let written = core.journal.take(order.turn);
    let answer = match answered {
        Ok(answer) => answer,
        Err(stop) if stop.is_panic() => std::panic::resume_unwind(stop.into_panic()),
        Err(_stopped) => return, // given up, and billed by what is written down
    };
    let (state, started) = (answer.end.state(), answer.started);
    let outgrown = summary::is_due(&core, opened, &answer.speech.text);
    let unwritten = (written, log.lines_from(written).0);
    let settlement = Settlement::new((order, opened), answer, steps.all(), unwritten);
    charge.settle(settlement.tokens()).await; // before anybody hears the end and asks again
    settle(&core, settlement, &log).await;
    core.live.mark_ended(order.turn);
    drop(place);
    if outgrown {
        summary::begin(&core, order, opened);
    }
    let event = ConversationEvent::TurnEnded {
        conversation_id: order.conversation,
        turn_id: order.turn,
        state: state.into(),
    };
    if order.asked.given().is_none() {
        core.events.publish(order.ctx.tenant, order.ctx.user, &event);
    }
    metrics::counter!("docent_turns_total", "outcome" => state).increment(1);
    metrics::histogram!("docent_turn_seconds").record(started.elapsed());
}

/// Steps 2 to 4, on the runtime of the asker: what the provider sends is read, written into the log and passed on to
/// the asker's connection by one thread, which nobody has to wake in between.
fn work(
    core: Arc<Core>,
    turn: Arc<(Box<Order>, Opened)>,
    (search, since, ends): (Option<Search>, Instant, Ends),
    log: &Arc<TurnLog>,
    steps: &Steps,
) -> impl Future<Output = Answer> + Send + 'static {
    let (log, steps) = (Arc::clone(log), steps.clone());
    async move {
        let (order, opened) = &*turn;
        answer(&core, order, (opened, search, since), &log, &ends, &steps).await
    }
}

/// Before the asker hears: a tab of theirs learns of the turn no later than of its first part.
fn announce(core: &Core, order: &Order, opened: &Opened) {
    if order.asked.given().is_some() {
        return; // in no tab's list
    }
    let (conversation_id, turn_id) = (order.conversation, order.turn);
    let publish = |event| core.events.publish(order.ctx.tenant, order.ctx.user, &event);
    if order.is_new && order.asked.question().is_some() {
        publish(ConversationEvent::Created {
            conversation_id,
            title: Question::title(&opened.text),
        });
    }
    publish(ConversationEvent::TurnStarted { conversation_id, turn_id });
}

fn tell(log: &TurnLog, end: &End) {
    log.append_all(&last_parts(end, None));
}

/// Settles, and ends the log. When the database stays away the turn waits in a file, and its clients
/// do not.
async fn settle(core: &Arc<Core>, mut settlement: Settlement, log: &TurnLog) {
    let turn = settlement.turn;
    let began = Instant::now();
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match commit(&core.db, &settlement).await {
            Ok(Some(settled)) => {
                if !settled.keep_log {
                    core.live.forget(turn); // before anybody can know that it ended
                    core.cluster.forget(&[turn]);
                }
                return log.append_all(&settled.last);
            }
            Ok(None) => {
                core.live.forget(turn); // whoever comes later gets what is written
                match end_elsewhere(&core.db, &settlement, log).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::error!(turn.id = %turn, %error, tries, "A turn could not be settled");
        if !error.is_transient() && tries >= TRIES_AGAINST_ERRORS {
            // Nobody here runs it any more, so it is disowned, closed and billed from the journal.
            return tell(log, &End::interrupted("The answer could not be saved. Ask again."));
        }
        if error.is_transient() && tries >= TRIES && began.elapsed() > PATIENCE {
            let last = settlement.tell();
            if core.put_aside(settlement).await {
                return log.append_all(&last);
            }
            return tell(log, &End::interrupted("The answer could not be saved. Ask again."));
        }
        let wait = Duration::from_millis(100).saturating_mul(1 << tries.min(4));
        tokio::time::sleep(wait).await;
    }
}

pub(super) async fn commit(db: &Db, settlement: &Settlement) -> Result<Option<Settled>, DbError> {
    // A large future: who settles need not be as large.
    DbError::after(TRY, Box::pin(settlement.commit(db))).await
}

/// The turn is closed: by the sweeper, which took us for dead, or by ourselves in a transaction whose
/// answer was lost. What is written is what counts.
async fn end_elsewhere(db: &Db, settlement: &Settlement, log: &TurnLog) -> Result<(), DbError> {
    let mut tx = db.tenant(settlement.tenant).await?;
    match Turn::find(&mut tx, settlement.tenant, settlement.turn).await? {
        Some(turn) => end_as_stored(&mut tx, &turn, log).await?,
        None => tell(log, &End::interrupted("The conversation was deleted.")),
    }
    tx.commit().await
}
