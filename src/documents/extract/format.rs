//! Which format a file is in, decided by its bytes.
//!
//! Invariant: a name or a declared media type never makes us read a file as something its bytes
//! are not; the name only chooses between Markdown and plain text, which no byte tells apart.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ExtractError, decode};

/// A format we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Portable Document Format, any version.
    Pdf,
    /// Markdown, kept as it is.
    Markdown,
    /// HTML, reduced to its visible text.
    Html,
    /// Anything else that is text.
    Text,
}

/// A word that names none of the formats.
#[derive(Debug, Error)]
#[error("The format must be one of pdf, markdown, html and text.")]
pub struct UnknownFormat;

/// Bytes that begin a file, and what such a file is called.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"BM", "a bitmap image"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office document"),
    (b"{\\rtf", "a rich-text document"),
    (b"%!PS", "a PostScript document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"ID3", "an audio file"),
    (b"OggS", "an audio file"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"SQLite format 3\0", "a database"),
];

/// Names inside a ZIP that tell which kind of document it is.
const ZIP_KINDS: &[(&[u8], &str)] = &[
    (b"word/", "a Word document"),
    (b"xl/", "an Excel document"),
    (b"ppt/", "a PowerPoint presentation"),
    (b"application/epub", "an EPUB document"),
    (b"opendocument.text", "an OpenDocument text document"),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet document"),
    (b"opendocument.presentation", "an OpenDocument presentation"),
];

impl Format {
    /// Decides the format of `bytes`; `name` is the file's name and only breaks ties.
    ///
    /// # Errors
    /// [`ExtractError::Empty`] for no bytes, and [`ExtractError::UnsupportedFormat`] naming what
    /// the bytes look like.
    pub fn sniff(bytes: &[u8], name: &str) -> Result<Self, ExtractError> {
        if bytes.is_empty() {
            return Err(ExtractError::Empty);
        }
        let head = bytes.get(..1024).unwrap_or(bytes);
        if contains(head, b"%PDF-") {
            return Ok(Self::Pdf);
        }
        if let Some(looks_like) = binary_kind(bytes) {
            return Err(ExtractError::UnsupportedFormat { looks_like: looks_like.to_owned() });
        }
        if decode::looks_like_html(bytes) {
            return Ok(Self::Html);
        }
        let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("md" | "markdown" | "mdown" | "mkd" | "mdx") => Ok(Self::Markdown),
            _ => Ok(Self::Text),
        }
    }

    /// Media type to store and serve the original with.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Text => "text/plain",
        }
    }

    /// The word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        [Self::Pdf, Self::Markdown, Self::Html, Self::Text]
            .into_iter()
            .find(|format| format.as_str() == word)
            .ok_or(UnknownFormat)
    }
}

/// What kind of binary file this is, or `None` for text.
fn binary_kind(bytes: &[u8]) -> Option<&'static str> {
    let binary = !decode::is_text(bytes);
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        let listed = |needle: &[u8]| contains(bytes, needle);
        let kind = ZIP_KINDS.iter().find(|(needle, _)| listed(needle));
        return Some(kind.map_or("a ZIP archive", |(_, kind)| kind));
    }
    // `BM` and `MZ` also begin words, so signatures of letters only count in a binary file.
    let signature = SIGNATURES.iter().find(|(signature, _)| {
        let printable = signature.iter().all(|byte| (b' '..=b'~').contains(byte));
        bytes.starts_with(signature) && (binary || !printable || signature.len() >= 4)
    });
    match signature {
        Some((_, kind)) => Some(kind),
        None if bytes.get(4..8) == Some(b"ftyp") => Some("a video or an Apple image"),
        None if bytes.starts_with(b"RIFF") && binary => Some("an image, audio or video file"),
        None if binary => Some("a binary file"),
        None => None,
    }
}

/// Whether `needle` occurs anywhere in `bytes`.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_the_name_breaks_ties() {
        let sniff = |bytes: &[u8], name| Format::sniff(bytes, name).unwrap();
        assert_eq!(sniff(b"%PDF-1.4 ...", "notes.md"), Format::Pdf);
        assert_eq!(sniff(b"junk\n%PDF-1.7", "a.txt"), Format::Pdf);
        assert_eq!(sniff(b"<!DOCTYPE html><p>x", "a.pdf"), Format::Html);
        assert_eq!(sniff(b"\n <html lang=en>", ""), Format::Html);
        assert_eq!(sniff(b"# Title", "a.MD"), Format::Markdown);
        assert_eq!(sniff(b"# Title", "a.pdf"), Format::Text);
        assert_eq!(sniff(b"MZ is how it begins", "x"), Format::Text);
        assert_eq!(sniff(b"\xff\xfeh\0i\0", "x"), Format::Text);
    }

    #[test]
    fn other_files_are_named() {
        for (bytes, expected) in [
            (&b"PK\x03\x04....word/document.xml"[..], "a Word document"),
            (b"PK\x03\x04....a.txt", "a ZIP archive"),
            (b"\x89PNG\r\n\x1a\n", "a PNG image"),
            (b"MZ\x90\0\x03\0", "a Windows program"),
            (b"a\0b", "a binary file"),
        ] {
            match Format::sniff(bytes, "a.txt") {
                Err(ExtractError::UnsupportedFormat { looks_like }) => {
                    assert_eq!(looks_like, expected);
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn words_go_both_ways() {
        for format in [Format::Pdf, Format::Markdown, Format::Html, Format::Text] {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        assert!("docx".parse::<Format>().is_err());
    }
}
