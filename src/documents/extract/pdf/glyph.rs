//! One glyph: what it says and where it stands.
//!
//! Small on purpose, because a page may hold millions of them: 40 bytes, and no allocation unless
//! a glyph stands for several letters.

use std::fmt;
use std::ops::Deref;

use hayro_interpret::kurbo::{Affine, Point};

/// hayro's glyph space: units per em, for every kind of font.
pub(super) const UNITS_PER_EM: f64 = 1000.0;

/// Which way the lines of a glyph's text run on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Direction {
    /// Left to right, as displayed.
    Upright,
    /// Turned clockwise: lines run down.
    Down,
    /// Upside down.
    Flipped,
    /// Turned anticlockwise: lines run up.
    Up,
    /// Upright characters in columns, as in traditional Chinese and Japanese.
    Vertical,
}

impl Direction {
    /// The quarter turn nearest to the way the glyph's baseline points.
    pub(super) fn of(matrix: Affine, vertical: bool) -> Self {
        if vertical {
            return Self::Vertical;
        }
        let along = matrix * Point::new(1.0, 0.0) - matrix * Point::ORIGIN;
        match (along.x.abs() >= along.y.abs(), along.x >= 0.0, along.y > 0.0) {
            (true, true, _) => Self::Upright,
            (true, false, _) => Self::Flipped,
            (false, _, true) => Self::Down,
            (false, _, false) => Self::Up,
        }
    }

    /// Place along the line and place of the line, both growing in reading direction.
    fn frame(self, point: Point) -> (f64, f64) {
        match self {
            Self::Upright => (point.x, point.y),
            Self::Down | Self::Vertical => (point.y, -point.x),
            Self::Flipped => (-point.x, -point.y),
            Self::Up => (-point.y, point.x),
        }
    }
}

/// The letters a glyph stands for, mostly one.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Letters {
    /// One character, as UTF-8 padded with zeros.
    One([u8; 4]),
    /// Several, or none.
    Many(Box<str>),
}

impl Deref for Letters {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::One(bytes) => {
                let text = std::str::from_utf8(bytes).unwrap_or_default();
                text.trim_end_matches('\0')
            }
            Self::Many(text) => text,
        }
    }
}

impl From<char> for Letters {
    fn from(letter: char) -> Self {
        let mut bytes = [0; 4];
        letter.encode_utf8(&mut bytes);
        Self::One(bytes)
    }
}

impl From<String> for Letters {
    fn from(text: String) -> Self {
        Self::Many(text.into())
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// One glyph in the frame of its own line: `start..end` along the line, `base` growing from line to
/// line, all in points.
#[derive(Clone, Debug)]
pub(super) struct Glyph {
    pub(super) text: Letters,
    pub(super) start: f32,
    pub(super) end: f32,
    pub(super) base: f32,
    /// Height of the em.
    pub(super) size: f32,
    pub(super) direction: Direction,
}

impl Glyph {
    /// A glyph with its origin at `origin` on the page, `length` points long and `size` high.
    pub(super) fn new(
        text: Letters,
        direction: Direction,
        origin: Point,
        length: f64,
        size: f64,
    ) -> Self {
        let (start, base) = direction.frame(origin);
        let end = narrow(start + length);
        Self { text, start: narrow(start), end, base: narrow(base), size: narrow(size), direction }
    }

    /// Puts accents behind the text.
    pub(super) fn add(&mut self, marks: &str) {
        if !marks.is_empty() {
            self.text = format!("{}{marks}", &*self.text).into();
        }
    }

    /// Widens the glyph to cover `other`, the rest of a group whose text it already bears.
    pub(super) fn widen(&mut self, other: &Self) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a thousandth of a point is close enough")]
fn narrow(value: f64) -> f32 {
    value as f32
}
