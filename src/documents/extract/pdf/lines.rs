//! Positions to text: glyphs to lines, gaps to spaces, leading to paragraphs.
//!
//! Lines follow the order in which the file draws them, not their place on the page. Nearly every
//! producer draws in reading order, columns and table rows included, and a geometric guess that
//! goes wrong mixes two columns into one sentence that nobody wrote. Gaps wider than two ems become
//! a tab, so that the cells of a row stay apart. Only what annotations draw, which always comes
//! after the page, is moved: the value of a form field goes behind its label.

use super::super::tidy;
use super::bidi;
use super::glyph::{Direction, Glyph};
use super::row::Row;

/// Gap between two glyphs that parts words, in ems.
const WORD_GAP: f32 = 0.15;
/// The same between two ideographs, which are often spaced out.
const IDEOGRAPH_GAP: f32 = 0.6;
/// Widest setting of letters that is still one word, in ems.
const LOOSEST: f32 = 0.6;
/// Gap that parts table cells, in ems.
const CELL_GAP: f32 = 2.0;
/// Height by which glyphs of a line may differ (superscripts, accents), in ems.
pub(super) const SAME_LINE: f32 = 0.45;
/// How far a glyph may start before the end of the last one (kerning, accents), in ems.
const OVERLAP: f32 = 1.2;
/// Two equal glyphs nearer than this are one, drawn twice to look bold; in ems.
pub(super) const DOUBLE: f32 = 0.12;

/// A line in the making: glyphs of one baseline.
struct Line {
    glyphs: Vec<Glyph>,
    base: f32,
    size: f32,
    right_to_left: bool,
}

/// Text of a page from the glyphs of its content and those of its annotations, each in drawing
/// order: first the lines that run the way most of the page does, then those that run otherwise
/// (margin notes, axis labels).
pub(super) fn text(content: Vec<Glyph>, annotations: Vec<Glyph>) -> String {
    let mut page = rows(content);
    for row in rows(annotations) {
        let labels = page.iter_mut().filter(|label| label.is_before(&row));
        match labels.max_by(|a, b| a.end.total_cmp(&b.end)) {
            Some(label) => label.append(&row),
            None => page.push(row),
        }
    }
    let mut by_direction: Vec<(Direction, Vec<Row>)> = Vec::new();
    for row in page {
        match by_direction.iter_mut().find(|(direction, _)| *direction == row.direction) {
            Some((_, same)) => same.push(row),
            None => by_direction.push((row.direction, vec![row])),
        }
    }
    by_direction.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
    let parts = by_direction.iter().map(|(_, rows)| Row::paragraphs(rows));
    parts.collect::<Vec<_>>().join("\n\n")
}

/// Cuts glyphs into lines.
fn rows(glyphs: Vec<Glyph>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut current: Option<Line> = None;
    for glyph in glyphs {
        match &mut current {
            Some(line) if line.takes(&glyph) => line.push(glyph),
            _ => {
                if let Some(line) = current.replace(Line::new(glyph)) {
                    push_row(&mut rows, line);
                }
            }
        }
    }
    if let Some(line) = current {
        push_row(&mut rows, line);
    }
    rows
}

/// Finishes a line and adds it, unless it is empty or one of the last rows drawn again in place.
fn push_row(rows: &mut Vec<Row>, line: Line) {
    let Some(row) = line.finish() else { return };
    let doubled = rows.iter().rev().take(3).any(|earlier| earlier.is_same_as(&row));
    if !doubled && !row.text.trim().is_empty() {
        rows.push(row);
    }
}

impl Line {
    fn new(glyph: Glyph) -> Self {
        let (base, size) = (glyph.base, glyph.size);
        let right_to_left = bidi::is_right_to_left(&glyph.text);
        Self { glyphs: vec![glyph], base, size, right_to_left }
    }

    /// Whether `glyph` continues this line.
    fn takes(&self, glyph: &Glyph) -> bool {
        let Some(last) = self.glyphs.last() else {
            return true;
        };
        let size = self.size.max(glyph.size);
        if glyph.direction != last.direction || (glyph.base - self.base).abs() > SAME_LINE * size {
            return false;
        }
        // Numbers and foreign words make the pen jump in right-to-left text, so there the baseline
        // alone decides.
        self.right_to_left
            || bidi::is_right_to_left(&glyph.text)
            || glyph.start - last.end > -OVERLAP * size
    }

    fn push(&mut self, glyph: Glyph) {
        if glyph.size > self.size {
            (self.base, self.size) = (glyph.base, glyph.size);
        }
        self.right_to_left |= bidi::is_right_to_left(&glyph.text);
        self.glyphs.push(glyph);
    }

    /// Puts the glyphs in reading order, with spaces between words.
    fn finish(self) -> Option<Row> {
        let Self { mut glyphs, base, size, right_to_left } = self;
        if right_to_left {
            glyphs = marks_on_letters(glyphs);
        }
        let spread = spread(&glyphs);
        let mut pieces: Vec<&str> = Vec::with_capacity(glyphs.len());
        let mut last: Option<&Glyph> = None;
        for glyph in &glyphs {
            if tidy::is_mark(&glyph.text) {
                pieces.push(&glyph.text);
                continue;
            }
            if let Some(last) = last {
                if last.text == glyph.text && (glyph.start - last.start).abs() < DOUBLE * size {
                    continue;
                }
                pieces.extend(gap(last, glyph, spread));
            }
            if !glyph.text.is_empty() {
                pieces.push(&glyph.text);
            }
            last = Some(glyph);
        }
        let text = if right_to_left { bidi::logical(&pieces) } else { pieces.concat() };
        let (first, last) = (glyphs.first()?, glyphs.last()?);
        let (start, end) = (first.start, last.end);
        Some(Row { text, direction: first.direction, start, end, base, size })
    }
}

/// Sorts glyphs from left to right, each accent behind the text of its letter.
///
/// An accent is drawn right before or after its letter, and the letter is the one further right:
/// fonts of these scripts draw an accent leftwards from where it is put.
fn marks_on_letters(glyphs: Vec<Glyph>) -> Vec<Glyph> {
    let mut letters: Vec<Glyph> = Vec::with_capacity(glyphs.len());
    let mut pending = String::new();
    for mut glyph in glyphs {
        if tidy::is_mark(&glyph.text) {
            pending.push_str(&glyph.text);
            continue;
        }
        let marks = std::mem::take(&mut pending);
        match letters.last_mut() {
            Some(last) if last.start > glyph.start => last.add(&marks),
            _ => glyph.add(&marks),
        }
        letters.push(glyph);
    }
    if let Some(last) = letters.last_mut() {
        last.add(&pending);
    }
    letters.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
    letters
}

/// How far the letters of a line are set apart, in ems: half its gaps are smaller. About 0, but for
/// headings in spaced letters.
fn spread(glyphs: &[Glyph]) -> f32 {
    let pairs = glyphs.iter().zip(glyphs.iter().skip(1));
    let letters = pairs.filter(|(a, b)| is_letter(a) && is_letter(b));
    let mut gaps: Vec<f32> = letters.map(|(a, b)| ems_between(a, b)).collect();
    gaps.sort_by(f32::total_cmp);
    // Few letters tell little, and wide gaps part columns of single letters.
    let median = gaps.get(gaps.len() / 2).copied().unwrap_or(0.0);
    if gaps.len() >= 8 && median < LOOSEST { median.max(0.0) } else { 0.0 }
}

fn is_letter(glyph: &Glyph) -> bool {
    glyph.text.chars().all(char::is_alphabetic) && !glyph.text.is_empty()
}

fn ems_between(last: &Glyph, next: &Glyph) -> f32 {
    (next.start - last.end) / last.size.max(next.size)
}

/// What stands between two glyphs of a line whose letters are set apart by `spread`.
fn gap(last: &Glyph, next: &Glyph, spread: f32) -> Option<&'static str> {
    let gap = ems_between(last, next);
    let spaced = |text: &str| text.chars().all(char::is_whitespace) && !text.is_empty();
    let dense = ends_ideographic(&last.text) && ends_ideographic(&next.text);
    let narrow = if dense { IDEOGRAPH_GAP } else { WORD_GAP };
    if gap > CELL_GAP {
        Some("\t")
    } else if gap > narrow + spread && !spaced(&last.text) && !spaced(&next.text) {
        Some(" ")
    } else {
        None
    }
}

/// Whether a text ends with a character of Chinese, Japanese or Korean, or their punctuation.
fn ends_ideographic(text: &str) -> bool {
    text.chars().next_back().is_some_and(|c| {
        matches!(c, '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}')
    })
}
