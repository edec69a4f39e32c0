//! A finished line of text with its place, and how lines follow each other.

use super::super::tidy;
use super::glyph::Direction;
use super::lines::{DOUBLE, SAME_LINE};

/// Distance of two lines that parts paragraphs, in ems.
const PARAGRAPH_GAP: f32 = 1.75;

/// A finished line, in the frame of its direction (see [`super::glyph::Glyph`]).
pub(super) struct Row {
    pub(super) text: String,
    pub(super) direction: Direction,
    pub(super) start: f32,
    pub(super) end: f32,
    pub(super) base: f32,
    pub(super) size: f32,
}

impl Row {
    /// Whether this row stands on the same line as `other` and ends before it.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let near = SAME_LINE * self.size.max(other.size);
        self.direction == other.direction
            && self.end <= other.start + near
            && (self.base - other.base).abs() < near
    }

    /// Whether this is `other`, drawn a second time to look bold or shaded.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() < DOUBLE * self.size;
        self.text == other.text && near(self.start, other.start) && near(self.base, other.base)
    }

    /// Puts `other` behind this row, as a cell of its own.
    pub(super) fn append(&mut self, other: &Self) {
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\t');
        self.text.push_str(other.text.trim());
        self.end = other.end;
    }

    /// Joins rows: broken words without a break, paragraphs apart by an empty line.
    pub(super) fn paragraphs(rows: &[Self]) -> String {
        let mut out = String::new();
        let mut last: Option<&Self> = None;
        for row in rows {
            let text = row.text.trim_end();
            if let Some(last) = last {
                let step = row.base - last.base;
                let apart = PARAGRAPH_GAP * last.size.min(row.size);
                if tidy::is_hyphenated(&out, text.chars().next()) {
                    out.pop();
                } else if step < -SAME_LINE * last.size || step > apart {
                    out.push_str("\n\n");
                } else {
                    out.push('\n');
                }
            }
            out.push_str(text);
            last = Some(row);
        }
        out
    }
}
