//! Turns: a question, its streamed answer, its bill.
//!
//! One log per turn; every client is a cursor into it, whatever its transport. A turn belongs to its
//! session actor, never to a socket: a client that leaves changes nothing, stop is a command. Every
//! path ends in exactly one terminal part and one settled reservation. Wire formats are `api`'s.

mod accepted;
mod admission;
mod answer;
mod asked;
mod commands;
mod cursor;
mod estimate;
mod feed;
mod follow;
mod history;
mod journal;
mod live;
mod log;
mod merge;
mod mirror;
mod moderate;
mod open;
mod opened;
mod part;
mod prompt;
mod recovery;
mod registry;
mod replay;
mod search;
mod service;
mod session;
mod settle;
mod speech;
mod step;
mod summary;
mod tend;
mod tool_step;
mod tried;
mod turn;
mod unsettled;

pub use accepted::{Accepted, Refused};
pub use asked::{Asked, AskedError, Given, What, Wishes};
pub use cursor::{Batch, Cursor};
pub use estimate::{Estimate, Verdict};
pub use feed::{ConversationEvent, Feed, Subscription};
pub use log::TurnLog;
pub use merge::Span;
pub use part::{ApprovalData, CitationData, ErrorData, FinishData, NoticeData, Part, UsageData};
pub use service::{Chat, ChatParts, Stopped};
pub use tried::{Tried, tried};
