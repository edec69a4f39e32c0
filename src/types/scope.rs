//! What an API key may be used for. A scope narrows what a role may do; it never adds to it.

use super::Role;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// One thing that a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Asking, conversations, answers; the OpenAI API.
    Chat,
    /// Documents: uploading, reading, deleting one's own.
    Files,
    /// One's own usage and quotas.
    Usage,
    /// The whole tenant's usage, its ledger and months.
    Billing,
    /// What else an owner or admin may do: others' documents, keys.
    Admin,
}

impl Scope {
    /// Every scope, in the order they are shown.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Files, Self::Usage, Self::Billing, Self::Admin];

    /// The word in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Files => "files",
            Self::Usage => "usage",
            Self::Billing => "billing",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("'{text}' is not a scope"))
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What a key of somebody with this role may have.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        use Scope::{Billing, Chat, Files, Usage};
        match role {
            Role::Owner | Role::Admin => Scope::ALL.into_iter().collect(),
            Role::Member => [Chat, Files, Usage].into_iter().collect(),
            Role::Billing => [Usage, Billing].into_iter().collect(),
        }
    }

    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Those that `other` has, too.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// In the order they are shown.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        let set: Scopes = [Scope::Admin, Scope::Chat, Scope::Chat].into_iter().collect();
        assert_eq!(set.iter().map(Scope::as_str).collect::<Vec<_>>(), ["chat", "admin"]);
        let member = Scopes::of_role(Role::Member);
        assert_eq!(set.within(member).iter().collect::<Vec<_>>(), [Scope::Chat]);
        assert!(Scope::ALL.iter().all(|scope| scope.as_str().parse() == Ok(*scope)));
    }
}
