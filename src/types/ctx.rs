//! Who is asking: the tenant and the user every piece of work is done for.

use super::{ApiKeyId, Scope, Scopes, TenantId, UserId};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::str::FromStr;
use utoipa::ToSchema;

/// The verified principal of a request. Comes only from a token, a key, a ticket or the command line.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    pub tenant: TenantId,
    pub user: UserId,
    pub role: Role,
    /// The key that they act through; `None` is the person, who may do all that the role may.
    pub key: Option<KeyCtx>,
}

/// The API key that somebody acts through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCtx {
    pub id: ApiKeyId,
    pub scopes: Scopes,
    /// Limits of the key's own, below those of the user.
    pub requests_per_minute: Option<NonZeroU32>,
    pub tokens_per_minute: Option<NonZeroU32>,
}

impl Ctx {
    /// A person.
    #[must_use]
    pub fn new(tenant: TenantId, user: UserId, role: Role) -> Self {
        Self { tenant, user, role, key: None }
    }

    /// What they may do it for, whatever they act through.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        let role = Scopes::of_role(self.role);
        self.key.map_or(role, |key| key.scopes.within(role))
    }

    /// False only of a key: a person's role is asked elsewhere.
    #[must_use]
    pub fn within_scope(&self, scope: Scope) -> bool {
        self.key.is_none_or(|key| key.scopes.has(scope))
    }

    /// May see what the whole tenant used.
    #[must_use]
    pub fn sees_tenant_usage(&self) -> bool {
        self.role.sees_tenant_usage() && self.within_scope(Scope::Billing)
    }

    /// May delete what others uploaded.
    #[must_use]
    pub fn manages_documents(&self) -> bool {
        self.role.manages_documents() && self.within_scope(Scope::Admin)
    }

    /// May write, try and publish assistants.
    #[must_use]
    pub fn manages_assistants(&self) -> bool {
        self.role.manages_assistants() && self.within_scope(Scope::Admin)
    }

    /// May define what tools do, and with which secrets.
    #[must_use]
    pub fn manages_tools(&self) -> bool {
        self.manages_assistants()
    }

    /// May define what is kept out of questions and answers.
    #[must_use]
    pub fn manages_filters(&self) -> bool {
        self.manages_assistants()
    }

    /// May see and revoke the keys of others.
    #[must_use]
    pub fn manages_keys(&self) -> bool {
        matches!(self.role, Role::Owner | Role::Admin) && self.within_scope(Scope::Admin)
    }

    /// May see which models the tenant's questions were put to, and how they failed.
    #[must_use]
    pub fn sees_attempts(&self) -> bool {
        self.manages_keys()
    }

    /// May ask questions and upload.
    #[must_use]
    pub fn chats(&self) -> bool {
        self.role.chats()
    }
}

/// What a user may do within the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, including other owners.
    Owner,
    /// Everything but owners.
    Admin,
    /// Chats and uploads; sees their own conversations and usage.
    Member,
    /// Reads usage and quotas of the tenant; does not chat.
    Billing,
}

impl Role {
    /// The word in the database and in tokens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Billing => "billing",
        }
    }

    fn sees_tenant_usage(self) -> bool {
        !matches!(self, Self::Member)
    }

    fn manages_documents(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    fn manages_assistants(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    fn chats(self) -> bool {
        !matches!(self, Self::Billing)
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "owner" => Ok(Self::Owner),
            "admin" => Ok(Self::Admin),
            "member" => Ok(Self::Member),
            "billing" => Ok(Self::Billing),
            other => Err(format!("'{other}' is not a role: use owner, admin, member or billing")),
        }
    }
}
