//! Sentences, in Unicode's sense, with the false stops taken out.
//!
//! Unicode's rules end a sentence after "Dr.", "z. B." and "3."; here such pieces are joined to
//! what follows. Joining once too often is harmless (a longer sentence); cutting a sentence in half
//! is not. A line break does not end a sentence: pages are hard-wrapped.

use unicode_segmentation::UnicodeSegmentation as _;

/// Lower-case, without the final dot; single letters and bare numbers need no entry.
const ABBREVIATIONS: &[&str] = &[
    "abb", "abs", "al", "approx", "art", "av", "bzgl", "bzw", "ca", "cf", "co", "corp", "dept",
    "dr", "ed", "eds", "eg", "env", "eq", "est", "etc", "evtl", "fig", "figs", "gem", "ggf", "hr",
    "ie", "inc", "inkl", "jr", "ltd", "max", "mbh", "min", "mio", "mme", "mr", "mrs", "ms", "no",
    "nos", "nr", "num", "pag", "par", "pp", "prof", "resp", "rev", "sec", "sect", "sog", "sr",
    "sra", "st", "str", "tel", "usw", "vgl", "vol", "vs", "zzgl",
];

/// The sentences of one paragraph, each with the whitespace that follows it: joined they are
/// `paragraph`.
pub fn sentences(paragraph: &str) -> impl Iterator<Item = &str> {
    // Same length in bytes, so that positions agree.
    let unwrapped: String = paragraph
        .chars()
        .map(|c| if matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}') { ' ' } else { c })
        .collect();
    let mut ends: Vec<usize> = Vec::new();
    let mut end = 0;
    for piece in unwrapped.split_sentence_bounds() {
        if end > 0 && !ends_falsely(unwrapped.get(..end).unwrap_or_default()) {
            ends.push(end);
        }
        end += piece.len();
    }
    if end > 0 {
        ends.push(end);
    }
    let mut start = 0;
    ends.into_iter().filter_map(move |end| {
        let sentence = paragraph.get(start..end);
        start = end;
        sentence
    })
}

/// Whether `text`, which Unicode takes to end a sentence, ends in an abbreviation or an ordinal.
fn ends_falsely(text: &str) -> bool {
    let Some(text) = text.trim_end().strip_suffix('.') else {
        return false;
    };
    let word = text.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        (None, _) => false,
        // One letter is an initial or the "B" of "z. B.". Not so "I." and, in Han, a word.
        (Some(letter), None) => {
            letter.is_alphabetic() && letter.len_utf8() < 3 || letter.is_numeric()
        }
        _ if word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit()) => true,
        _ => word.len() <= 6 && ABBREVIATIONS.binary_search(&word.to_lowercase().as_str()).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).map(str::trim).collect()
    }

    #[test]
    fn ends_where_people_end_them() {
        assert_eq!(split("One. Two! Three?"), ["One.", "Two!", "Three?"]);
        assert_eq!(split("A line\nwraps here. Next"), ["A line\nwraps here.", "Next"]);
        assert_eq!(split("“Quoted.” Then."), ["“Quoted.”", "Then."]);
        assert_eq!(split("休暇は二十日。申請は必要。"), ["休暇は二十日。", "申請は必要。"]);
        assert!(split("").is_empty());
    }

    #[test]
    fn abbreviations_initials_and_ordinals_go_on() {
        for whole in [
            "See Dr. Smith about it.",
            "Das gilt z. B. Montags.",
            "Gemäß Art. 5 Abs. 2 gilt das.",
            "Am 3. Mai ist frei.",
            "J. R. Example signed.",
        ] {
            assert_eq!(split(whole), [whole]);
        }
        assert_eq!(split("In the year 2026. Next.").len(), 2);
    }

    #[test]
    fn abbreviations_are_sorted_so_that_they_are_found() {
        assert!(ABBREVIATIONS.is_sorted_by(|a, b| a < b));
    }

    proptest! {
        #[test]
        fn sentences_join_to_the_paragraph(text in "[a-zA-Z0-9äß漢。.!? \\n\\r]{0,80}|\\PC{0,40}") {
            prop_assert_eq!(sentences(&text).collect::<String>(), text);
        }
    }
}
