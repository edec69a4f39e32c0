//! The search for the passages of a turn. Where it costs nothing, it begins while the turn is still being opened.

use super::answer::Ends;
use super::opened::Opened;
use super::prompt;
use super::service::ChatParts;
use crate::retrieval::{Found, RetrieveError};
use crate::types::TenantId;
use futures_util::future::{BoxFuture, Either, MaybeDone, maybe_done, select};
use futures_util::{FutureExt as _, poll};
use std::pin::{Pin, pin};
use std::task::Poll;

type Work = BoxFuture<'static, Result<Found, RetrieveError>>;

/// A search that goes on when it is waited for.
pub(super) struct Search {
    work: Pin<Box<MaybeDone<Work>>>,
    /// Nobody is paid for it.
    free: bool,
}

impl Search {
    /// What `opened` asks for; `None` when no assistant answers.
    pub(super) fn new(parts: &ChatParts, tenant: TenantId, opened: &Opened) -> Option<Self> {
        let text = opened.search_text()?;
        let (retriever, space) = (parts.retriever.clone(), opened.space.clone());
        let (among, free) = (opened.collections.clone(), space.is_built_in());
        let work = async move {
            retriever.retrieve(tenant, space, &text, prompt::PASSAGE_BUDGET, &among).await
        };
        Some(Self { work: Box::pin(maybe_done(work.boxed())), free })
    }

    /// Does `work`, and searches meanwhile unless that costs: the work may find that nothing is to be paid.
    pub(super) async fn beside<T>(search: &mut Option<Self>, work: impl Future<Output = T>) -> T {
        let Some(Self { work: searching, free: true }) = search else { return work.await };
        let mut work = pin!(work);
        if let Poll::Ready(done) = poll!(work.as_mut()) {
            return done;
        }
        // Its statements leave first. A search keeps a core busy at once, and it may be this one.
        tokio::task::yield_now().await;
        match select(work, searching.as_mut()).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Ends it before the turn goes on elsewhere, unless it costs or somebody ends the turn: each of its round trips
    /// would wake two threads there.
    pub(super) async fn finish(search: &mut Option<Self>, ends: &Ends) {
        if let Some(Self { work, free: true }) = search {
            let ended = ends.any();
            select(work.as_mut(), pin!(ended)).await;
        }
    }

    /// What it found.
    pub(super) async fn found(mut self) -> Result<Found, RetrieveError> {
        self.work.as_mut().await;
        self.work.as_mut().take_output().unwrap_or_else(|| Ok(Found::default()))
    }
}
