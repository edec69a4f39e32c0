//! Bytes to text: byte-order marks, declared and guessed encodings.
//!
//! Never fails: what cannot be decoded becomes U+FFFD. Whether the bytes are text at all is asked
//! before, with [`is_text`].

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far to look for a declaration or a sign of HTML; browsers look as far.
const HEAD: usize = 1024;

/// Decodes plain text and Markdown: byte-order mark, else UTF-8, else windows-1252.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default()).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Decodes HTML: byte-order mark, else valid UTF-8, else what a `charset=` near the top declares.
pub(super) fn html(bytes: &[u8]) -> Cow<'_, str> {
    if Encoding::for_bom(bytes).is_some() || std::str::from_utf8(bytes).is_ok() {
        return text(bytes);
    }
    let declared = declared_charset(bytes).filter(|encoding| *encoding != UTF_8);
    declared.unwrap_or(WINDOWS_1252).decode_without_bom_handling(bytes).0
}

/// Whether the bytes can be text: marked as UTF-16, or free of NUL and poor in control characters.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    if Encoding::for_bom(bytes).is_some() {
        return true;
    }
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    !bytes.contains(&0) && bytes.iter().filter(|byte| control(byte)).count() * 50 <= bytes.len()
}

/// Whether the first thing in the text is HTML's, or a tag of the page frame comes early.
pub(super) fn looks_like_html(bytes: &[u8]) -> bool {
    let head = text(bytes.get(..HEAD).unwrap_or(bytes)).to_ascii_lowercase();
    let mut head = head.trim_start();
    if let Some((_, rest)) = head.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")) {
        head = rest.trim_start();
    }
    while let Some((_, rest)) = head.strip_prefix("<!--").and_then(|rest| rest.split_once("-->")) {
        head = rest.trim_start();
    }
    ["<!doctype html", "<html", "<head", "<body"].iter().any(|sign| head.starts_with(sign))
}

/// The encoding named by the first `charset=` near the top.
fn declared_charset(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..HEAD).unwrap_or(bytes).to_ascii_lowercase();
    let at = head.windows(8).position(|window| window == b"charset=")? + 8;
    let label = head.get(at..)?;
    let label = label.strip_prefix(b"\"").or(label.strip_prefix(b"'")).unwrap_or(label);
    let is_label = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
    let end = label.iter().position(|byte| !is_label(byte)).unwrap_or(label.len());
    Encoding::for_label(label.get(..end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_follows_its_declaration_unless_it_is_utf_8_anyway() {
        assert_eq!(html(b"<meta charset=\"koi8-r\">\xf0"), "<meta charset=\"koi8-r\">П");
        assert_eq!(html("<meta charset=koi8-r>П".as_bytes()), "<meta charset=koi8-r>П");
        assert_eq!(html(b"<meta charset=utf-8>\xe9"), "<meta charset=utf-8>é");
    }

    #[test]
    fn comments_and_declarations_may_come_before_html() {
        assert!(looks_like_html(b"<?xml version='1.0'?>\n<!-- saved --> <!DOCTYPE HTML>"));
        assert!(!looks_like_html(b"Write <html> at the top."));
    }
}
