//! Making tenants and users: the command line's, and `dev`'s demo.

use super::email::Email;
use super::error::AccountError;
use crate::store::Db;
use crate::store::assistant_drafts::create_published;
use crate::store::plans::Plan;
use crate::store::tenants::{self, Tenant};
use crate::store::users::User;
use crate::types::{Persona, Role, TenantId, UserId};

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    pub slug: String,
    pub name: String,
    pub plan: String,
    pub allow_signup: bool,
    /// `Europe/Vienna`, for instance; its days and months are those of the bill.
    pub time_zone: String,
}

/// Makes a tenant with a default assistant.
///
/// # Errors
/// `Invalid` when the slug is taken or no slug, or there is no such plan or time zone.
pub async fn create_tenant(db: &Db, new: NewTenant) -> Result<Tenant, AccountError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if new.slug.is_empty()
        || new.slug.len() > 63
        || !new.slug.chars().all(fits)
        || new.slug.starts_with('-')
    {
        let why = "is no slug: use a-z, 0-9 and -, at most 63, beginning with a letter or digit";
        return Err(AccountError::Invalid(format!("'{}' {why}", new.slug)));
    }
    let mut tx = db.system().await?;
    if !Plan::exists(&mut tx, &new.plan).await? {
        return Err(AccountError::Invalid(format!("there is no plan '{}'", new.plan)));
    }
    if !tenants::is_time_zone(&mut tx, &new.time_zone).await? {
        return Err(AccountError::Invalid(format!("there is no time zone '{}'", new.time_zone)));
    }
    let tenant = Tenant {
        id: TenantId::new(),
        slug: new.slug,
        name: new.name,
        plan: new.plan,
        allow_signup: new.allow_signup,
        time_zone: new.time_zone,
    };
    if !tenant.insert(&mut tx).await? {
        let taken = format!("there is a tenant '{}' already", tenant.slug);
        return Err(AccountError::Invalid(taken));
    }
    create_published(&mut tx, tenant.id, "default", &default_assistant()).await?;
    tx.commit().await?;
    Ok(tenant)
}

fn default_assistant() -> Persona {
    Persona {
        name: "Assistant".into(),
        description: "Answers from your documents and says where the answer stands.".into(),
        greeting: "Ask me about your documents.".into(),
        instructions: "You are a helpful assistant that answers questions about documents. \
                       Be accurate and brief."
            .into(),
        ..Persona::default()
    }
}

/// Adds a person to a tenant.
///
/// # Errors
/// `Invalid` when the address is there already.
pub async fn add_user(
    db: &Db,
    tenant: &Tenant,
    email: &str,
    name: &str,
    role: Role,
) -> Result<User, AccountError> {
    let email = Email::parse(email)?;
    let mut tx = db.tenant(tenant.id).await?;
    let user = User {
        tenant_id: tenant.id,
        id: UserId::new(),
        email: email.as_str().into(),
        name: name.into(),
        role: role.as_str().into(),
    };
    if !user.insert(&mut tx).await? {
        return Err(AccountError::Invalid("there is a user with this address already".into()));
    }
    tx.commit().await?;
    Ok(user)
}
