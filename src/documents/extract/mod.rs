//! Turning an uploaded file into pages of text, outside the server's own process.
//!
//! A document parser is the one part that reads bytes a stranger chose, and no parser written in
//! any language survives all of them: some files cost gigabytes, some overflow the stack, which
//! cannot be caught. So [`Extractor`] starts this same program again as `docent extract <format>`;
//! [`run_child`] lowers its own limits before it reads a byte, and whatever becomes of it is an
//! [`ExtractError`] in the server, with a sentence for the person who uploaded the file.
//!
//! Invariant: page numbers are those of the file, counted from 1, because answers cite them. A page
//! without text is kept as an empty page. Absent on purpose: OCR, images, tables as data, passwords.

mod child;
mod decode;
mod document;
mod error;
mod extractor;
mod format;
mod html;
mod limits;
mod markdown;
mod pdf;
mod tidy;

pub use child::run_child;
pub use document::{Extracted, Page, extract};
pub use error::ExtractError;
pub use extractor::Extractor;
pub use format::{Format, UnknownFormat};
pub use limits::Limits;
