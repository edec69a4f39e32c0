//! Who is asking: the tenant and the user every piece of work is done for.

use super::{TenantId, UserId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// The verified principal of a request. Comes only from a token, a ticket or the command line.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    pub tenant: TenantId,
    pub user: UserId,
    pub role: Role,
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

    /// May see what the whole tenant used.
    #[must_use]
    pub fn sees_tenant_usage(self) -> bool {
        !matches!(self, Self::Member)
    }

    /// May delete what others uploaded.
    #[must_use]
    pub fn manages_documents(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// May write, try and publish assistants.
    #[must_use]
    pub fn manages_assistants(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }

    /// May ask questions and upload.
    #[must_use]
    pub fn chats(self) -> bool {
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
