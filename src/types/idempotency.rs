//! A client's name for a request, so that a repeat is known as one.

use thiserror::Error;

/// 1 to 200 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text cannot be a key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("an idempotency key has 1 to 200 printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Reads a key, bare or quoted as a structured field.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn parse(raw: &str) -> Result<Self, IdempotencyKeyError> {
        let key = raw.trim();
        let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let fits =
            (1..=200).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b));
        if fits { Ok(Self(key.to_owned())) } else { Err(IdempotencyKeyError) }
    }

    /// The key without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_quoted_are_the_same() {
        let key = IdempotencyKey::parse("a-1").unwrap();
        assert_eq!(IdempotencyKey::parse(" \"a-1\" ").unwrap(), key);
        for bad in ["", "\"\"", "a\0", "a\tb", "ü", &"x".repeat(201)] {
            assert_eq!(IdempotencyKey::parse(bad), Err(IdempotencyKeyError), "{bad}");
        }
    }
}
