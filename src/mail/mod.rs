//! Mail out: SMTP where it is configured, otherwise the log of a developer's machine.

mod mailer;

pub use mailer::{MailError, Mailer};
