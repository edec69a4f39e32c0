//! How Redis fails. Callers go on without it.

use bb8_redis::bb8::RunError;
use bb8_redis::redis::RedisError;
use thiserror::Error;

/// Redis did not do it.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("REDIS_URL cannot be used: {0}")]
    Url(String),
    #[error("Redis is away")]
    Away,
    #[error("Redis did not answer in time")]
    Timeout,
    #[error("Redis failed: {0}")]
    Redis(#[from] RedisError),
}

impl From<RunError<RedisError>> for ClusterError {
    fn from(error: RunError<RedisError>) -> Self {
        match error {
            RunError::User(error) => Self::Redis(error),
            RunError::TimedOut => Self::Timeout,
        }
    }
}
