//! What a client calls a conversation.

use thiserror::Error;

/// 1 to 200 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatName(String);

/// The text cannot be a name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the id of a chat has 1 to 200 printable ASCII characters")]
pub struct ChatNameError;

impl ChatName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn parse(raw: &str) -> Result<Self, ChatNameError> {
        let fits =
            (1..=200).contains(&raw.len()) && raw.bytes().all(|b| (b' '..=b'~').contains(&b));
        if fits { Ok(Self(raw.to_owned())) } else { Err(ChatNameError) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_printable() {
        assert_eq!(ChatName::parse("yNw 3~").unwrap().as_str(), "yNw 3~");
        for bad in ["", "a\0", "a\nb", "ü", &"x".repeat(201)] {
            assert_eq!(ChatName::parse(bad), Err(ChatNameError), "{bad}");
        }
    }
}
