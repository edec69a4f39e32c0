//! Uploaded bytes to pages of text, through the real child process.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use docent::documents::extract::{ExtractError, Extracted, Extractor, Format, Limits};
use tokio::task::JoinSet;

use crate::hostile_pdf as pdf;

/// One for all tests, because they run at once and each child may take a processor.
static EXTRACTOR: LazyLock<Extractor> =
    LazyLock::new(|| Extractor::new(PathBuf::from(env!("CARGO_BIN_EXE_docent")), 2));

async fn read(bytes: Vec<u8>, format: Format) -> Result<Extracted, ExtractError> {
    EXTRACTOR.extract(Bytes::from(bytes), format).await
}

/// Expects a file to be refused for one of these reasons.
async fn refused(file: Vec<u8>, codes: &[&str]) -> ExtractError {
    let Err(error) = read(file, Format::Pdf).await else {
        panic!("read as a document, not refused for {codes:?}");
    };
    assert!(codes.contains(&error.code()), "{} ({error}), not {codes:?}", error.code());
    error
}

#[tokio::test]
async fn pages_keep_their_numbers_and_texts() {
    let file = pdf::simple_pdf(&["First page: fees (EUR 5).", "", "Third — “and last” page…"]);
    let document = read(file, Format::Pdf).await.unwrap();
    let pages: Vec<(u32, &str)> =
        document.pages.iter().map(|page| (page.number, page.text.as_str())).collect();
    assert_eq!(pages, [(1, "First page: fees (EUR 5)."), (2, ""), (3, "Third — “and last” page…")]);
}

#[tokio::test]
async fn long_paragraphs_come_back_whole() {
    let paragraph = "The reading room opens at nine. ".repeat(60);
    let file = pdf::simple_pdf(&[paragraph.trim()]);
    let document = read(file, Format::Pdf).await.unwrap();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&document.pages[0].text), words(&paragraph));
}

#[tokio::test]
async fn a_file_from_libreoffice_reads_well() {
    let file = include_bytes!("../fixtures/libreoffice.pdf").to_vec();
    let document = read(file, Format::Pdf).await.unwrap();
    assert_eq!(document.title.as_deref(), Some("Reading room handbook"));
    assert_eq!(document.pages.len(), 2);
    let (first, second) = (&document.pages[0].text, &document.pages[1].text);
    assert!(first.contains("the efficient staff will find the offices"), "{first}");
    assert!(first.contains("Copy\t0.50\tper page"), "{first}");
    assert!(second.contains("ימי עבודה מראש (ראו סעיף 4.2)."), "{second}");
    assert!(second.contains("تُفتح قاعة القراءة"), "{second}");
    assert!(second.contains("النسخ 25 درهمًا لكل صفحة (A4)."), "{second}");
}

#[tokio::test]
async fn a_page_printed_by_chromium_keeps_its_columns_apart() {
    let file = include_bytes!("../fixtures/chromium.pdf").to_vec();
    let document = read(file, Format::Pdf).await.unwrap();
    assert_eq!(document.title.as_deref(), Some("Two columns"));
    let text = document.pages[0].text.replace('\n', " ");
    for number in 1..=6 {
        let sentence = format!("Rule {number} says that files are read at the desk they were");
        assert!(text.contains(&sentence), "{number}: {text}");
    }
}

#[tokio::test]
async fn other_formats_are_one_page() {
    let html = b"<!doctype html><title>Fees</title><h2>Copies</h2><p>Five euros.".to_vec();
    let document = read(html, Format::Html).await.unwrap();
    assert_eq!(document.title.as_deref(), Some("Fees"));
    assert_eq!(document.pages[0].text, "## Copies\n\nFive euros.");
    let document = read(b"---\ntitle: Fees\n---\n# Copies\n".to_vec(), Format::Markdown).await;
    assert_eq!(document.unwrap().pages[0].text, "# Copies");
    let document = read(b"caf\xe9\0".to_vec(), Format::Text).await.unwrap();
    assert_eq!((document.pages.len(), document.pages[0].text.as_str()), (1, "café"));
}

#[tokio::test]
async fn what_the_uploader_can_mend_is_named() {
    refused(Vec::new(), &["empty"]).await;
    refused(pdf::encrypted(), &["encrypted"]).await;
    refused(pdf::truncated(), &["broken"]).await;
    refused(pdf::garbage_after_header(), &["broken"]).await;
    refused(pdf::no_pages(), &["broken"]).await;
    refused(pdf::too_large(), &["too_large_file"]).await;
    refused(pdf::too_much_text(), &["too_much_text"]).await;
    let scan = refused(pdf::scanned_only(), &["scanned_only"]).await;
    assert_eq!(scan, ExtractError::ScannedOnly { pages: 3 });
    assert!(scan.to_string().contains("OCR"));
    let long = refused(pdf::too_many_pages(), &["too_many_pages"]).await;
    assert_eq!(long, ExtractError::TooManyPages { pages: 501, limit: 500 });
}

#[tokio::test]
async fn loops_and_nesting_end() {
    let harmless = &["broken", "scanned_only", "crashed", "timed_out"];
    refused(pdf::self_calling_form(), harmless).await;
    refused(pdf::page_tree_loop(), harmless).await;
    refused(pdf::xref_loop(), harmless).await;
    refused(pdf::deep_arrays(), harmless).await;
    refused(pdf::deep_dictionaries(), harmless).await;
}

#[tokio::test]
async fn work_without_end_is_cut_off() {
    refused(pdf::form_fan_out(), &["timed_out"]).await;
}

#[tokio::test]
async fn bombs_go_off_in_the_child_only() {
    let spent = &["out_of_memory", "timed_out", "too_much_text"];
    refused(pdf::flate_bomb(), spent).await;
    refused(pdf::object_stream_bomb(), &["out_of_memory", "timed_out", "broken"]).await;
    refused(pdf::million_operators(), spent).await;
    refused(pdf::million_saved_states(), &["out_of_memory", "timed_out"]).await;
}

#[tokio::test]
async fn two_hundred_damaged_files_end() {
    let file = pdf::simple_pdf(&["One page of honest text.", "And another.", "And a last one."]);
    let mut all = JoinSet::new();
    for seed in 0..200 {
        let file = Bytes::from(pdf::mutated(&file, seed));
        all.spawn(async move { (seed, EXTRACTOR.extract(file, Format::Pdf).await) });
    }
    let mut read = 0;
    while let Some(done) = all.join_next().await {
        match done.unwrap() {
            (_, Ok(document)) => {
                read += 1;
                assert!(document.pages.iter().all(|page| !page.text.contains('\0')));
            }
            (seed, Err(error)) => {
                let expected = ["broken", "scanned_only", "encrypted", "crashed"];
                assert!(expected.contains(&error.code()), "seed {seed}: {error}");
            }
        }
    }
    assert!(read > 50, "only {read} were read, so the files are too damaged to test much");
}

#[tokio::test]
async fn a_child_that_dies_or_floods_does_not_hold_us_up() {
    let large = Bytes::from(vec![b'a'; 20 * 1024 * 1024]);
    for program in ["/bin/true", "/bin/false", "/usr/bin/yes"] {
        let started = Instant::now();
        let extractor = Extractor::new(PathBuf::from(program), 1);
        let result = extractor.extract(large.clone(), Format::Text).await;
        assert_eq!(result, Err(ExtractError::Crashed), "{program}");
        assert!(started.elapsed() < Duration::from_secs(30), "{program}");
    }
    let missing = Extractor::new(PathBuf::from("/nonexistent"), 1);
    let result = missing.extract(large, Format::Text).await;
    assert_eq!(result, Err(ExtractError::Unavailable));
}

#[tokio::test]
async fn the_wall_clock_counts_as_well() {
    let limits = Limits { wall: Duration::from_millis(1), ..Limits::default() };
    let extractor = EXTRACTOR.clone().with_limits(limits);
    let file = Bytes::from(pdf::simple_pdf(&["Late."; 400]));
    let result = extractor.extract(file, Format::Pdf).await;
    assert_eq!(result, Err(ExtractError::TimedOut));
}
