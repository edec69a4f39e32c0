//! Which scope of an API key a route needs. What is not listed needs `admin`, so that a new route is
//! closed to keys that were made before it.

use super::problem::{Code, Problem};
use crate::types::{Ctx, Scope};
use actix_web::http::Method;

/// Routes by how their pattern begins; the first that fits.
const BEGINNINGS: &[(&str, Scope)] = &[
    ("/v1/chat/", Scope::Chat),
    ("/chat/", Scope::Chat),
    ("/api/chat", Scope::Chat),
    ("/v1/turns/", Scope::Chat),
    ("/v1/conversations", Scope::Chat),
    ("/v1/ws-tickets", Scope::Chat),
    ("/v1/models", Scope::Chat),
    ("/v1/embeddings", Scope::Chat),
    ("/v1/files", Scope::Files),
    ("/v1/usage", Scope::Usage),
    ("/v1/quota", Scope::Usage),
    ("/v1/billing/", Scope::Billing),
];

/// What a key needs for a route; `None`: any key may.
fn needed(method: &Method, pattern: &str) -> Option<Scope> {
    match (method.as_str(), pattern) {
        // Who it is, and another secret for itself: no key gets more by them.
        ("GET", "/v1/me") | ("POST", "/v1/api-keys/{id}/rotate") => None,
        ("GET", "/v1/assistants") => Some(Scope::Chat),
        ("GET", "/v1/turns/{id}/receipt") => Some(Scope::Usage),
        ("GET", "/v1/turns/{id}/attempts") => Some(Scope::Admin),
        _ => {
            let listed = BEGINNINGS.iter().find(|(beginning, _)| pattern.starts_with(beginning));
            Some(listed.map_or(Scope::Admin, |(_, scope)| *scope))
        }
    }
}

/// Whether the caller's key may be used for this route. People may use all; what they may do there is
/// their role's matter.
pub(super) fn check(ctx: Ctx, method: &Method, pattern: &str) -> Result<(), Problem> {
    match needed(method, pattern) {
        Some(scope) => must_have(ctx, scope),
        None => Ok(()),
    }
}

/// Whether the caller's key, if it is one, has this scope.
pub(super) fn must_have(ctx: Ctx, scope: Scope) -> Result<(), Problem> {
    if ctx.within_scope(scope) {
        return Ok(());
    }
    let word = scope.as_str();
    let mut problem =
        Problem::new(Code::ScopeMissing, format!("This needs a key with the scope `{word}`."));
    problem.more.insert("scope".into(), word.into());
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_thought_of_needs_admin() {
        let at = |method: &str, pattern| needed(&method.parse().unwrap(), pattern);
        assert_eq!(at("GET", "/v1/anything-new"), Some(Scope::Admin));
        assert_eq!(at("POST", "/v1/assistants"), Some(Scope::Admin));
        assert_eq!(at("GET", "/v1/assistants"), Some(Scope::Chat));
        assert_eq!(at("GET", "/v1/turns/{id}/receipt"), Some(Scope::Usage));
        assert_eq!(at("DELETE", "/v1/files/{id}"), Some(Scope::Files));
        assert_eq!(at("GET", "/v1/me"), None);
    }
}
