//! Adjacent pieces of text as one part, for a reader that is behind: few frames instead of many.
//!
//! Nothing is parsed. Our encoder writes `{"type":"text-delta","id":"t1","delta":"…"}`, and the
//! insides of two JSON strings, one after the other, are the inside of both texts' string: escapes
//! are never cut, because each piece was a whole string.

use super::cursor::Batch;
use bytes::{BufMut, Bytes, BytesMut};

/// A batch with more parts than this is of a reader that is behind.
const BEHIND: usize = 16;
/// The most bytes of a merged part.
const MOST_BYTES: usize = 16 * 1024;
const PREFIX: &[u8] = br#"{"type":"text-delta","id":""#;
const DELTA: &[u8] = br#"","delta":""#;
const SUFFIX: &[u8] = br#""}"#;

/// A part as it is sent, and the offsets that it stands for: two, when pieces of text were merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: usize,
    /// Where a reader goes on after it.
    pub last: usize,
    pub part: Bytes,
}

impl Batch {
    /// The parts to send, the pieces of a text merged when the reader is behind.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let behind = self.parts.len() > BEHIND;
        let mut spans = Vec::new();
        let mut parts = self.iter().peekable();
        while let Some((first, part)) = parts.next() {
            let mut run = Run::new(part).filter(|_| behind);
            let mut last = first;
            while let Some(run) = &mut run
                && let Some((offset, _)) = parts.next_if(|(_, next)| run.take(next))
            {
                last = offset;
            }
            let merged = run.and_then(|run| run.finish());
            spans.push(Span { first, last, part: merged.unwrap_or_else(|| part.clone()) });
        }
        spans
    }
}

/// Pieces of one text, in the making.
struct Run<'a> {
    /// All before the text; pieces with the same head are of the same text.
    head: &'a [u8],
    texts: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Run<'a> {
    fn new(part: &'a Bytes) -> Option<Self> {
        let (head, text) = split(part)?;
        Some(Self { head, texts: vec![text], bytes: part.len() })
    }

    /// False when the part is of another kind or text, or would make this too long.
    fn take(&mut self, part: &'a Bytes) -> bool {
        match split(part) {
            Some((head, text)) if head == self.head && self.bytes + text.len() <= MOST_BYTES => {
                self.bytes += text.len();
                self.texts.push(text);
                true
            }
            _ => false,
        }
    }

    /// The merged part; `None` when there was only one piece.
    fn finish(self) -> Option<Bytes> {
        if self.texts.len() == 1 {
            return None;
        }
        let mut out = BytesMut::with_capacity(self.bytes);
        out.put(self.head);
        self.texts.iter().for_each(|text| out.put(*text));
        out.put(SUFFIX);
        Some(out.freeze())
    }
}

/// The head of a text delta, and the inside of its string. A quote inside of an id is escaped, so
/// that the first `DELTA` is the field.
fn split(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let id = part.strip_prefix(PREFIX)?;
    let at = id.windows(DELTA.len()).position(|window| window == DELTA)?;
    let (head, rest) = part.split_at_checked(PREFIX.len() + at + DELTA.len())?;
    Some((head, rest.strip_suffix(SUFFIX)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Part;
    use crate::chat::log::encode;
    use proptest::prelude::*;

    fn batch(parts: &[Part]) -> Batch {
        Batch { first_offset: 7, parts: parts.iter().map(encode).collect() }
    }

    fn part(span: &Span) -> Part {
        serde_json::from_slice(&span.part).unwrap()
    }

    fn delta(id: &str, text: &str) -> Part {
        Part::TextDelta { id: id.into(), delta: text.into() }
    }

    #[test]
    fn who_keeps_up_gets_the_parts_as_they_are() {
        let parts = vec![Part::delta("x".into()); BEHIND];
        let batch = batch(&parts);
        let spans = batch.spans();
        assert_eq!(spans.len(), BEHIND);
        assert!(spans.iter().zip(batch.iter()).all(|(span, (offset, part))| {
            (span.first, span.last, &span.part) == (offset, offset, part)
        }));
    }

    #[test]
    fn only_pieces_of_the_same_text_are_merged() {
        let mut parts = vec![Part::TextStart { id: "t1".into() }];
        parts.extend(vec![delta("t1", "a"); 10]);
        parts.extend(vec![delta("t2", "b"); 10]);
        parts.extend([delta("a\",\"delta\":\"", "c"), delta("a\",\"delta\":\"", "d")]);
        parts.extend([Part::TextEnd { id: "t1".into() }, Part::Finish {}]);
        let spans = batch(&parts).spans();
        let said: Vec<(usize, usize, Part)> =
            spans.iter().map(|span| (span.first, span.last, part(span))).collect();
        let expected = [
            (7, 7, parts[0].clone()),
            (8, 17, delta("t1", "aaaaaaaaaa")),
            (18, 27, delta("t2", "bbbbbbbbbb")),
            (28, 29, delta("a\",\"delta\":\"", "cd")),
            (30, 30, Part::TextEnd { id: "t1".into() }),
            (31, 31, Part::Finish {}),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_merged_part_has_a_size() {
        let long = "y".repeat(3 * MOST_BYTES);
        let mut parts = vec![Part::delta("x".repeat(1000)); 40];
        parts.push(Part::delta(long.clone()));
        let spans = batch(&parts).spans();
        let (last, merged) = spans.split_last().unwrap();
        assert_eq!(part(last), Part::delta(long), "a piece that is longer by itself stays");
        assert_eq!(merged.len(), 3);
        assert!(merged.iter().all(|span| span.part.len() <= MOST_BYTES));
    }

    /// Anything that JSON writes in a way of its own.
    fn text() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "\"",
            "\\",
            "\\\"",
            "\u{0}",
            "\u{1f}",
            "\n",
            "\u{7f}",
            "\u{2028}",
            "é",
            "👩\u{200d}🚀",
            "\u{10ffff}",
            "\",\"delta\":\"",
            "\"}",
            "{}",
            "a",
        ]);
        let odd = prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat());
        prop_oneof![odd, ".{0,12}", Just(String::new())]
    }

    proptest! {
        #[test]
        fn merging_changes_no_text_and_no_offset(
            texts in prop::collection::vec((text(), 0u8..12), 0..120)
        ) {
            let parts: Vec<Part> = texts
                .iter()
                .map(|(text, kind)| match kind {
                    0 => Part::Error { error_text: text.clone() },
                    1 => delta("another \"text\"", text),
                    _ => Part::delta(text.clone()),
                })
                .collect();
            let spans = batch(&parts).spans();
            let mut next = 7;
            for span in &spans {
                prop_assert_eq!(span.first, next, "no gap");
                let of = &parts[span.first - 7..=span.last - 7];
                next = span.last + 1;
                match part(span) {
                    Part::TextDelta { id, delta } => {
                        let mut whole = String::new();
                        for one in of {
                            let Part::TextDelta { id: its, delta } = one else {
                                return Err(TestCaseError::fail("another kind was swallowed"));
                            };
                            prop_assert_eq!(its, &id);
                            whole.push_str(delta);
                        }
                        prop_assert_eq!(delta, whole);
                    }
                    other => prop_assert_eq!(&[other], of),
                }
            }
            prop_assert_eq!(next, 7 + parts.len(), "nothing is left out");
            if parts.len() > BEHIND {
                let mergeable = |pair: &[Span]| match (part(&pair[0]), part(&pair[1])) {
                    (Part::TextDelta { id, .. }, Part::TextDelta { id: next, .. }) => id == next,
                    _ => false,
                };
                prop_assert!(!spans.windows(2).any(mergeable), "as few as there can be");
            }
        }
    }
}
