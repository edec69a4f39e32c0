//! A page taken apart into what must not be cut: headings, whole lines and sentences.

use crate::{
    documents::extract::Page,
    text::{sentences, tokens},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A Markdown heading: begins a section.
    Heading,
    /// A list item, a table row, a line of code.
    Line,
    /// A sentence, which may be wrapped over lines.
    Sentence,
}

/// The smallest piece that chunks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    pub(super) kind: Kind,
    pub(super) page: u32,
    /// Without whitespace around it; never empty.
    pub(super) text: &'a str,
    /// What stands between this unit and the next one.
    pub(super) gap: &'static str,
    /// Of the text and the gap; counted once, here.
    pub(super) tokens: u32,
}

/// The units of all pages in order, none above `limit` tokens.
pub(super) fn units(pages: &[Page], limit: u32) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    for page in pages {
        let pieces = pieces(&page.text);
        let starts = pieces.iter().skip(1).map(|(_, from, _)| *from).chain([page.text.len()]);
        for ((kind, from, to), next) in pieces.iter().zip(starts) {
            let text = page.text.get(*from..*to).unwrap_or_default();
            let last = next == page.text.len();
            let gap = if last { "\n" } else { gap(page.text.get(*to..next).unwrap_or_default()) };
            push(&mut units, Unit { kind: *kind, page: page.number, text, gap, tokens: 0 }, limit);
        }
    }
    units
}

/// Adds a unit, in parts if it is longer than a unit may be.
fn push<'a>(units: &mut Vec<Unit<'a>>, mut unit: Unit<'a>, limit: u32) {
    let (text, gap) = (unit.text, unit.gap);
    let mut rest = text;
    loop {
        let part = head(rest, limit);
        rest = rest.get(part.len()..).unwrap_or_default();
        let (part, more) = (part.trim(), rest.trim_start());
        let parted = more.len() < text.len() && !more.is_empty();
        unit.gap = if !parted {
            gap
        } else if more.len() < rest.len() {
            " "
        } else {
            ""
        };
        if parted && unit.kind == Kind::Heading {
            // Too long to head anything.
            unit.kind = Kind::Line;
        }
        if !part.is_empty() {
            let tokens = tokens::count(part) + u32::from(unit.gap.contains('\n'));
            units.push(Unit { text: part, tokens, ..unit });
        }
        rest = more;
        if rest.is_empty() {
            return;
        }
    }
}

/// As much of `text` as fits in `limit` tokens: all of it, or up to the last whitespace, or, of one
/// endless word, up to the limit; never nothing.
fn head(text: &str, limit: u32) -> &str {
    // Enough bytes for `limit` tokens of any prose; of an endless unit no more is looked at.
    let window = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(16);
    let window = text.char_indices().map(|(at, _)| at).find(|at| *at >= window);
    let fits = tokens::truncate(window.and_then(|end| text.get(..end)).unwrap_or(text), limit);
    if fits.len() == text.len() {
        return text;
    }
    let rest = text.get(fits.len()..).unwrap_or_default();
    let cut = if rest.starts_with(char::is_whitespace) {
        fits.len()
    } else {
        fits.rfind(char::is_whitespace).unwrap_or(fits.len())
    };
    // One character of more tokens than the limit is taken all the same.
    let least = text.chars().next().map_or(0, char::len_utf8);
    text.get(..cut.max(least)).unwrap_or(text)
}

/// Kind and byte range of each piece of a page; ranges exclude the whitespace around.
fn pieces(text: &str) -> Vec<(Kind, usize, usize)> {
    let mut pieces = Vec::new();
    let mut paragraph: Option<(usize, usize)> = None;
    let mut fenced = false;
    let mut end = 0;
    for line in text.split_inclusive(['\n', '\r', '\u{c}']) {
        let from = end;
        end += line.len();
        let content = line.trim();
        let fence = content.starts_with("```");
        fenced ^= fence;
        let kind = if fenced || fence { Kind::Line } else { kind_of(content) };
        if kind == Kind::Sentence && !content.is_empty() {
            paragraph = Some((paragraph.map_or(from, |(start, _)| start), end));
            continue;
        }
        flush(text, paragraph.take(), &mut pieces);
        if !content.is_empty() {
            let from = from + (line.len() - line.trim_start().len());
            pieces.push((kind, from, from + content.len()));
        }
    }
    flush(text, paragraph, &mut pieces);
    pieces
}

/// Cuts a paragraph into its sentences.
fn flush(text: &str, range: Option<(usize, usize)>, pieces: &mut Vec<(Kind, usize, usize)>) {
    let Some((start, end)) = range else { return };
    let mut at = start;
    for sentence in sentences(text.get(start..end).unwrap_or_default()) {
        let content = sentence.trim();
        if !content.is_empty() {
            let from = at + (sentence.len() - sentence.trim_start().len());
            pieces.push((Kind::Sentence, from, from + content.len()));
        }
        at += sentence.len();
    }
}

fn kind_of(line: &str) -> Kind {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    if (1..=6).contains(&level) && title.starts_with([' ', '\t']) && !title.trim().is_empty() {
        return Kind::Heading;
    }
    if is_item(line) || is_row(line) { Kind::Line } else { Kind::Sentence }
}

/// "- item", "• item", "3. item", "a) item".
fn is_item(line: &str) -> bool {
    let mark = line.split_whitespace().next().unwrap_or_default();
    if matches!(mark, "-" | "*" | "+" | "•" | "–" | "·" | "▪" | "◦" | "o") {
        return mark.len() < line.len();
    }
    let number = mark.strip_suffix(['.', ')']).unwrap_or_default();
    // Not "word.": a sentence may consist of one, or a wrapped line begin with one.
    let short = number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    let letter = mark.ends_with(')') && number.len() == 1;
    !number.is_empty() && (short || letter) && mark.len() < line.len()
}

/// A Markdown table row, or columns set apart by tabs or wide gaps.
fn is_row(line: &str) -> bool {
    line.starts_with('|') || line.contains('\t') || line.contains("   ")
}

/// Whitespace between two units, made short.
fn gap(whitespace: &str) -> &'static str {
    match whitespace.matches('\n').count() {
        0 if whitespace.is_empty() => "",
        0 if whitespace.contains(['\r', '\u{c}']) => "\n",
        0 => " ",
        1 => "\n",
        _ => "\n\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, String)> {
        let pages = [Page { number: 1, text: text.to_owned() }];
        units(&pages, 300).into_iter().map(|u| (u.kind, format!("{}{}", u.text, u.gap))).collect()
    }

    #[test]
    fn headings_lines_and_sentences_come_apart() {
        let text = "  # Title\n\nFirst sentence\nwraps. Second one.\n- item one.\n- item\n\n\
                    | a | b |\nName   Age\n```\n# no heading\n```\n12. numbered\nEnd";
        let expected = [
            (Kind::Heading, "# Title\n\n"),
            (Kind::Sentence, "First sentence\nwraps. "),
            (Kind::Sentence, "Second one.\n"),
            (Kind::Line, "- item one.\n"),
            (Kind::Line, "- item\n\n"),
            (Kind::Line, "| a | b |\n"),
            (Kind::Line, "Name   Age\n"),
            (Kind::Line, "```\n"),
            (Kind::Line, "# no heading\n"),
            (Kind::Line, "```\n"),
            (Kind::Line, "12. numbered\n"),
            (Kind::Sentence, "End\n"),
        ];
        assert_eq!(kinds(text), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn what_only_looks_like_a_mark_is_a_sentence() {
        for text in
            ["#hashtag here", "####### seven", "-5 degrees", "word. Other", "2026. Then", "#"]
        {
            assert!(kinds(text).iter().all(|(kind, _)| *kind == Kind::Sentence), "{text}");
        }
        assert!(kinds(" \n\t\r\n ").is_empty());
    }

    #[test]
    fn a_long_unit_is_cut_between_words_if_it_can_be() {
        let text = "word ".repeat(100);
        let pages = [Page { number: 1, text }];
        let units = units(&pages, 30);
        assert!(units.iter().all(|u| u.tokens <= 31 && u.text.split(' ').all(|w| w == "word")));
        assert_eq!(units.iter().map(|u| u.text.split(' ').count()).sum::<usize>(), 100);
        let pages = [Page { number: 1, text: "🧿".repeat(100) }];
        let joined: String = super::units(&pages, 10).iter().map(|u| u.text).collect();
        assert_eq!(joined, pages[0].text);
    }
}
