//! The API that `useChat` of Vercel's AI SDK speaks by itself: chats by the client's names for them, answers as UI
//! Message Streams. What it takes and sends is in docs/ai-sdk.md.

pub(super) mod chat;
mod request;
mod shape;
mod ui_stream;
mod wanted;
