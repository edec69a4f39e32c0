//! A document as text: its title and its numbered pages, and the one function that makes it.
//!
//! Pure and in-process: no I/O, no clock. Only the child process calls [`extract`] on bytes from
//! outside; calling it in the server would put the server at the mercy of the file.

use serde::{Deserialize, Serialize};

use super::{ExtractError, Format, Limits, decode, html, markdown, pdf, tidy};

/// One page of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Position in the file, counted from 1: the number a PDF viewer shows, not a printed one.
    pub number: u32,
    /// Text in reading order, paragraphs apart by an empty line. No control characters but `\n`
    /// and `\t`, so `PostgreSQL` can store it. Empty for a page without text.
    pub text: String,
}

/// What was found in a file. Formats without pages come as one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// Title the file gives itself, one line of at most 300 characters.
    pub title: Option<String>,
    /// Every page of the file in order, those without text included.
    pub pages: Vec<Page>,
}

/// Reads `bytes` as `format`.
///
/// # Errors
/// What the file lacks or exceeds, as a typed reason; never [`ExtractError::Crashed`] or another
/// reason that only the parent process can observe.
pub fn extract(bytes: &[u8], format: Format, limits: &Limits) -> Result<Extracted, ExtractError> {
    if bytes.is_empty() {
        return Err(ExtractError::Empty);
    }
    if bytes.len() > limits.input_bytes {
        return Err(ExtractError::TooLargeFile { limit_bytes: limits.input_bytes });
    }
    match format {
        Format::Pdf => pdf::extract(bytes, limits),
        Format::Html => {
            let page = html::read(&decode::html(bytes));
            single(page.title.as_deref(), &page.text, limits)
        }
        Format::Markdown => {
            let source = decode::text(bytes);
            let document = markdown::read(&source);
            single(document.title.as_deref(), document.text, limits)
        }
        Format::Text => single(None, &decode::text(bytes), limits),
    }
}

/// A document of one page, within the limits.
fn single(title: Option<&str>, text: &str, limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = tidy::clean(text);
    if text.is_empty() {
        return Err(ExtractError::Empty);
    }
    if text.len() > limits.text_bytes {
        return Err(ExtractError::TooMuchText { limit_bytes: limits.text_bytes });
    }
    Ok(Extracted { title: title.and_then(tidy::title), pages: vec![Page { number: 1, text }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], format: Format) -> String {
        extract(bytes, format, &Limits::default()).unwrap().pages.remove(0).text
    }

    #[test]
    fn text_is_decoded_by_its_mark_or_as_utf_8_or_as_windows_1252() {
        assert_eq!(text("\u{feff}naïve".as_bytes(), Format::Text), "naïve");
        assert_eq!(text(b"na\xefve \x80", Format::Text), "naïve €");
        assert_eq!(text(b"\xff\xfea\0b\0", Format::Text), "ab");
        assert_eq!(text(b"\xfe\xff\0a\0b", Format::Text), "ab");
    }

    #[test]
    fn control_characters_do_not_survive() {
        assert_eq!(text(b"a\x01b\r\nc\td\x7f", Format::Text), "ab\nc\td");
    }

    #[test]
    fn nothing_to_read_is_said_so() {
        let limits = Limits::default();
        assert!(matches!(extract(b"", Format::Text, &limits), Err(ExtractError::Empty)));
        assert!(matches!(extract(b" \n ", Format::Text, &limits), Err(ExtractError::Empty)));
        let page = b"<html><script>var x</script></html>";
        assert!(matches!(extract(page, Format::Html, &limits), Err(ExtractError::Empty)));
        let long = vec![b'a'; limits.text_bytes + 1];
        assert!(matches!(
            extract(&long, Format::Text, &limits),
            Err(ExtractError::TooMuchText { .. })
        ));
    }
}
