//! The calls of an answer, put together from pieces.
//!
//! By the protocol a piece says which call it belongs to, and the first also its id and name. Servers
//! leave out the number or the id, repeat id and name with every piece, or number all calls 0.

use crate::llm::{ChatEvent, providers::said};

/// An answer with more calls than this is a model gone wild.
const MOST: usize = 128;

/// What one delta says of one call.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) arguments: String,
}

/// The calls that have begun.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    /// Its name came.
    named: bool,
}

impl Calls {
    /// The events that a piece makes; `None` for arguments of a call without a name, or too many calls.
    pub(super) fn take(&mut self, piece: Piece) -> Option<Vec<ChatEvent>> {
        let at = match self.find(&piece) {
            Some(at) => at,
            None if self.0.len() < MOST => {
                self.0.push(Call { index: piece.index, id: None, named: false });
                self.0.len() - 1
            }
            None => return None,
        };
        let (call, index) = (self.0.get_mut(at)?, u32::try_from(at).ok()?);
        let mut events = Vec::new();
        if call.id.is_none() {
            call.id = piece.id;
        }
        if let Some(name) = piece.name.filter(|_name| !call.named) {
            call.named = true;
            let id = call.id.get_or_insert_with(said::made_up_id).clone();
            events.push(ChatEvent::ToolBegin { index, id, name, signature: None });
        }
        if !piece.arguments.is_empty() {
            if !call.named {
                return None;
            }
            events.push(ChatEvent::ToolInput { index, json: piece.arguments });
        }
        Some(events)
    }

    /// The call that a piece continues.
    fn find(&self, piece: &Piece) -> Option<usize> {
        let numbered = |call: &Call| piece.index.is_none() || call.index == piece.index;
        let at = self.0.iter().rposition(numbered)?;
        let call = self.0.get(at)?;
        // A piece with a name of its own is another call, unless it says that it is the same one.
        let other = match &piece.id {
            Some(_) => piece.id != call.id,
            None => piece.index.is_none(),
        };
        (!(call.named && piece.name.is_some() && other)).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = (Option<u64>, Option<&'a str>, Option<&'a str>, &'a str);

    /// Id, name and arguments of each call, in order.
    fn calls(pieces: &[Given<'_>]) -> Vec<(String, String, String)> {
        let (mut calls, mut seen) = (Calls::default(), Vec::new());
        for (index, id, name, arguments) in pieces {
            let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
            let piece = Piece { index: *index, id, name, arguments: (*arguments).into() };
            for event in calls.take(piece).unwrap() {
                match event {
                    ChatEvent::ToolBegin { index, id, name, .. } => {
                        assert_eq!(index as usize, seen.len());
                        seen.push((id, name, String::new()));
                    }
                    ChatEvent::ToolInput { index, json } => seen[index as usize].2.push_str(&json),
                    other => panic!("{other:?}"),
                }
            }
        }
        seen
    }

    fn expected() -> Vec<(String, String, String)> {
        let call = |id: &str, name: &str, json: &str| (id.into(), name.into(), json.into());
        vec![call("1", "a", "{\"x\":1}"), call("2", "b", "{}")]
    }

    #[test]
    fn pieces_find_their_call() {
        let (a, b, one, two) = (Some("a"), Some("b"), Some("1"), Some("2"));
        for (server, pieces) in [
            (
                "by the book",
                vec![
                    (Some(0), one, a, ""),
                    (Some(0), None, None, "{\"x\""),
                    (Some(1), two, b, ""),
                    (Some(0), None, None, ":1}"),
                    (Some(1), None, None, "{}"),
                ],
            ),
            (
                "no number",
                vec![(None, one, a, "{\"x\""), (None, None, None, ":1}"), (None, two, b, "{}")],
            ),
            ("all numbered 0", vec![(Some(0), one, a, "{\"x\":1}"), (Some(0), two, b, "{}")]),
            (
                "everything each time",
                vec![
                    (Some(0), one, a, "{\"x\""),
                    (Some(0), one, a, ":1}"),
                    (Some(1), two, b, "{}"),
                ],
            ),
            (
                "a new id for each piece",
                vec![
                    (Some(0), one, a, "{\"x\""),
                    (Some(0), Some("9"), None, ":1}"),
                    (Some(1), two, b, "{}"),
                ],
            ),
            (
                "the name later",
                vec![
                    (Some(0), one, None, ""),
                    (Some(0), None, a, "{\"x\":1}"),
                    (Some(1), two, b, "{}"),
                ],
            ),
        ] {
            assert_eq!(calls(&pieces), expected(), "{server}");
        }
    }

    #[test]
    fn calls_without_ids_get_some() {
        let (a, b) = (Some("a"), Some("b"));
        for pieces in [
            [(None, None, a, "{\"x\":1}"), (None, None, b, "{}")],
            [(Some(0), None, a, "{\"x\":1}"), (Some(1), None, b, "{}")],
        ] {
            let calls = calls(&pieces);
            assert!(calls.iter().all(|call| call.0.starts_with("call_")), "{calls:?}");
            assert_ne!(calls[0].0, calls[1].0);
            assert_eq!((calls[0].2.as_str(), calls[1].2.as_str()), ("{\"x\":1}", "{}"));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let piece = |index| Piece { index, arguments: "{}".into(), ..Piece::default() };
        assert_eq!(Calls::default().take(piece(None)), None, "arguments of nothing");
        let mut calls = Calls::default();
        let begin =
            |index| Piece { index: Some(index), name: Some("a".into()), ..Piece::default() };
        assert!((0..128).all(|index| calls.take(begin(index)).is_some()));
        assert_eq!(calls.take(begin(128)), None, "one more than {MOST}");
    }
}
