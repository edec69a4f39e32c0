//! An e-mail address, checked once.

use super::error::AccountError;

/// Lower case, one `@` with something on both sides, no spaces, at most 254 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Checks an address. Whether it receives mail, only a mail can tell.
    ///
    /// # Errors
    /// When it cannot be one.
    pub fn parse(raw: &str) -> Result<Self, AccountError> {
        let email = raw.trim().to_lowercase();
        let fits = email.len() <= 254
            && !email.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',')
            && email.split_once('@').is_some_and(|(name, host)| {
                !name.is_empty() && !host.is_empty() && !host.contains('@')
            });
        let shown = || raw.chars().take(80).collect();
        if fits { Ok(Self(email)) } else { Err(AccountError::NotAnEmail(shown())) }
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
