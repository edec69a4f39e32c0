//! A passage as the prompt numbers it and a citation shows it.

use crate::types::{ChunkId, DocumentId};

/// A chunk chosen for a prompt.
#[derive(Clone, Debug)]
pub struct Passage {
    pub chunk: ChunkId,
    pub document: DocumentId,
    pub file_name: String,
    pub media_type: String,
    /// Pages are counted from 1; both are the same unless the passage crosses a page break.
    pub page: i32,
    pub page_end: i32,
    pub tokens: i32,
    pub text: String,
    /// The part of the text that fits the question best.
    pub snippet: String,
    /// 0 to 1; 1 is first in every search.
    pub score: f32,
}
