//! How many requests for vectors are under way at once in this process, whatever model they ask.

use crate::embedding::EmbedError;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests of many texts.
const BULK: usize = 8;
/// Requests of one text: somebody waits for the answer to a question.
const SINGLE: usize = 64;

/// Documents and questions wait in lines of their own, so that no question stands behind a document. Who
/// waits was let in by somebody with a bound: a turn, a job, a call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    bulk: Arc<Semaphore>,
    single: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let line = |places| Arc::new(Semaphore::new(places));
        Self { bulk: line(BULK), single: line(SINGLE) }
    }
}

impl Places {
    /// A place for a request of so many texts.
    pub(super) async fn take(&self, texts: usize) -> Result<SemaphorePermit<'_>, EmbedError> {
        let line = if texts > 1 { &self.bulk } else { &self.single };
        let place = line.acquire().await;
        place.map_err(|closed| EmbedError::Internal { detail: closed.to_string() })
    }
}
