//! Signatures of thoughts and calls, marked with whose they are.
//!
//! A provider wants its own back unchanged and refuses a prompt that holds another's. A conversation
//! may change providers between two turns, so that each takes back only what it marked.

/// `signature` with the mark of `owner`.
pub(super) fn seal(owner: &str, signature: &str) -> String {
    format!("{owner}:{signature}")
}

/// The signature, if `owner` marked it.
pub(super) fn open<'a>(owner: &str, sealed: Option<&'a str>) -> Option<&'a str> {
    sealed?.strip_prefix(owner)?.strip_prefix(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_gets_it_back() {
        let sealed = seal("gemini", "a:b==");
        assert_eq!(open("gemini", Some(&sealed)), Some("a:b=="));
        assert_eq!(open("anthropic", Some(&sealed)), None);
        assert_eq!(open("gemini", Some("unmarked")), None);
        assert_eq!(open("gemini", None), None);
    }
}
