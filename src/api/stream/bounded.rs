//! A WebSocket's bytes, as long as no frame in them says that it is too long.
//!
//! The library below collects a frame as a whole before it looks at its size: a head that promises
//! gigabytes would be taken at its word. Here it is refused when its head has been read.

use actix_web::dev;
use actix_web::error::PayloadError;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt;

/// The payload, failing with [`PayloadError::Overflow`] at the head of a frame of more than `most`
/// bytes.
pub(super) async fn bounded(
    request: &HttpRequest,
    payload: web::Payload,
    most: u64,
) -> Result<web::Payload, actix_web::Error> {
    let mut heads = Heads { most, head: Vec::new(), body: 0 };
    let checked = payload.into_inner().map(move |bytes| {
        let bytes = bytes?;
        heads.read(&bytes)?;
        Ok(bytes)
    });
    let mut checked: dev::Payload = dev::Payload::Stream { payload: checked.boxed_local() };
    web::Payload::from_request(request, &mut checked).await
}

/// Finds the heads of frames in a stream of bytes.
struct Heads {
    most: u64,
    /// What was read of the head of a frame.
    head: Vec<u8>,
    /// How much of the frame's mask and content is still to come.
    body: u64,
}

impl Heads {
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), PayloadError> {
        loop {
            let skipped = usize::try_from(self.body).map_or(bytes.len(), |n| n.min(bytes.len()));
            self.body -= skipped as u64;
            let Some((next, rest)) = bytes.get(skipped..).and_then(<[u8]>::split_first) else {
                return Ok(());
            };
            bytes = rest;
            self.head.push(*next);
            if let Some((length, masked)) = parse(&self.head) {
                if length > self.most {
                    return Err(PayloadError::Overflow);
                }
                self.body = length + if masked { 4 } else { 0 };
                self.head.clear();
            }
        }
    }
}

/// The length of a frame's content and whether a mask comes before it, once the head is complete.
fn parse(head: &[u8]) -> Option<(u64, bool)> {
    let [_, second, long @ ..] = head else { return None };
    let (short, masked) = (second & 0x7f, second & 0x80 != 0);
    let wanted = match short {
        126 => 2,
        127 => 8,
        _ => return Some((short.into(), masked)),
    };
    let length = long.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    (long.len() == wanted).then_some((length, masked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = match u8::try_from(length) {
            Ok(short) if short < 126 => vec![0x81, mask | short],
            _ => match u16::try_from(length) {
                Ok(length) => [&[0x81, mask | 126], &length.to_be_bytes()[..]].concat(),
                Err(_) => [&[0x81, mask | 127], &(length as u64).to_be_bytes()[..]].concat(),
            },
        };
        frame.resize(frame.len() + length + if masked { 4 } else { 0 }, 0xff);
        frame
    }

    proptest! {
        #[test]
        fn only_a_frame_that_is_too_long_is_refused(
            frames in prop::collection::vec((0usize..300, any::<bool>()), 0..20),
            big in 1000usize..70_000,
            cut in 1usize..50,
        ) {
            let mut heads = Heads { most: 999, head: Vec::new(), body: 0 };
            let bytes: Vec<u8> = frames.iter().flat_map(|(n, masked)| frame(*n, *masked)).collect();
            for piece in bytes.chunks(cut) {
                prop_assert!(heads.read(piece).is_ok());
            }
            let head = &frame(big, true)[..10];
            let refused = head.chunks(cut).any(|piece| heads.read(piece).is_err());
            prop_assert!(refused, "before its content came");
        }
    }
}
