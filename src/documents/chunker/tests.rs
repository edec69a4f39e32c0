//! What chunks promise, by example and by property.

use proptest::prelude::*;

use super::{Chunk, ChunkOptions, chunk};
use crate::{documents::extract::Page, text::tokens};

fn pages(texts: &[&str]) -> Vec<Page> {
    let page = |(number, text): (u32, &&str)| Page { number, text: (*text).to_owned() };
    (1..).zip(texts).map(page).collect()
}

fn small(target: u32, overlap: u32) -> ChunkOptions {
    ChunkOptions { target, overlap }
}

fn prose(from: usize, sentences: usize) -> String {
    (from..from + sentences).map(|n| format!("This is sentence number {n} of the text. ")).collect()
}

#[test]
fn a_heading_begins_a_chunk_and_is_repeated_in_its_section() {
    let text = format!("Intro words.\n# One\n## Sub\n{}\n# Two\nShort.", prose(0, 12));
    let chunks = chunk(&pages(&[&text]), &small(60, 12));
    assert_eq!(chunks[0].text, "Intro words.");
    assert!(chunks[1].text.starts_with("# One\n## Sub\nThis is sentence number 0"));
    assert!(chunks[2].text.starts_with("## Sub\nThis is sentence"), "{}", chunks[2].text);
    assert_eq!(chunks.last().unwrap().text, "# Two\nShort.");
    assert!(chunks.iter().zip(0..).all(|(chunk, seq)| chunk.seq == seq));
}

#[test]
fn whole_sentences_overlap_within_a_page() {
    let chunks = chunk(&pages(&[&prose(0, 20)]), &small(60, 12));
    for pair in chunks.windows(2) {
        let repeated = pair[1].text.split_inclusive(". ").next().unwrap().trim();
        assert!(pair[0].text.ends_with(repeated), "{pair:?}");
    }
    let apart = chunk(&pages(&[&prose(0, 20)]), &small(60, 0));
    assert_eq!(apart.iter().map(|c| c.text.clone() + " ").collect::<String>(), prose(0, 20));
}

#[test]
fn a_page_end_closes_a_chunk() {
    let texts = [prose(0, 5), prose(5, 5), prose(10, 1), String::new(), "The end.".to_owned()];
    let chunks = chunk(&pages(&texts.each_ref().map(String::as_str)), &small(60, 12));
    let spans: Vec<_> = chunks.iter().map(|chunk| (chunk.page, chunk.page_end)).collect();
    assert_eq!(spans, [(1, 1), (2, 2), (3, 3), (5, 5)]);
    assert_eq!(chunks[1].text, prose(5, 5).trim(), "and nothing is repeated over it");
}

#[test]
fn rows_and_items_are_never_cut() {
    let rows: Vec<String> = (0..60).map(|n| format!("| row {n} | value {n}. Note. |")).collect();
    let chunks = chunk(&pages(&[&rows.join("\n")]), &small(80, 0));
    let lines: Vec<_> = chunks.iter().flat_map(|c| c.text.lines()).collect();
    assert_eq!(lines, rows);
}

#[test]
fn extremes_are_survived() {
    assert!(chunk(&[], &ChunkOptions::default()).is_empty());
    assert!(chunk(&pages(&["", " \n\u{c}\t "]), &ChunkOptions::default()).is_empty());
    let wall = "x".repeat(3_000);
    let one_line = "lorem ipsum ".repeat(600);
    let heading = format!("# {}", "very long ".repeat(300));
    let emoji = "👩‍👩‍👧‍👦".repeat(100);
    for text in
        [wall, one_line, heading, emoji, "\n# \n#\n".repeat(50), "\0\u{feff}\u{202e}a".into()]
    {
        for options in [ChunkOptions::default(), small(0, 400), small(16, 16), small(40, 400)] {
            let chunks = chunk(&pages(&[&text, &text]), &options);
            check(&chunks, &options);
            assert!(!chunks.is_empty());
        }
    }
}

/// What holds for any chunks.
fn check(chunks: &[Chunk], options: &ChunkOptions) {
    for chunk in chunks {
        assert!(chunk.tokens <= options.target.max(16), "{chunk:?}");
        assert_eq!(chunk.tokens, tokens::count(&chunk.text));
        assert!(chunk.page == chunk.page_end && !chunk.text.trim().is_empty());
    }
    for pair in chunks.windows(2) {
        assert!(pair[0].page <= pair[1].page && pair[0].page_end <= pair[1].page_end);
        assert_eq!(pair[0].seq + 1, pair[1].seq);
    }
}

fn line() -> impl Strategy<Value = String> {
    let words = || proptest::collection::vec("[a-zA-ZäöüÄ0-9]{1,9}|漢字|[.!?,:;()-]", 1..25);
    prop_oneof![
        6 => words().prop_map(|words| words.join(" ")),
        3 => words().prop_map(|words| words.join(" ") + "."),
        1 => words().prop_map(|words| format!("## {}", words.join(" "))),
        1 => words().prop_map(|words| format!("- {}", words.join(" "))),
        1 => words().prop_map(|words| format!("| {} |", words.join(" | "))),
        1 => Just("```".to_owned()),
        2 => Just(String::new()),
    ]
}

fn document() -> impl Strategy<Value = Vec<Page>> {
    let page = proptest::collection::vec(line(), 0..14).prop_map(|lines| lines.join("\n"));
    proptest::collection::vec(page, 0..7)
        .prop_map(|texts| (3..).zip(texts).map(|(number, text)| Page { number, text }).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn any_document_is_chunked_as_promised(
        pages in document(), target in 16_u32..200, overlap in 0_u32..60,
    ) {
        let options = small(target, overlap);
        let chunks = chunk(&pages, &options);
        check(&chunks, &options);
        prop_assert_eq!(&chunks, &chunk(&pages, &options));

        // Every word is there, in order, on a page of its chunk.
        let mut found = chunks.iter().flat_map(|chunk| {
            chunk.text.split_whitespace().map(move |word| (word, chunk.page, chunk.page_end))
        });
        for page in &pages {
            for word in page.text.split_whitespace() {
                prop_assert!(
                    found.any(|(other, from, to)| {
                        other == word && (from..=to).contains(&page.number)
                    }),
                    "{} of page {} is lost", word, page.number
                );
            }
        }
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,300}", target in 0_u32..60, overlap in 0_u32..60) {
        let options = small(target, overlap);
        check(&chunk(&pages(&[&text]), &options), &options);
    }
}
