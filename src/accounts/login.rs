//! Log-in by a code sent to an e-mail address.
//!
//! Asking for a code takes the same path and the same time whether the address is known or not: the
//! code is stored either way, and the mail leaves in the background.

use super::directory::Directory;
use super::email::Email;
use super::error::AccountError;
use super::session::{Session, Sessions};
use crate::auth::{Keys, LoginCode};
use crate::limiter::Attempts;
use crate::mail::Mailer;
use crate::runtime::Tasks;
use crate::store::tenants::Tenant;
use crate::store::users::User;
use crate::store::{Conn, Db, login_codes};
use crate::types::{TenantId, UserId};
use std::sync::Arc;
use std::time::Duration;

/// A code is valid this long, in seconds.
pub(super) const CODE_TTL_SECONDS: i32 = 600;

/// What the asker is told.
pub struct SentCode {
    pub expires_in: i32,
    /// Only in `docent dev`: the code itself.
    pub dev_code: Option<String>,
}

/// What log-in is made of.
#[derive(Clone)]
pub struct LoginParts {
    pub db: Db,
    pub keys: Keys,
    pub directory: Directory,
    pub sessions: Sessions,
    pub mailer: Mailer,
    pub tasks: Tasks,
    pub codes_per_quarter_hour: u32,
    /// For `docent dev` alone: the answer to a request holds the code.
    pub reveal_codes: bool,
}

/// Log-in. Cheap to clone.
#[derive(Clone)]
pub struct Login {
    parts: LoginParts,
    attempts: Arc<Attempts>,
}

impl Login {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: LoginParts) -> Self {
        let quarter_hour = Duration::from_secs(900);
        let attempts = Arc::new(Attempts::new(parts.codes_per_quarter_hour, quarter_hour));
        Self { parts, attempts }
    }

    /// Sends a code to an address of a tenant (slug or id).
    ///
    /// # Errors
    /// For a text that is no address, an unknown tenant, too many codes.
    pub async fn request_code(&self, tenant: &str, email: &str) -> Result<SentCode, AccountError> {
        let email = Email::parse(email)?;
        let tenant = self.parts.directory.find(tenant).await?;
        let key = format!("{} {}", tenant.id, email.as_str());
        self.attempts.take(&key).map_err(AccountError::TooMany)?;
        let code = LoginCode::generate();
        let hash = code.hash(&self.parts.keys, tenant.id, email.as_str());
        let mut tx = self.parts.db.tenant(tenant.id).await?;
        login_codes::replace(&mut tx, tenant.id, email.as_str(), &hash, CODE_TTL_SECONDS).await?;
        let known = User::find_by_email(&mut tx, tenant.id, email.as_str()).await?.is_some();
        tx.commit().await?;
        let dev_code = self.parts.reveal_codes.then(|| code.digits().to_owned());
        if known || tenant.allow_signup {
            self.send(email, tenant.name, code);
        }
        Ok(SentCode { expires_in: CODE_TTL_SECONDS, dev_code })
    }

    fn send(&self, email: Email, tenant: String, code: LoginCode) {
        let mailer = self.parts.mailer.clone();
        self.parts.tasks.spawn("login-mail", async move {
            if let Err(error) = mailer.send_code(email.as_str(), &tenant, code.digits()).await {
                tracing::error!(%error, "A login code could not be sent");
            }
        });
    }

    /// Trades a code for a session; an unknown person of a tenant that allows sign-up is created.
    ///
    /// # Errors
    /// `WrongCode`, whatever is wrong.
    pub async fn verify_code(
        &self,
        tenant: &str,
        email: &str,
        code: &str,
    ) -> Result<Session, AccountError> {
        let email = Email::parse(email)?;
        let code = LoginCode::typed(code).ok_or(AccountError::WrongCode)?;
        let tenant = self.parts.directory.find(tenant).await?;
        let mut tx = self.parts.db.tenant(tenant.id).await?;
        let stored = login_codes::count_guess(&mut tx, tenant.id, email.as_str()).await?;
        let right = stored.is_some_and(|stored| {
            code.matches(&self.parts.keys, tenant.id, email.as_str(), &stored)
        });
        if !right {
            tx.commit().await?; // the guess counts
            return Err(AccountError::WrongCode);
        }
        login_codes::consume(&mut tx, tenant.id, email.as_str()).await?;
        let user = find_or_create(&mut tx, &tenant, &email).await?;
        let session = match user {
            Some(user) => Ok(self.parts.sessions.begin(&mut tx, &tenant, &user).await?),
            None => Err(AccountError::WrongCode),
        };
        tx.commit().await?;
        session
    }

    /// Forgets old attempts.
    pub fn sweep(&self) {
        self.attempts.sweep();
    }
}

async fn find_or_create(
    tx: &mut Conn,
    tenant: &Tenant,
    email: &Email,
) -> Result<Option<User>, AccountError> {
    let found = User::find_by_email(tx, tenant.id, email.as_str()).await?;
    if found.is_some() || !tenant.allow_signup {
        return Ok(found);
    }
    let user = new_member(tenant.id, email);
    user.insert(tx).await?;
    Ok(User::find_by_email(tx, tenant.id, email.as_str()).await?)
}

fn new_member(tenant: TenantId, email: &Email) -> User {
    let name = email.as_str().split('@').next().unwrap_or_default().to_owned();
    User {
        tenant_id: tenant,
        id: UserId::new(),
        email: email.as_str().into(),
        name,
        role: "member".into(),
    }
}
