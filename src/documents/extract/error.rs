//! Why a document could not be read, said so that the person who uploaded it knows what to do.
//!
//! Every variant has a stable code (kept with the failed job) and a one-sentence message. Neither
//! ever holds text of the document or a path of the server. It crosses the process boundary as
//! JSON, so numbers in it come from the child and are only ever printed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The reason a file gave no pages.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractError {
    /// A PDF that opens only with a password.
    #[error("This PDF is protected by a password; remove the protection and upload it again.")]
    Encrypted,
    /// The bytes say they are of the format, but cannot be read as it.
    #[error(
        "This file is damaged or incomplete and cannot be read; open it in a viewer, save or \
         print it to a new file, and upload that one."
    )]
    Broken,
    /// No bytes, or nothing but white space and markup.
    #[error("This file contains no text; check that it is the file you meant to upload.")]
    Empty,
    /// A PDF with pages but without readable letters on any of them.
    #[error(
        "None of the {pages} pages of this PDF contains text, so it is probably a scan; run OCR \
         (text recognition) on it and upload the result."
    )]
    ScannedOnly {
        /// Pages in the file.
        pages: usize,
    },
    /// A PDF longer than we index.
    #[error("This PDF has {pages} pages and at most {limit} are accepted; split it into parts.")]
    TooManyPages {
        /// Pages in the file.
        pages: usize,
        /// Pages accepted.
        limit: usize,
    },
    /// More extracted text than we index.
    #[error(
        "This file contains more than {} MiB of text, the most that is accepted; split it into \
         parts.", .limit_bytes / 1_048_576
    )]
    TooMuchText {
        /// Bytes of text accepted.
        limit_bytes: usize,
    },
    /// A file larger than an upload may be.
    #[error(
        "This file is larger than {} MiB, the most that is accepted; split it, or save it with \
         smaller images.", .limit_bytes / 1_048_576
    )]
    TooLargeFile {
        /// Bytes accepted.
        limit_bytes: usize,
    },
    /// Something else than the formats we read.
    #[error(
        "This looks like {looks_like}, which cannot be read; PDF, HTML, Markdown and plain text \
         are accepted{}", advice(.looks_like)
    )]
    UnsupportedFormat {
        /// What the bytes look like, with its article: "a ZIP archive".
        looks_like: String,
    },
    /// The child hit its memory limit.
    #[error(
        "Reading this file takes more memory than is allowed; print it to a new PDF or split it, \
         and upload that."
    )]
    OutOfMemory,
    /// The child hit its processor or wall-clock limit.
    #[error(
        "Reading this file takes longer than is allowed; print it to a new PDF or split it, and \
         upload that."
    )]
    TimedOut,
    /// The child died or wrote nonsense.
    #[error(
        "This file is built in a way that its reader could not survive; print it to a new PDF and \
         upload that."
    )]
    Crashed,
    /// Our own fault: the child could not be started or prepared.
    #[error("The document reader could not be started; try again later.")]
    Unavailable,
}

impl ExtractError {
    /// Stable name of the reason, for the job row, metrics and the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Broken => "broken",
            Self::Empty => "empty",
            Self::ScannedOnly { .. } => "scanned_only",
            Self::TooManyPages { .. } => "too_many_pages",
            Self::TooMuchText { .. } => "too_much_text",
            Self::TooLargeFile { .. } => "too_large_file",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::OutOfMemory => "out_of_memory",
            Self::TimedOut => "timed_out",
            Self::Crashed => "crashed",
            Self::Unavailable => "extractor_unavailable",
        }
    }

    /// Whether the same file may succeed later: only when the fault was ours, not the file's.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

/// How to get from that kind of file to one of ours, as the end of the sentence.
fn advice(looks_like: &str) -> &'static str {
    if looks_like.contains("document") || looks_like.contains("presentation") {
        ", so save it as PDF and upload that."
    } else if looks_like.contains("image") {
        ", so run OCR (text recognition) on it and upload the PDF."
    } else if looks_like.contains("archive") {
        ", so unpack it and upload the files in it."
    } else {
        "."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sentences_with_a_way_out() {
        let word = ExtractError::UnsupportedFormat { looks_like: "a Word document".to_owned() };
        assert_eq!(
            word.to_string(),
            "This looks like a Word document, which cannot be read; PDF, HTML, Markdown and plain \
             text are accepted, so save it as PDF and upload that."
        );
        let limit_bytes = 5 * 1024 * 1024;
        let long = ExtractError::TooMuchText { limit_bytes };
        assert!(long.to_string().contains("5 MiB"));
        assert_eq!(serde_json::to_string(&ExtractError::Broken).unwrap(), "\"broken\"");
    }
}
