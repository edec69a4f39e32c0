//! An embedding model under the number that its vectors have in the database.

use super::Embedder;
use std::ops::Deref;
use std::sync::Arc;

/// A vector space. Cheap to clone.
#[derive(Clone)]
pub struct Space {
    /// Its row in `embedding_models`.
    pub id: i32,
    embedder: Arc<dyn Embedder>,
}

impl Space {
    /// The space of an embedder.
    #[must_use]
    pub fn new(id: i32, embedder: Arc<dyn Embedder>) -> Self {
        Self { id, embedder }
    }

    /// For vectors that are not kept: so many numbers each. `None`: its model cannot do that.
    #[must_use]
    pub fn of_length(self, dimensions: usize) -> Option<Self> {
        if dimensions == self.dimensions() {
            return Some(self);
        }
        let embedder = self.embedder.shortened(dimensions)?;
        Some(Self { embedder, ..self })
    }
}

impl Deref for Space {
    type Target = dyn Embedder;

    fn deref(&self) -> &Self::Target {
        &*self.embedder
    }
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("id", &self.id).field("name", &self.name()).finish()
    }
}
