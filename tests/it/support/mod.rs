//! Helpers that read like a user: `world.user("anna@acme.test").await.ask("…").await`.

mod balancer;
pub mod books;
mod browser;
mod database;
mod gate;
mod node;
mod openai;
mod patience;
mod provider;
pub mod provider_vectors;
mod provider_wire;
mod raw_socket;
mod redis;
mod relay;
mod schema;
mod socket;
mod sse;
mod user;
mod world;

pub use balancer::Balancer;
pub use browser::Browser;
pub use database::Database;
pub use gate::Gate;
pub use node::Node;
pub use openai::Client;
pub use patience::within;
pub use provider::{Call, Provider, Script, Step};
pub use raw_socket::{RawFrame, RawSocket, frame, head};
pub use redis::Redis;
pub use relay::Relay;
pub use socket::Socket;
pub use sse::{Answer, Event, Stream, joined, joined_parts};
pub use user::User;
pub use world::{World, WorldOptions};
