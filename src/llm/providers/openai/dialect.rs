//! How servers differ that speak the same protocol, known by their host.

use sha2::{Digest as _, Sha256};

/// Who is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Refuses `max_tokens` for its newer models, and what a reasoning model does not take.
    OpenAi,
    /// The same models behind another door.
    Azure,
    /// Refuses fields that it does not know, and ids that it could not have made.
    Mistral,
    /// Everybody else: older servers ignore `max_completion_tokens` and answer without limit.
    Compatible,
}

impl Dialect {
    pub(super) fn of_host(host: &str) -> Self {
        let within = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if within("api.openai.com") {
            Self::OpenAi
        } else if within("openai.azure.com") || within("cognitiveservices.azure.com") {
            Self::Azure
        } else if within("api.mistral.ai") {
            Self::Mistral
        } else {
            Self::Compatible
        }
    }

    /// The header for the key, and what stands before it.
    pub(super) fn credentials(self) -> (&'static str, &'static str) {
        match self {
            Self::Azure => ("api-key", ""),
            Self::OpenAi | Self::Mistral | Self::Compatible => ("authorization", "Bearer "),
        }
    }

    /// Whether the models are OpenAI's own.
    pub(super) fn is_openai(self) -> bool {
        matches!(self, Self::OpenAi | Self::Azure)
    }

    /// A call's id as the server takes it: a conversation may have begun with another provider.
    pub(super) fn id(self, id: &str) -> String {
        match self {
            Self::Mistral if id.len() != 9 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                // Nine characters: the same for a call and its result, and hardly twice in a prompt.
                let hex = Sha256::digest(id).iter().map(|byte| format!("{byte:02x}")).collect();
                let mut hex: String = hex;
                hex.truncate(9);
                hex
            }
            _ => id.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dialect_follows_the_host() {
        for (host, expected) in [
            ("api.openai.com", Dialect::OpenAi),
            ("eu.api.openai.com", Dialect::OpenAi),
            ("api.openai.com.example.org", Dialect::Compatible),
            ("myapi.openai.com", Dialect::Compatible),
            ("acme.openai.azure.com", Dialect::Azure),
            ("api.mistral.ai", Dialect::Mistral),
            ("api.groq.com", Dialect::Compatible),
            ("127.0.0.1", Dialect::Compatible),
        ] {
            assert_eq!(Dialect::of_host(host), expected, "{host}");
        }
    }

    #[test]
    fn mistral_gets_ids_that_it_takes() {
        assert_eq!(Dialect::Mistral.id("abcDEF123"), "abcDEF123");
        let id = Dialect::Mistral.id("call_1234");
        assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_eq!(id, Dialect::Mistral.id("call_1234"));
        assert_ne!(id, Dialect::Mistral.id("call_1235"));
        assert_eq!(Dialect::OpenAi.id("call_1234"), "call_1234");
    }
}
