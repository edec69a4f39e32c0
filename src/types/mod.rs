//! The words every floor speaks: ids, who is asking, what is metered, what is asked.

mod chat_name;
mod ctx;
mod id;
mod idempotency;
mod meter;
mod persona;
mod question;
mod scope;
mod secret;

pub use chat_name::{ChatName, ChatNameError};
pub use ctx::{Ctx, KeyCtx, Role};
pub use id::{
    ApiKeyId, ApprovalId, AssistantId, ChunkId, ConversationId, DocumentId, FilterId, JobId,
    MessageId, NodeId, TenantId, ToolId, TurnId, UserId,
};
pub use idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use meter::{Meter, Provenance};
pub use persona::{BadField, Persona, collection_name, slug};
pub use question::{Question, QuestionError};
pub use scope::{Scope, Scopes};
pub use secret::Secret;
