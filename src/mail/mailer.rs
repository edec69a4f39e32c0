//! Sends login codes. The dev mailer logs them, which no other part of the program may do.

use crate::config::MailSettings;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use thiserror::Error;

/// Why a mail could not be sent. Holds no address.
#[derive(Debug, Error)]
pub enum MailError {
    #[error("MAIL_FROM or the recipient is not a mail address: {0}")]
    Address(#[from] lettre::address::AddressError),
    #[error("the mail could not be built: {0}")]
    Message(#[from] lettre::error::Error),
    #[error("the mail server refused: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
}

/// How mail leaves.
#[derive(Clone)]
pub enum Mailer {
    /// An SMTP server.
    Smtp { transport: AsyncSmtpTransport<Tokio1Executor>, from: Box<Mailbox> },
    /// The log, for development.
    Log,
}

impl Mailer {
    /// Reads the settings.
    ///
    /// # Errors
    /// When the URL or the sender cannot be understood.
    pub fn new(settings: &MailSettings) -> Result<Self, MailError> {
        let Some(url) = &settings.smtp_url else { return Ok(Self::Log) };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())?
            .timeout(Some(std::time::Duration::from_secs(10)))
            .build();
        Ok(Self::Smtp { transport, from: Box::new(settings.from.parse()?) })
    }

    /// Sends a login code.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn send_code(&self, to: &str, tenant: &str, code: &str) -> Result<(), MailError> {
        match self {
            Self::Smtp { transport, from } => {
                let message = Message::builder()
                    .from(from.as_ref().clone())
                    .to(to.parse()?)
                    .subject(format!("{code} is your code for {tenant}"))
                    .body(format!(
                        "Your login code for {tenant} is {code}.\n\nIt is valid for ten minutes \
                         and once. If you did not ask for it, ignore this mail.\n"
                    ))?;
                transport.send(message).await?;
                Ok(())
            }
            Self::Log => {
                tracing::info!(
                    mail.code = code,
                    "No SMTP_URL is set: a login code for a developer"
                );
                Ok(())
            }
        }
    }
}
