//! The vectors of questions that were asked lately, and of those that are being asked right now.
//!
//! A question that a tenant asks again, or twice at once, goes to the provider once, and who hears first pays
//! for it. Nothing is shared between tenants: that a question costs nothing would tell that somebody asked it.
//! Deliberately absent: texts. A question is known by its hash.

use super::{EmbedError, Embedded, Space};
use crate::types::TenantId;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Vectors that are kept: 6 MB of 1536 numbers each. The oldest goes.
const MOST: usize = 1024;

/// Tenant, model and hash of the text.
type Key = (TenantId, i32, [u8; 32]);
type Flight = BoxFuture<'static, Result<Arc<Answer>, EmbedError>>;

struct Answer {
    vector: Vec<f32>,
    tokens: u64,
    exact: bool,
    paid: AtomicBool,
}

impl Answer {
    /// As an embedder would say it: without tokens for all but the first.
    fn take(&self) -> Embedded {
        let paid = self.paid.swap(true, Ordering::Relaxed);
        let tokens = if paid { 0 } else { self.tokens };
        Embedded { vectors: vec![self.vector.clone()], tokens, exact: paid || self.exact }
    }
}

/// The questions of this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Questions {
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    answers: HashMap<Key, Arc<Answer>>,
    /// Oldest first.
    order: VecDeque<Key>,
    /// Held by those who wait: when all have left, the request is dropped and the next asker begins anew.
    flights: HashMap<Key, WeakShared<Flight>>,
}

impl Questions {
    /// The vector of a tenant's question, and the tokens that it cost this time.
    ///
    /// # Errors
    /// Those of the embedder; all who waited together hear the same, and nothing is kept.
    pub async fn embed(
        &self,
        tenant: TenantId,
        space: &Space,
        text: &str,
    ) -> Result<Embedded, EmbedError> {
        let key = (tenant, space.id, Sha256::digest(text.as_bytes()).into());
        let (flight, how) = {
            let mut known = self.lock();
            if let Some(answer) = known.answers.get(&key) {
                count("known");
                return Ok(answer.take());
            }
            match known.flights.get(&key).and_then(WeakShared::upgrade) {
                Some(flight) => (flight, "joined"),
                None => (self.begin(&mut known, key, space, text), "asked"),
            }
        };
        count(how);
        Ok(flight.await?.take())
    }

    fn begin(&self, known: &mut Known, key: Key, space: &Space, text: &str) -> Shared<Flight> {
        let (this, space, text) = (self.clone(), space.clone(), text.to_owned());
        let flight = async move {
            let embedded = space.embed(vec![text]).await;
            let mut known = this.lock();
            known.flights.remove(&key);
            let Embedded { vectors, tokens, exact } = embedded?;
            let none = || EmbedError::Protocol { detail: "no vector".to_owned() };
            let vector = vectors.into_iter().next().ok_or_else(none)?;
            let answer = Arc::new(Answer { vector, tokens, exact, paid: AtomicBool::new(false) });
            known.keep(key, Arc::clone(&answer));
            Ok(answer)
        };
        let flight = flight.boxed().shared();
        if known.flights.len() >= MOST {
            known.flights.retain(|_, flight| flight.upgrade().is_some());
        }
        if let Some(weak) = flight.downgrade() {
            known.flights.insert(key, weak);
        }
        flight
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn keep(&mut self, key: Key, answer: Arc<Answer>) {
        if self.answers.insert(key, answer).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("docent_question_embeddings_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::Embedder;
    use futures_util::future::join_all;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicU64;
    use tokio::sync::Semaphore;

    /// Gives the length of a text, when it is let.
    struct Slow {
        calls: AtomicU64,
        gate: Semaphore,
        fails: AtomicBool,
    }

    impl Slow {
        fn new(permits: usize) -> Arc<Self> {
            let (calls, fails) = (AtomicU64::new(0), AtomicBool::new(false));
            Arc::new(Self { calls, gate: Semaphore::new(permits), fails })
        }

        fn calls(&self) -> u64 {
            self.calls.load(Ordering::SeqCst)
        }
    }

    impl Embedder for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
            async move {
                self.calls.fetch_add(1, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                if self.fails.load(Ordering::SeqCst) {
                    return Err(EmbedError::Protocol { detail: "scripted".into() });
                }
                let vectors = texts.iter().map(|text| vec![text.len() as f32]).collect();
                Ok(Embedded { vectors, tokens: 7, exact: true })
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn the_same_question_at_once_is_asked_once_and_paid_once() {
        let slow = Slow::new(0);
        let (space, questions) = (Space::new(1, slow.clone()), Questions::default());
        let tenant = TenantId::new();
        let all = join_all((0..20).map(|_| questions.embed(tenant, &space, "How?")));
        let (all, ()) = tokio::join!(all, async { slow.gate.add_permits(1) });
        let tokens: Vec<u64> = all.into_iter().map(|embedded| embedded.unwrap().tokens).collect();
        assert_eq!((tokens.iter().sum::<u64>(), slow.calls()), (7, 1), "{tokens:?}");
        let later = questions.embed(tenant, &space, "How?").await.unwrap();
        assert_eq!((later.tokens, slow.calls()), (0, 1), "it is known");
        slow.gate.add_permits(2);
        let stranger = questions.embed(TenantId::new(), &space, "How?").await.unwrap();
        assert_eq!((stranger.tokens, slow.calls()), (7, 2), "another tenant learns nothing of it");
        let moved = questions.embed(tenant, &Space::new(2, slow.clone()), "How?").await.unwrap();
        assert_eq!((moved.tokens, slow.calls()), (7, 3), "another model has other vectors");
    }

    #[tokio::test]
    async fn who_leaves_takes_nothing_from_those_who_stay() {
        let slow = Slow::new(0);
        let (space, questions) = (Space::new(1, slow.clone()), Questions::default());
        let tenant = TenantId::new();
        let mut first = Box::pin(questions.embed(tenant, &space, "How?"));
        let mut second = Box::pin(questions.embed(tenant, &space, "How?"));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        slow.gate.add_permits(1);
        assert_eq!((second.await.unwrap().tokens, slow.calls()), (7, 1), "and who stays pays");

        let mut gone = Box::pin(questions.embed(tenant, &space, "Why?"));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        slow.gate.add_permits(1);
        let again = questions.embed(tenant, &space, "Why?").await.unwrap();
        assert_eq!((again.tokens, slow.calls()), (7, 3), "nobody waited: it is asked anew");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_and_not_kept() {
        let slow = Slow::new(0);
        slow.fails.store(true, Ordering::SeqCst);
        let (space, questions) = (Space::new(1, slow.clone()), Questions::default());
        let tenant = TenantId::new();
        let both = join_all((0..2).map(|_| questions.embed(tenant, &space, "How?")));
        let (both, ()) = tokio::join!(both, async { slow.gate.add_permits(1) });
        assert!(both.iter().all(Result::is_err) && slow.calls() == 1);
        slow.fails.store(false, Ordering::SeqCst);
        slow.gate.add_permits(1);
        assert_eq!(questions.embed(tenant, &space, "How?").await.unwrap().tokens, 7);
    }

    #[tokio::test]
    async fn what_is_kept_has_a_bound_and_the_oldest_goes() {
        let slow = Slow::new(2 * MOST + 1);
        let (space, questions) = (Space::new(1, slow.clone()), Questions::default());
        let tenant = TenantId::new();
        for n in 0..=MOST {
            questions.embed(tenant, &space, &n.to_string()).await.unwrap();
        }
        assert_eq!(questions.lock().answers.len(), MOST);
        assert_eq!(questions.embed(tenant, &space, "1").await.unwrap().tokens, 0);
        assert_eq!(questions.embed(tenant, &space, "0").await.unwrap().tokens, 7, "it went");
        assert_eq!(questions.lock().order.len(), MOST);
    }

    proptest! {
        #[test]
        fn each_question_has_its_own_vector_and_is_paid_once(asked in prop::collection::vec(0_usize..6, 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let slow = Slow::new(asked.len());
            let (space, questions) = (Space::new(1, slow.clone()), Questions::default());
            let tenant = TenantId::new();
            let texts: Vec<String> = asked.iter().map(|n| "x".repeat(*n)).collect();
            let all = join_all(texts.iter().map(|text| questions.embed(tenant, &space, text)));
            let all: Vec<Embedded> =
                runtime.block_on(all).into_iter().map(Result::unwrap).collect();
            for (embedded, text) in all.iter().zip(&texts) {
                prop_assert_eq!(&embedded.vectors, &vec![vec![text.len() as f32]]);
            }
            let distinct = texts.iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
            prop_assert_eq!(slow.calls(), distinct);
            prop_assert_eq!(all.iter().map(|embedded| embedded.tokens).sum::<u64>(), 7 * distinct);
        }
    }
}
