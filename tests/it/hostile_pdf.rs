//! PDF files made by hand: honest ones for fixtures, and ones built to hurt whoever parses them.
//!
//! Nothing is read from disk and nothing is random, so a failing file can be made again. The
//! bombs are small as files: their size comes from compression, loops and nesting.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "fixtures of tests, with every input in sight"
)]

use std::io::Write;

use flate2::{Compress, Compression, FlushCompress, write::ZlibEncoder};

/// Characters of a line in [`simple_pdf`]; 11-point Helvetica on A4.
const LINE_CHARS: usize = 85;

/// A PDF in the making: numbered objects, written with a correct cross-reference table.
#[derive(Default)]
struct Builder {
    objects: Vec<Vec<u8>>,
}

impl Builder {
    /// Adds an object and returns its number.
    fn add(&mut self, body: impl Into<Vec<u8>>) -> usize {
        self.objects.push(body.into());
        self.objects.len()
    }

    /// Adds a stream; `entries` are further dictionary entries.
    fn stream(&mut self, entries: &str, data: &[u8]) -> usize {
        let mut body = format!("<< /Length {} {entries} >>\nstream\n", data.len()).into_bytes();
        body.extend_from_slice(data);
        body.extend_from_slice(b"\nendstream");
        self.add(body)
    }

    /// Adds a page tree of `pages` (their dictionaries without `/Type` and `/Parent`), and writes
    /// the file with it.
    fn with_pages(mut self, pages: &[String]) -> Vec<u8> {
        let tree = self.objects.len() + pages.len() + 1;
        let kids: Vec<String> = pages
            .iter()
            .map(|page| {
                let page =
                    format!("<< /Type /Page /Parent {tree} 0 R /MediaBox [0 0 595 842] {page} >>");
                format!("{} 0 R", self.add(page))
            })
            .collect();
        let (kids, count) = (kids.join(" "), pages.len());
        self.add(format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>"));
        let root = self.add(format!("<< /Type /Catalog /Pages {tree} 0 R >>"));
        self.write(&format!("/Root {root} 0 R"))
    }

    /// Writes the file; `trailer` are the trailer's entries but `/Size`.
    fn write(self, trailer: &str) -> Vec<u8> {
        let mut out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
        let mut table = String::from("0000000000 65535 f \n");
        for (number, body) in (1..).zip(&self.objects) {
            table.push_str(&format!("{:010} 00000 n \n", out.len()));
            out.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\nendobj\n");
        }
        let (start, size) = (out.len(), self.objects.len() + 1);
        let end = format!(
            "xref\n0 {size}\n{table}trailer\n<< /Size {size} {trailer} >>\nstartxref\n{start}\n%%EOF\n"
        );
        out.extend_from_slice(end.as_bytes());
        out
    }

    fn helvetica(&mut self) -> usize {
        self.add(
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        )
    }
}

/// A valid PDF with these texts as its pages, in Helvetica; long lines are wrapped at spaces.
/// Characters that `WinAnsi` lacks become `?`.
pub(crate) fn simple_pdf(pages: &[&str]) -> Vec<u8> {
    let mut pdf = Builder::default();
    let font = pdf.helvetica();
    let pages: Vec<String> = pages
        .iter()
        .map(|text| {
            let content = pdf.stream("", &content_of(text));
            page_with(font, content)
        })
        .collect();
    pdf.with_pages(&pages)
}

/// Entries of a page that shows `content` with one font.
fn page_with(font: usize, content: usize) -> String {
    format!("/Resources << /Font << /F1 {font} 0 R >> >> /Contents {content} 0 R")
}

/// Operators that show a text from the top of the page, paragraphs apart by an empty line.
fn content_of(text: &str) -> Vec<u8> {
    let lines: Vec<String> = text.lines().flat_map(wrap).collect();
    let leading = (740.0 / lines.len().max(1) as f64).min(14.0);
    let mut out = format!("BT /F1 11 Tf {leading:.2} TL 60 790 Td\n").into_bytes();
    for line in lines {
        out.push(b'(');
        for c in line.chars() {
            let byte = win_ansi(c);
            if matches!(byte, b'(' | b')' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.extend_from_slice(b") Tj T*\n");
    }
    out.extend_from_slice(b"ET");
    out
}

fn wrap(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().unwrap();
        if !last.is_empty() && last.chars().count() + word.chars().count() >= LINE_CHARS {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn win_ansi(c: char) -> u8 {
    match c {
        '€' => 0x80,
        '…' => 0x85,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '•' => 0x95,
        '–' => 0x96,
        '—' => 0x97,
        ' '..='~' | '\u{a0}'..='ÿ' => u8::try_from(u32::from(c)).unwrap(),
        _ => b'?',
    }
}

/// `unit` over and over, `times` in all, compressed `layers` deep; and the filters that undo it.
///
/// The repeated part is compressed once and copied, so that making gigabytes takes no time.
fn bomb(unit: &[u8], times: usize, layers: usize) -> (String, Vec<u8>) {
    let mut deflate = Compress::new(Compression::best(), true);
    let mut chunk = |flush| {
        let mut out = Vec::with_capacity(unit.len() + 1024);
        deflate.compress_vec(unit, &mut out, flush).unwrap();
        out
    };
    let first = chunk(FlushCompress::Full);
    let again = chunk(FlushCompress::Full);
    let mut data = first;
    for _ in 1..times {
        data.extend_from_slice(&again);
    }
    data.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    for _ in 1..layers {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&data).unwrap();
        data = encoder.finish().unwrap();
    }
    (format!("/Filter [{}]", "/FlateDecode ".repeat(layers)), data)
}

/// A form that draws itself, which recurses for ever in a parser that follows it.
pub(crate) fn self_calling_form() -> Vec<u8> {
    let mut pdf = Builder::default();
    let form = pdf.objects.len() + 1;
    let entries = format!(
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {form} 0 R >> >>"
    );
    pdf.stream(&entries, b"/X Do");
    let content = pdf.stream("", b"/X Do");
    pdf.with_pages(&[format!(
        "/Resources << /XObject << /X {form} 0 R >> >> /Contents {content} 0 R"
    )])
}

/// Forms that each draw the next one ten times: ten to the ninth calls from eight hundred bytes.
pub(crate) fn form_fan_out() -> Vec<u8> {
    let mut pdf = Builder::default();
    for level in 1..=9 {
        let entries = format!(
            "/Type /XObject /Subtype /Form /BBox [0 0 9 9] \
             /Resources << /XObject << /X {} 0 R >> >>",
            level + 1
        );
        pdf.stream(&entries, "/X Do ".repeat(10).as_bytes());
    }
    pdf.stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9]", b"0 0 m 9 9 l S");
    let content = pdf.stream("", b"/X Do");
    pdf.with_pages(&[format!("/Resources << /XObject << /X 1 0 R >> >> /Contents {content} 0 R")])
}

/// A page that shows text eighty million times, in a file of some kilobytes.
pub(crate) fn million_operators() -> Vec<u8> {
    let mut pdf = Builder::default();
    let font = pdf.helvetica();
    let unit = b"BT /F1 9 Tf 9 9 Td (a) Tj ET\n".repeat(10_000);
    let (filter, data) = bomb(&unit, 8000, 2);
    let content = pdf.stream(&filter, &data);
    pdf.with_pages(&[page_with(font, content)])
}

/// A page that saves the graphics state six hundred million times and never restores it.
pub(crate) fn million_saved_states() -> Vec<u8> {
    let mut pdf = Builder::default();
    let (filter, data) = bomb(&b"q ".repeat(100_000), 6000, 2);
    let content = pdf.stream(&filter, &data);
    pdf.with_pages(&[format!("/Contents {content} 0 R")])
}

/// A page tree whose only branch is itself.
pub(crate) fn page_tree_loop() -> Vec<u8> {
    let mut pdf = Builder::default();
    pdf.add("<< /Type /Pages /Kids [1 0 R 2 0 R] /Count 2 >>");
    pdf.add("<< /Type /Pages /Parent 1 0 R /Kids [1 0 R] /Count 1 >>");
    let root = pdf.add("<< /Type /Catalog /Pages 1 0 R >>");
    pdf.write(&format!("/Root {root} 0 R"))
}

/// A content stream of eight gigabytes of spaces.
pub(crate) fn flate_bomb() -> Vec<u8> {
    let mut pdf = Builder::default();
    let font = pdf.helvetica();
    let (filter, data) = bomb(&vec![b' '; 1 << 20], 8192, 3);
    let content = pdf.stream(&filter, &data);
    pdf.with_pages(&[page_with(font, content)])
}

/// An object stream of eight gigabytes, in which the catalogue is said to be.
pub(crate) fn object_stream_bomb() -> Vec<u8> {
    let (filter, data) = bomb(&vec![b' '; 1 << 20], 8192, 3);
    let mut out = b"%PDF-1.7\n".to_vec();
    let at = out.len();
    let length = data.len();
    let head =
        format!("1 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Length {length} {filter} >>\nstream\n");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\nendstream\nendobj\n");
    let start = out.len();
    let row = |kind: u8, field: usize, last: u8| {
        let [.., a, b, c, d] = (field as u64).to_be_bytes();
        [kind, a, b, c, d, last]
    };
    let rows = [row(0, 0, 0), row(1, at, 0), row(2, 1, 0), row(1, start, 0)].concat();
    let head = format!(
        "3 0 obj\n<< /Type /XRef /Size 4 /W [1 4 1] /Root 2 0 R /Length {} >>\nstream\n",
        rows.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&rows);
    out.extend_from_slice(format!("\nendstream\nendobj\nstartxref\n{start}\n%%EOF\n").as_bytes());
    out
}

/// Arrays a million deep, in an object and in a page's content.
pub(crate) fn deep_arrays() -> Vec<u8> {
    let mut pdf = Builder::default();
    let deep = pdf.add("[".repeat(1_000_000));
    let content = pdf.stream("", format!("{} TJ", "[".repeat(1_000_000)).as_bytes());
    pdf.with_pages(&[format!("/Contents {content} 0 R /Annots {deep} 0 R")])
}

/// Dictionaries a hundred thousand deep where the page tree should be.
pub(crate) fn deep_dictionaries() -> Vec<u8> {
    let mut pdf = Builder::default();
    let (open, close) = ("<< /Kids [".repeat(100_000), "] >>".repeat(100_000));
    let tree = pdf.add(format!("{open} {close}"));
    let root = pdf.add(format!("<< /Type /Catalog /Pages {tree} 0 R >>"));
    pdf.write(&format!("/Root {root} 0 R"))
}

/// A file that opens with a password only: a standard security handler whose check no password,
/// and not the empty one, passes.
pub(crate) fn encrypted() -> Vec<u8> {
    let mut pdf = Builder::default();
    let font = pdf.helvetica();
    let content = pdf.stream("", &content_of("Not for everyone."));
    let page = pdf.add(format!("<< /Type /Page /Parent 4 0 R {} >>", page_with(font, content)));
    let tree = pdf.add(format!("<< /Type /Pages /Kids [{page} 0 R] /Count 1 >>"));
    let root = pdf.add(format!("<< /Type /Catalog /Pages {tree} 0 R >>"));
    let (owner, user) = ("4f".repeat(32), "55".repeat(32));
    let encrypt = pdf.add(format!(
        "<< /Filter /Standard /V 2 /R 3 /Length 128 /P -3904 /O <{owner}> /U <{user}> >>"
    ));
    pdf.write(&format!("/Root {root} 0 R /Encrypt {encrypt} 0 R /ID [<00112233> <00112233>]"))
}

/// The beginning of a good file, from before its first page.
pub(crate) fn truncated() -> Vec<u8> {
    simple_pdf(&["This page never arrives."])[..120].to_vec()
}

/// A header, then a hundred kilobytes that are not PDF.
pub(crate) fn garbage_after_header() -> Vec<u8> {
    let mut random = Random(7);
    let mut out = b"%PDF-1.5\n".to_vec();
    out.extend(std::iter::repeat_with(|| random.byte()).take(100_000));
    out
}

/// A file that is whole but has no pages.
pub(crate) fn no_pages() -> Vec<u8> {
    Builder::default().with_pages(&[])
}

/// Three pages that only show an image, as from a scanner.
pub(crate) fn scanned_only() -> Vec<u8> {
    let mut pdf = Builder::default();
    let image = pdf.stream(
        "/Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray \
         /BitsPerComponent 8",
        &[0, 255, 255, 0],
    );
    let content = pdf.stream("", b"q 500 0 0 700 40 60 cm /Im Do Q");
    let page = format!("/Resources << /XObject << /Im {image} 0 R >> >> /Contents {content} 0 R");
    pdf.with_pages(&[page.clone(), page.clone(), page])
}

/// One page more than is accepted.
pub(crate) fn too_many_pages() -> Vec<u8> {
    simple_pdf(&["A page."; 501])
}

/// A good file made larger than an upload may be, by white space before its end.
pub(crate) fn too_large() -> Vec<u8> {
    let mut out = simple_pdf(&["Small."]);
    out.resize(25 * 1024 * 1024 + 1, b'\n');
    out
}

/// More than five megabytes of text on one page.
pub(crate) fn too_much_text() -> Vec<u8> {
    let mut pdf = Builder::default();
    let font = pdf.helvetica();
    let line = format!("({}) Tj T*\n", "word ".repeat(20));
    let (filter, data) = bomb(line.repeat(1000).as_bytes(), 54, 1);
    let start = pdf.stream("", b"BT /F1 1 Tf 0.01 TL 9 800 Td");
    let text = pdf.stream(&filter, &data);
    let contents = format!("[{start} 0 R {text} 0 R]");
    pdf.with_pages(&[format!("/Resources << /Font << /F1 {font} 0 R >> >> /Contents {contents}")])
}

/// A cross-reference table whose previous table is itself, and a length that refers to its stream.
pub(crate) fn xref_loop() -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    let start = out.len();
    let end = format!(
        "xref\n0 2\n0000000000 65535 f \n{start:010} 00000 n \ntrailer\n\
         << /Size 2 /Root 1 0 R /Prev {start} >>\nstartxref\n{start}\n%%EOF\n"
    );
    out.extend_from_slice(end.as_bytes());
    out
}

/// `file` with some bytes overwritten, one bit flipped here and a stretch removed there.
pub(crate) fn mutated(file: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut out = file.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(out.len());
        out[at] = random.byte();
        let at = random.below(out.len());
        out[at] ^= 1 << random.below(8);
    }
    if random.below(4) == 0 {
        let at = random.below(out.len());
        let length = random.below(64).min(out.len() - at);
        out.drain(at..at + length);
    }
    out
}

/// Xorshift: numbers that look random and are the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
