//! Markdown stays Markdown: its headings and lists help the chunker and the model as they are.
//!
//! Only the front matter goes: it is data for a site generator, not something to cite.

/// A Markdown file without its front matter.
pub(super) struct Markdown<'a> {
    /// `title:` of the front matter, else the first first-level heading.
    pub(super) title: Option<String>,
    /// The text after the front matter.
    pub(super) text: &'a str,
}

/// Splits a Markdown file into its title and its text.
pub(super) fn read(source: &str) -> Markdown<'_> {
    let (front, text) = front_matter(source).unwrap_or(("", source));
    let declared = front.lines().find_map(|line| {
        let (key, value) = line.split_once([':', '='])?;
        let value = value.trim().trim_matches(['"', '\'']);
        (key.trim() == "title" && !value.is_empty()).then(|| value.to_owned())
    });
    let heading = || {
        let line = text.lines().find_map(|line| line.strip_prefix("# "))?;
        Some(line.trim_end_matches(['#', ' ']).to_owned())
    };
    Markdown { title: declared.or_else(heading), text }
}

/// The lines between two fences at the very top (`---` for YAML, `+++` for TOML), and the rest.
fn front_matter(source: &str) -> Option<(&str, &str)> {
    let (first, rest) = source.split_once('\n')?;
    let fence = first.trim_end();
    if fence != "---" && fence != "+++" {
        return None;
    }
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == fence {
            return Some((rest.get(..length)?, rest.get(length + line.len()..)?));
        }
        length += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_gives_the_title_and_goes() {
        let document = read("---\ntitle: \"Fees\"\ntags: [a]\n---\n# Other\ntext");
        assert_eq!(document.title.as_deref(), Some("Fees"));
        assert_eq!(document.text, "# Other\ntext");
    }

    #[test]
    fn a_rule_at_the_top_is_not_front_matter() {
        let document = read("---\n\nSome text\n# Fees #\n");
        assert_eq!(document.title.as_deref(), Some("Fees"));
        assert!(document.text.starts_with("---"));
    }
}
