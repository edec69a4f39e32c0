//! Proofs of identity: signed access tokens, opaque tokens, codes, API keys. What they are for
//! (log-in, sessions, tickets) is `accounts`' business.

mod api_key;
mod code;
mod jwt;
mod keys;
mod opaque;

pub use api_key::ApiKeyToken;
pub use code::LoginCode;
pub use jwt::{AccessTokens, Claims, JwtError};
pub use keys::Keys;
pub use opaque::{OpaqueError, OpaqueToken};
