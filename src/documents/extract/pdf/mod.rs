//! PDF to pages: hayro interprets the file, [`collector`] notes what it would draw, [`lines`] turns
//! positions into text.
//!
//! Invariant: page `n` of the result holds exactly the glyphs drawn on page `n` of the file, in
//! form fields and annotations as well; nothing is moved between pages, not even half a word.

mod bidi;
mod collector;
mod glyph;
mod lines;
mod row;

use hayro_interpret::{
    Context, InterpreterCache, InterpreterSettings, RenderContent, TransformExt,
    hayro_syntax::page,
    hayro_syntax::{DecryptionError, LoadPdfError, Pdf},
    interpret_page,
    kurbo::Rect,
};

use super::{ExtractError, Extracted, Limits, Page, tidy};
use collector::Collector;
use glyph::Glyph;

/// Reads a PDF. Needs a stack of some megabytes for deeply nested files.
pub(super) fn extract(bytes: &[u8], limits: &Limits) -> Result<Extracted, ExtractError> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(load_error)?;
    let count = pdf.pages().len();
    if count > limits.pages {
        return Err(ExtractError::TooManyPages { pages: count, limit: limits.pages });
    }
    if count == 0 {
        return Err(ExtractError::Broken);
    }
    let cache = InterpreterCache::new();
    let mut pages = Vec::with_capacity(count);
    let mut budget = limits.text_bytes;
    for (number, page) in (1..).zip(pdf.pages().iter()) {
        let text = page_text(page, &cache, budget)
            .filter(|text| text.len() <= budget)
            .ok_or(ExtractError::TooMuchText { limit_bytes: limits.text_bytes })?;
        budget -= text.len();
        pages.push(Page { number, text });
    }
    if pages.iter().all(|page| page.text.is_empty()) {
        return Err(ExtractError::ScannedOnly { pages: count });
    }
    let title = pdf.metadata().title.as_deref().map(collector::text_string);
    Ok(Extracted { title: title.as_deref().and_then(document_title), pages })
}

/// Text of one page, or `None` when it is longer than `budget` bytes.
fn page_text<'a>(
    page: &page::Page<'a>,
    cache: &InterpreterCache<'a>,
    budget: usize,
) -> Option<String> {
    let content = drawn(page, cache, budget, RenderContent::PAGE)?;
    let annotations = drawn(page, cache, budget, RenderContent::ANNOTATIONS)?;
    Some(tidy::clean(&lines::text(content, annotations)))
}

/// The glyphs that a part of the page draws.
fn drawn<'a>(
    page: &page::Page<'a>,
    cache: &InterpreterCache<'a>,
    budget: usize,
    part: RenderContent,
) -> Option<Vec<Glyph>> {
    let (width, height) = page.render_dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let mut context = Context::new(
        page.initial_transform(true).to_kurbo(),
        Rect::new(0.0, 0.0, width, height),
        cache,
        page.xref(),
        InterpreterSettings { render_content: part, ..InterpreterSettings::default() },
    );
    let mut collector = Collector::new(width, height, budget);
    interpret_page(page, &mut context, &mut collector);
    collector.finish()
}

/// The title without what word processors put in front of it.
fn document_title(raw: &str) -> Option<String> {
    let title = tidy::title(raw.trim().trim_start_matches("Microsoft Word - "))?;
    let placeholder = ["untitled", "(anonymous)", "unspecified", "about:blank"];
    (!placeholder.contains(&title.to_lowercase().as_str())).then_some(title)
}

/// A PDF that uses encryption we do not know is as closed to us as one with a password.
fn load_error(error: LoadPdfError) -> ExtractError {
    match error {
        LoadPdfError::Decryption(
            DecryptionError::PasswordProtected | DecryptionError::UnsupportedAlgorithm,
        ) => ExtractError::Encrypted,
        LoadPdfError::Decryption(_) | LoadPdfError::Invalid => ExtractError::Broken,
    }
}
