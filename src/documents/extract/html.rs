//! HTML to the text a reader sees, with headings and list items marked as in Markdown.
//!
//! Reads the token stream instead of building a tree: time and memory stay linear however the
//! markup is nested, and nothing recurses. The price is that elements HTML lets one leave open are
//! closed by the few rules in [`implied_end`] only. Style sheets are not read: what only CSS hides
//! is taken for visible, but for `hidden`, `aria-hidden` and `display:none` on the element itself.

use std::cell::RefCell;

use html5ever::{
    LocalName, local_name,
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, EndTag, StartTag, Tag, Token, TokenSink, TokenSinkResult, Tokenizer,
        TokenizerOpts,
        states::{Rawtext, Rcdata, ScriptData},
    },
};

/// Elements open at once; deeper ones are read as if they were their parent.
const DEEPEST: usize = 512;

/// What a reader sees of a page.
#[derive(Debug, Default)]
pub(super) struct HtmlPage {
    /// Content of `<title>`.
    pub(super) title: Option<String>,
    /// Visible text.
    pub(super) text: String,
}

/// Reads a page; broken markup gives what a lenient reader makes of it.
pub(super) fn read(source: &str) -> HtmlPage {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(source));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // The sink never suspends the tokenizer, so one call consumes everything.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let reader = tokenizer.sink.0.into_inner();
    HtmlPage { title: Some(reader.title), text: reader.out }
}

#[derive(Default)]
struct Sink(RefCell<Reader>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => reader.characters(&text),
            Token::TagToken(tag) if tag.kind == StartTag => return reader.open(&tag),
            Token::TagToken(tag) if tag.kind == EndTag => reader.close(&tag.name),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// An element whose end tag has not come.
struct Open {
    name: LocalName,
    hides: bool,
}

#[derive(Default)]
struct Reader {
    out: String,
    title: String,
    open: Vec<Open>,
    /// How many of the open elements hide their content.
    hiding: usize,
    /// White space seen since the last word, to be written when another word follows.
    space: bool,
    /// Line ends owed before the next word.
    breaks: usize,
    /// What the next word of the line starts with: a heading's or a list item's mark.
    mark: &'static str,
}

impl Reader {
    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        while self.open.last().is_some_and(|last| implied_end(&last.name, &tag.name)) {
            self.pop();
        }
        self.start_block(&tag.name);
        let hides = is_hidden(tag);
        if !tag.self_closing && !is_void(&tag.name) && self.open.len() < DEEPEST {
            self.hiding += usize::from(hides);
            self.open.push(Open { name: tag.name.clone(), hides });
        }
        match tag.name {
            local_name!("script") => TokenSinkResult::RawData(ScriptData),
            local_name!("title") | local_name!("textarea") => TokenSinkResult::RawData(Rcdata),
            local_name!("style") | local_name!("iframe") | local_name!("noembed") => {
                TokenSinkResult::RawData(Rawtext)
            }
            _ => TokenSinkResult::Continue,
        }
    }

    /// Closes the nearest open element of that name and all inside it; without one, nothing.
    fn close(&mut self, name: &LocalName) {
        if let Some(at) = self.open.iter().rposition(|open| open.name == *name) {
            while self.open.len() > at {
                self.pop();
            }
        }
        self.breaks = self.breaks.max(breaks_around(name));
    }

    fn pop(&mut self) {
        if let Some(open) = self.open.pop() {
            self.hiding -= usize::from(open.hides);
        }
    }

    /// Notes the line ends and the mark that an element begins with.
    fn start_block(&mut self, name: &LocalName) {
        let breaks = breaks_around(name);
        self.breaks = self.breaks.max(breaks);
        if breaks > 0 {
            self.mark = "";
        }
        match *name {
            local_name!("h1") => self.mark = "# ",
            local_name!("h2") => self.mark = "## ",
            local_name!("h3") => self.mark = "### ",
            local_name!("h4") => self.mark = "#### ",
            local_name!("h5") => self.mark = "##### ",
            local_name!("h6") => self.mark = "###### ",
            local_name!("li") => self.mark = "- ",
            local_name!("td") | local_name!("th") if self.breaks == 0 && !self.out.is_empty() => {
                self.out.push('\t');
                self.space = false;
            }
            _ => {}
        }
    }

    fn is_in(&self, name: &LocalName) -> bool {
        self.open.iter().any(|open| open.name == *name)
    }

    fn characters(&mut self, text: &str) {
        if self.is_in(&local_name!("title")) && !self.is_in(&local_name!("svg")) {
            self.title.push_str(text);
            return;
        }
        if self.hiding > 0 {
            return;
        }
        if self.is_in(&local_name!("pre")) {
            for line in text.split_inclusive('\n') {
                self.word(line.trim_end_matches('\n'));
                self.breaks += usize::from(line.ends_with('\n'));
            }
            return;
        }
        for part in text.split_inclusive(char::is_whitespace) {
            let word = part.trim_end();
            self.word(word);
            self.space |= word.len() < part.len();
        }
    }

    /// Writes a word after whatever is owed before it.
    fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        if self.out.is_empty() {
            (self.breaks, self.space) = (0, false);
        }
        if self.breaks > 0 {
            self.out.extend(std::iter::repeat_n('\n', self.breaks.min(2)));
        } else if self.space && !self.out.ends_with(['\t', '\n']) {
            self.out.push(' ');
        }
        self.out.push_str(std::mem::take(&mut self.mark));
        self.out.push_str(word);
        (self.breaks, self.space) = (0, false);
    }
}

/// Line ends that an element puts around itself: 2 for paragraphs, 1 for rows, 0 inside a line.
fn breaks_around(name: &LocalName) -> usize {
    match &**name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" | "pre"
        | "blockquote" | "section" | "article" | "header" | "footer" | "main" | "nav" | "aside"
        | "figure" | "hr" | "form" | "fieldset" | "details" => 2,
        "div" | "li" | "dt" | "dd" | "tr" | "br" | "caption" | "figcaption" | "summary"
        | "option" | "address" | "legend" | "body" | "title" => 1,
        _ => 0,
    }
}

/// Elements without content, which no end tag follows.
fn is_void(name: &LocalName) -> bool {
    matches!(
        &**name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Whether the start of `next` ends an open `last` that was never closed.
fn implied_end(last: &LocalName, next: &LocalName) -> bool {
    match &**last {
        "p" => breaks_around(next) > 0 && &**next != "br",
        "li" => &**next == "li",
        "dt" | "dd" => matches!(&**next, "dt" | "dd"),
        "td" | "th" => matches!(&**next, "td" | "th" | "tr" | "tbody"),
        "tr" => matches!(&**next, "tr" | "tbody"),
        "option" => matches!(&**next, "option" | "optgroup"),
        "head" => &**next == "body",
        _ => false,
    }
}

/// Whether an element's content is not for reading.
fn is_hidden(tag: &Tag) -> bool {
    let never_shown = matches!(
        &*tag.name,
        "script"
            | "style"
            | "template"
            | "noscript"
            | "iframe"
            | "noembed"
            | "object"
            | "svg"
            | "math"
            | "select"
            | "datalist"
            | "canvas"
            | "audio"
            | "video"
    );
    never_shown
        || tag.attrs.iter().any(|attribute| match &*attribute.name.local {
            "hidden" => true,
            "aria-hidden" => attribute.value.eq_ignore_ascii_case("true"),
            "style" => {
                let style = attribute.value.to_ascii_lowercase().replace(' ', "");
                style.contains("display:none") || style.contains("visibility:hidden")
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        read(source).text
    }

    #[test]
    fn headings_lists_and_tables_keep_their_shape() {
        let page = read(
            "<!doctype html><title>Fees &amp; hours</title><h1>Fees</h1><p>Copies <b>cost</b>\n \
             money.</p><ul><li>one<li>two</ul><table><tr><th>a<th>b<tr><td>1<td>2</table>end",
        );
        assert_eq!(page.title.as_deref(), Some("Fees & hours"));
        assert_eq!(page.text, "# Fees\n\nCopies cost money.\n\n- one\n- two\n\na\tb\n1\t2\n\nend");
    }

    #[test]
    fn what_nobody_sees_is_dropped() {
        assert_eq!(text("a<script>if (1<2) x</script><style>p{}</style> b"), "a b");
        assert_eq!(text("<div hidden>x<p>y</div>a<p style='display: none'>z<p>b"), "a\n\nb");
        assert_eq!(text("<template><p>x</template>a<!-- c --><svg><title>t</title></svg>"), "a");
        assert_eq!(text("<div aria-hidden=true><div>x</div>y</div>z"), "z");
    }

    #[test]
    fn preformatted_text_keeps_its_lines() {
        assert_eq!(text("<pre>fn a() {\n    b\n}</pre>x"), "fn a() {\n    b\n}\n\nx");
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        let source = format!("{}deep{}", "<div>".repeat(200_000), "</div>".repeat(200_000));
        assert_eq!(text(&source), "deep");
    }
}
