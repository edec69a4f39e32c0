//! One call: the rate is charged, the quota looked at, the texts embedded, the tokens billed.

use crate::embedding::{EmbedError, Embedded, Space, Spaces};
use crate::limiter::{Limited, Plans, RateLimiter};
use crate::metering::{self, Bill, Item, Prices, QuotaExceeded, Source, StepBill};
use crate::runtime::Tasks;
use crate::store::prices::Price;
use crate::store::{Conn, Db, DbError};
use crate::types::{Ctx, Meter, Provenance, TenantId};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Calls under way on this node; full: the caller is told to come back.
const MOST: usize = 32;

/// What a call gave.
pub struct Vectorised {
    /// In the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// As billed.
    pub tokens: u64,
}

/// Why there are no vectors; nothing is billed then.
#[derive(Debug, Error)]
pub enum EmbedRefused {
    #[error("this role may not embed")]
    Forbidden,
    #[error("too many requests")]
    RateLimited(Limited),
    #[error("a quota is used up")]
    QuotaExceeded(QuotaExceeded),
    #[error("the server is full")]
    Overloaded,
    #[error(transparent)]
    Failed(#[from] EmbedError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for EmbedRefused {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// The parts that a call needs; all of them are cheap to clone.
#[derive(Clone)]
pub struct Vectors {
    db: Db,
    tasks: Tasks,
    spaces: Spaces,
    limiter: RateLimiter,
    plans: Plans,
    places: Arc<Semaphore>,
}

impl Vectors {
    /// With the models that the documents have, too.
    #[must_use]
    pub fn new(db: Db, tasks: Tasks, spaces: Spaces, limiter: RateLimiter, plans: Plans) -> Self {
        Self { db, tasks, spaces, limiter, plans, places: Arc::new(Semaphore::new(MOST)) }
    }

    /// The model of a tenant's documents, and so of its calls.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn space(&self, tenant: TenantId) -> Result<Space, DbError> {
        let tx = self.db.tenant(tenant).await?;
        Ok(self.spaces.of(&tx, tenant).await?)
    }

    /// Vectors in `space` for `texts`, which are `tokens` by our count.
    ///
    /// # Errors
    /// When it is refused or the embedder fails: nothing is billed then.
    pub async fn embed(
        &self,
        ctx: Ctx,
        space: Space,
        texts: Vec<String>,
        tokens: u32,
    ) -> Result<Vectorised, EmbedRefused> {
        if !ctx.chats() {
            return Err(EmbedRefused::Forbidden);
        }
        let limits = self.plans.limits_of(ctx.tenant).await?;
        let charge = self.limiter.admit(ctx, limits, tokens).await;
        let charge = charge.map_err(EmbedRefused::RateLimited)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_full| EmbedRefused::Overloaded)?;
        let this = self.clone();
        // Whoever asked may leave: what was embedded is billed all the same.
        let work = self.tasks.on_main(async move {
            let done = this.embed_and_bill(ctx, space, texts, tokens).await;
            if let Ok(done) = &done {
                charge.settle(done.tokens).await;
            }
            drop(place);
            done
        });
        work.await
            .unwrap_or_else(|stop| Err(EmbedError::Internal { detail: stop.to_string() }.into()))
    }

    async fn embed_and_bill(
        &self,
        ctx: Ctx,
        space: Space,
        texts: Vec<String>,
        tokens: u32,
    ) -> Result<Vectorised, EmbedRefused> {
        // Whether it could be paid for; rolled back.
        let mut tx = self.db.tenant(ctx.tenant).await?;
        self.bill(&mut tx, ctx, &space, (u64::from(tokens), false)).await?;
        drop(tx);
        let Embedded { vectors, tokens, exact } = space.embed(texts).await?;
        let mut tx = self.db.tenant(ctx.tenant).await?;
        self.bill(&mut tx, ctx, &space, (tokens, exact)).await?;
        tx.commit().await?;
        Ok(Vectorised { vectors, tokens })
    }

    async fn bill(
        &self,
        tx: &mut Conn,
        ctx: Ctx,
        space: &Space,
        (tokens, exact): (u64, bool),
    ) -> Result<(), EmbedRefused> {
        let quantity = i64::try_from(tokens).unwrap_or(i64::MAX);
        let provenance = if exact { Provenance::Exact } else { Provenance::Estimated };
        let embedding = Price::of(tx, ctx.tenant, space.billed_as()).await?;
        let items = vec![Item { meter: Meter::EmbeddingTokens, quantity, provenance }];
        let bill = Bill {
            tenant: ctx.tenant,
            user: ctx.user,
            assistant: None,
            source: Source::Request(Uuid::now_v7()),
            embedding_model: Some(space.billed_as().to_owned()),
            prices: Prices { embedding, ..Prices::default() },
            first_step: 0,
            steps: vec![StepBill { model: None, items }],
        };
        metering::bill_now(tx, &bill).await?.map_err(EmbedRefused::QuotaExceeded)
    }
}
