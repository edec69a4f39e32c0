//! The version in a model's name: providers change what a request may hold from one to the next.

/// Major and minor: 4 and 6 of `claude-opus-4-6`, 2 and 5 of `gemini-2.5-flash`. `None` for a name
/// without numbers, which stands for whatever is newest. Dates are no versions.
pub(super) fn version(model: &str) -> Option<(u32, u32)> {
    let mut words = model.split(|c: char| !c.is_ascii_alphanumeric());
    let major = words.by_ref().find_map(small)?;
    Some((major, words.next().and_then(small).unwrap_or(0)))
}

fn small(word: &str) -> Option<u32> {
    (word.len() <= 2).then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_wherever_it_stands() {
        for (model, expected) in [
            ("claude-opus-4-6", Some((4, 6))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("anthropic/claude-opus-4.8", Some((4, 8))),
            ("claude-opus-5", Some((5, 0))),
            ("gemini-2.5-flash-preview-05-20", Some((2, 5))),
            ("gemini-3-pro-preview", Some((3, 0))),
            ("gemini-flash-latest", None),
        ] {
            assert_eq!(version(model), expected, "{model}");
        }
    }
}
