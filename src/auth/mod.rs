//! Proofs of identity: signed access tokens, opaque one-use tokens, codes. What they are for
//! (log-in, sessions, tickets) is `accounts`' business.

mod code;
mod jwt;
mod keys;
mod opaque;

pub use code::LoginCode;
pub use jwt::{AccessTokens, Claims, JwtError};
pub use keys::Keys;
pub use opaque::{OpaqueError, OpaqueToken};
