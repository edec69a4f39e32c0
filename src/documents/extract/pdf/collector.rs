//! The drawing surface on which only letters leave a mark: it notes each glyph's text and place.
//!
//! Everything else a page draws (paths, images, clips, shadings) is ignored before it costs
//! anything. Invisible text is kept: it is how OCR software puts its result under a scan.

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use hayro_interpret::{
    BlendMode, ClipPath, Device, DrawMode, DrawProps, Image, ImageDrawProps, SoftMask,
    font::{Glyph as PdfGlyph, GlyphRun},
    hayro_cmap::{BfString, WritingMode},
    hayro_syntax::object::{self, Dict},
    kurbo::{Affine, BezPath, Point},
};

use super::glyph::{Direction, Glyph, Letters, UNITS_PER_EM};

/// Text smaller than this many points is not meant to be read.
const SMALLEST: f64 = 0.5;
/// Collects the glyphs of one page in the order in which they are drawn.
pub(super) struct Collector {
    glyphs: Vec<Glyph>,
    width: f64,
    height: f64,
    /// Bytes of text that may still be noted; `None` once they ran out.
    budget: Option<usize>,
    /// Open marked-content sequences: whether each carries a replacement for its text.
    marked: Vec<bool>,
    /// How many of them do.
    replaced: usize,
    /// Replacement text that waits for the first glyph it replaces.
    replacement: Option<String>,
}

impl Collector {
    /// A page of `width` by `height` points on which at most `budget` bytes of text are noted.
    pub(super) fn new(width: f64, height: f64, budget: usize) -> Self {
        Self {
            glyphs: Vec::new(),
            width,
            height,
            budget: Some(budget),
            marked: Vec::new(),
            replaced: 0,
            replacement: None,
        }
    }

    /// The glyphs, or `None` when there was more text than the budget.
    pub(super) fn finish(self) -> Option<Vec<Glyph>> {
        self.budget.map(|_| self.glyphs)
    }

    /// What the glyph stands for: its own text, or all of the replacement it begins, or nothing.
    fn text_of(&mut self, glyph: &PdfGlyph<'_>) -> Option<Letters> {
        if self.replaced > 0 {
            return Some(self.replacement.take().unwrap_or_default().into());
        }
        match glyph.as_unicode()? {
            BfString::Char(letter) => Some(letter.into()),
            BfString::String(text) => Some(text.into()),
        }
    }

    /// Notes one glyph, if it has text and lies on the page.
    fn note(&mut self, glyph: &PdfGlyph<'_>, matrix: Affine, vertical: bool) {
        let Some(budget) = self.budget else { return };
        let origin = matrix * Point::ORIGIN;
        let size = (matrix * Point::new(0.0, UNITS_PER_EM) - origin).hypot();
        let margin = size;
        let on_page = (-margin..=self.width + margin).contains(&origin.x)
            && (-margin..=self.height + margin).contains(&origin.y);
        if !on_page || !size.is_finite() || size < SMALLEST {
            return;
        }
        let Some(text) = self.text_of(glyph) else {
            return;
        };
        self.budget = budget.checked_sub(text.len().max(1));
        let advance = match glyph {
            PdfGlyph::Outline(outline) => outline.advance_width(),
            PdfGlyph::Type3(type3) => type3.advance_width(),
        };
        let advance = advance.map_or(UNITS_PER_EM / 2.0, f64::from);
        let along = (matrix * Point::new(advance, 0.0) - origin).hypot();
        let length = if vertical { size } else { along };
        let direction = Direction::of(matrix, vertical);
        let glyph = Glyph::new(text, direction, origin, length, size);
        match self.glyphs.last_mut() {
            // The rest of a replaced group (an accent and its letter, say) only widens it.
            Some(last) if glyph.text.is_empty() && last.direction == direction => {
                last.widen(&glyph);
            }
            _ => self.glyphs.push(glyph),
        }
    }
}

/// Decodes a PDF text string: UTF-16 or UTF-8 when marked, else `PDFDocEncoding`, of which
/// windows-1252 is near enough for titles and replacement texts.
pub(super) fn text_string(bytes: &[u8]) -> String {
    let (encoding, mark) = match bytes {
        [0xfe, 0xff, ..] => (UTF_16BE, 2),
        [0xff, 0xfe, ..] => (UTF_16LE, 2),
        [0xef, 0xbb, 0xbf, ..] => (UTF_8, 3),
        _ => (WINDOWS_1252, 0),
    };
    encoding.decode_without_bom_handling(bytes.get(mark..).unwrap_or_default()).0.into_owned()
}

impl<'a> Device<'a> for Collector {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        let vertical = matches!(run.writing_mode(), WritingMode::Vertical);
        for glyph in run.glyphs() {
            self.note(glyph, props.transform * glyph.transform(), vertical);
        }
    }

    fn begin_marked_content(&mut self, _: &[u8], properties: Option<&Dict<'_>>) {
        let text = properties
            .and_then(|properties| properties.get::<object::String<'_>>(&b"ActualText"[..]));
        if let Some(text) = &text {
            self.replacement = Some(text_string(text.as_bytes()));
            self.replaced += 1;
        }
        self.marked.push(text.is_some());
    }

    fn end_marked_content(&mut self) {
        if self.marked.pop() == Some(true) {
            self.replacement = None;
            self.replaced = self.replaced.saturating_sub(1);
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
