//! Units into chunks.
//!
//! A chunk grows unit by unit and ends before a heading, at a page's end, or when the next unit
//! does not fit. What it repeats of the text before it, the section's
//! heading and a few sentences, is decided when it begins.

use super::{
    outline::Outline,
    unit::{Kind, Unit, units},
};
use crate::{documents::extract::Page, text::tokens};

/// Below this a chunk could not hold a sentence and its heading.
const MIN_TARGET: u32 = 16;
/// Above this no embedding model reads a chunk whole.
const MAX_TARGET: u32 = 100_000;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Position in the document, from 0.
    pub seq: u32,
    /// The page where its first character lies (a repeated heading line does not count).
    pub page: u32,
    /// The page where its last character lies.
    pub page_end: u32,
    /// Tokens of `text`, exactly.
    pub tokens: u32,
    /// The text; never empty.
    pub text: String,
}

/// How large chunks are, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// No chunk is larger; taken as 16 to 100,000.
    pub target: u32,
    /// A chunk repeats whole sentences from before it up to about this much; 0 for none.
    pub overlap: u32,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { target: 400, overlap: 40 }
    }
}

/// Cuts `pages`, which come in reading order, into chunks. Pages without words give none.
#[must_use]
pub fn chunk(pages: &[Page], options: &ChunkOptions) -> Vec<Chunk> {
    let target = options.target.clamp(MIN_TARGET, MAX_TARGET);
    // A long unit is cut so that a heading and some overlap find room beside each part.
    let units = units(pages, target - target / 4);
    let overlap = options.overlap.min(target / 2);
    let packer = Packer { outline: Outline::of(&units), units, target, overlap };
    let mut chunks = Vec::new();
    let mut draft = Draft { context: None, from: 0, fresh: 0 };
    while let Some((chunk, next)) = packer.fill(draft, chunks.len()) {
        chunks.push(chunk);
        draft = next;
    }
    chunks
}

struct Packer<'a> {
    units: Vec<Unit<'a>>,
    outline: Outline,
    target: u32,
    overlap: u32,
}

/// The beginning of a chunk: indexes of units.
#[derive(Debug, Clone, Copy)]
struct Draft {
    /// A heading from before the chunk, repeated as its first line.
    context: Option<usize>,
    /// The first unit, repeated if before `fresh`.
    from: usize,
    /// The first unit that no chunk before this one holds.
    fresh: usize,
}

impl Packer<'_> {
    /// Fills a chunk and begins the next; `None` when no unit is left.
    fn fill(&self, mut draft: Draft, seq: usize) -> Option<(Chunk, Draft)> {
        self.units.get(draft.fresh)?;
        let mut end = self.end(draft);
        let mut text = self.text(draft, end);
        let mut tokens = tokens::count(&text);
        // Counts of parts add up to a little less than the whole now and then.
        while tokens > self.target && shrink(&mut draft, &mut end) {
            text = self.text(draft, end);
            tokens = tokens::count(&text);
        }
        let page = |at: usize| self.units.get(at).map_or(0, |unit| unit.page);
        let chunk = Chunk {
            seq: u32::try_from(seq).unwrap_or(u32::MAX),
            page: page(draft.from),
            page_end: page(end - 1),
            tokens,
            text,
        };
        Some((chunk, self.begin(draft.fresh, end)))
    }

    /// Where a chunk with this beginning ends: the index after its last unit.
    fn end(&self, draft: Draft) -> usize {
        let mut sum = self.sum(draft.context, draft.from, draft.fresh);
        let share = self.share(sum, draft.fresh);
        let mut headings_only = true;
        let mut page = None;
        for (at, unit) in self.units.iter().enumerate().skip(draft.fresh) {
            let section_ends = unit.kind == Kind::Heading && !headings_only;
            // Never over a page's end: a citation names the one page it is from.
            let page_ends = page.is_some_and(|page| page != unit.page);
            let full = sum + unit.tokens / 2 > share || sum + unit.tokens > self.target;
            if at > draft.fresh && (section_ends || page_ends || full) {
                return at;
            }
            sum += unit.tokens;
            headings_only &= unit.kind == Kind::Heading;
            page = Some(unit.page);
        }
        self.units.len()
    }

    /// How large a chunk that holds `sum` before unit `at` should become: what is left of the page
    /// or section is shared evenly, so that no crumb of it has to join the next page.
    fn share(&self, sum: u32, at: usize) -> u32 {
        let rest = sum.saturating_add(self.outline.left(at));
        if rest <= self.target {
            return self.target;
        }
        rest.div_ceil(rest.div_ceil(self.target - self.overlap))
    }

    /// The beginning of the chunk after one that holds the units `fresh..end` and is done.
    fn begin(&self, fresh: usize, end: usize) -> Draft {
        let alone = Draft { context: None, from: end, fresh: end };
        let Some(next) = self.units.get(end).filter(|unit| unit.kind != Kind::Heading) else {
            return alone;
        };
        let heading = self.outline.heading(end);
        let short = |at: &usize| self.sum(None, *at, *at + 1) <= self.target / 4;
        let mut context = heading.filter(short);
        if self.sum(context, end, end) + next.tokens > self.target {
            context = None;
        }
        let room = self.target - (self.sum(context, end, end) + next.tokens).min(self.target);
        let most = self.overlap.min(room);
        // Not over a page's end (the chunk would be cited with a page that it hardly touches), nor
        // over a heading.
        let repeatable = |at: &usize| {
            self.sum(None, *at, end) <= most
                && self
                    .units
                    .get(*at)
                    .is_some_and(|unit| unit.page == next.page && unit.kind != Kind::Heading)
        };
        let from = (fresh..end).rev().take_while(repeatable).last().unwrap_or(end);
        Draft { context, from, fresh: end }
    }

    /// Tokens of the units `from..to` and of a repeated heading.
    fn sum(&self, context: Option<usize>, from: usize, to: usize) -> u32 {
        let heading = context.map_or(0, |at| self.outline.tokens(at, at + 1) + 1);
        heading + self.outline.tokens(from, to)
    }

    fn text(&self, draft: Draft, end: usize) -> String {
        let mut text = String::new();
        if let Some(heading) = draft.context.and_then(|at| self.units.get(at)) {
            text.push_str(heading.text);
            text.push('\n');
        }
        for unit in self.units.iter().take(end).skip(draft.from) {
            text.push_str(unit.text);
            text.push_str(unit.gap);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Makes a chunk smaller by one step; false when nothing is left to give up.
fn shrink(draft: &mut Draft, end: &mut usize) -> bool {
    if *end > draft.fresh + 1 {
        *end -= 1;
    } else if draft.from < draft.fresh {
        draft.from += 1;
    } else if draft.context.is_some() {
        draft.context = None;
    } else {
        return false;
    }
    true
}
