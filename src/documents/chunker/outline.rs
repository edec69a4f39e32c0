//! What every unit stands in: its section, its page and how much of both is left.
//!
//! Computed once for a document, so that filling a chunk looks ahead at no cost.

use super::unit::{Kind, Unit};

/// Facts about units, by their index.
pub(super) struct Outline {
    /// The heading above each unit.
    headings: Vec<Option<usize>>,
    /// Tokens before each unit, and after the last one the tokens of all.
    before: Vec<u32>,
    /// For each unit the index where its page or its section ends, whichever is first.
    ends: Vec<usize>,
}

impl Outline {
    pub(super) fn of(units: &[Unit<'_>]) -> Self {
        let mut heading = None;
        let above = |(at, unit): (usize, &Unit<'_>)| {
            let above = heading;
            if unit.kind == Kind::Heading {
                heading = Some(at);
            }
            above
        };
        let headings = units.iter().enumerate().map(above).collect();

        let mut before = vec![0];
        before.extend(units.iter().scan(0_u32, |sum, unit| {
            *sum = sum.saturating_add(unit.tokens);
            Some(*sum)
        }));

        let mut ends = vec![units.len(); units.len()];
        let mut end = units.len();
        for (at, pair) in units.windows(2).enumerate().rev() {
            if let ([unit, next], Some(slot)) = (pair, ends.get_mut(at)) {
                let section = next.kind == Kind::Heading && unit.kind != Kind::Heading;
                if section || next.page != unit.page {
                    end = at + 1;
                }
                *slot = end;
            }
        }
        Self { headings, before, ends }
    }

    /// The heading that unit `at` stands under, itself not counted.
    pub(super) fn heading(&self, at: usize) -> Option<usize> {
        self.headings.get(at).copied().flatten()
    }

    /// Tokens of the units `from..to`.
    pub(super) fn tokens(&self, from: usize, to: usize) -> u32 {
        let before = |at: usize| self.before.get(at).copied().unwrap_or_default();
        before(to).saturating_sub(before(from))
    }

    /// Tokens from unit `at` to the end of its page or section.
    pub(super) fn left(&self, at: usize) -> u32 {
        self.ends.get(at).map_or(0, |end| self.tokens(at, *end))
    }
}
