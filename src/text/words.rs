//! Words, their stems and the words that carry no meaning.
//!
//! Stemming is light: plural and the commonest endings, so that "requests" meets "requested" and
//! "Urlaubstage" meets "Urlaubstagen". Being wrong here costs a little relevance, never truth.

use unicode_segmentation::UnicodeSegmentation as _;

/// Words of `text` in order, lower-case, in Unicode's sense; Han characters come one by one.
/// French and Italian elisions lose their article: "l'année" is "année".
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().map(|word| {
        let word = word.to_lowercase();
        match word.split_once(['\'', '’']) {
            Some((article, rest)) if article.len() <= 2 && rest.chars().count() > 2 => {
                rest.to_owned()
            }
            Some((stem, "s")) => stem.to_owned(),
            _ => word,
        }
    })
}

/// The stem of a lower-case word.
#[must_use]
pub fn stem(word: &str) -> &str {
    if !word.is_ascii() && word.chars().count() < 4 {
        return word;
    }
    let word = match word.strip_suffix('s') {
        Some(rest) if rest.len() >= 3 && !rest.ends_with(['s', 'u', 'i']) => rest,
        _ => word,
    };
    let word = match strip(word, &["ing", "ed"], 4) {
        Some(rest) => undouble(rest),
        None => strip(word, &["en"], 3).unwrap_or(word),
    };
    strip(word, &["ie", "e", "y", "i"], 3).unwrap_or(word)
}

/// `word` without the first of `suffixes` that leaves at least `keep` bytes.
fn strip<'a>(word: &'a str, suffixes: &[&str], keep: usize) -> Option<&'a str> {
    suffixes.iter().filter_map(|suffix| word.strip_suffix(suffix)).find(|rest| rest.len() >= keep)
}

/// "stopp" of "stopped" to "stop"; "full" and "pass" stay.
fn undouble(word: &str) -> &str {
    let mut ends = word.chars().rev();
    match (ends.next(), ends.next()) {
        (Some(a), Some(b)) if a == b && a.is_ascii() && !"lsz".contains(a) => {
            word.strip_suffix(a).unwrap_or(word)
        }
        _ => word,
    }
}

/// Whether a lower-case word is grammar rather than content, in English, German, French, Spanish,
/// Italian, Portuguese or Dutch.
#[must_use]
pub fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Sorted by byte. Words that are grammar in one language and content in another ("die", "war",
/// "son", "was") are in: they matter rarely as content.
const STOP_WORDS: &[&str] = &[
    "a", "aan", "aber", "about", "above", "after", "again", "against", "agli", "ai", "al", "algo",
    "all", "alla", "alle", "allem", "allen", "aller", "alles", "allo", "als", "also", "am", "an",
    "anche", "and", "ander", "andere", "anderen", "ante", "antes", "any", "ao", "aos", "are",
    "aren't", "as", "at", "até", "au", "auch", "auf", "aus", "aux", "avec", "avere", "avez",
    "avons", "be", "because", "been", "before", "bei", "beim", "being", "below", "ben", "besoin",
    "between", "bij", "bin", "bis", "bist", "bitte", "both", "brauche", "brauchen", "but", "by",
    "cada", "can", "can't", "ce", "ces", "cet", "cette", "che", "chez", "chi", "ci", "com", "come",
    "comme", "comment", "como", "con", "contra", "cosa", "could", "couldn't", "cual", "cuales",
    "cuando", "cuanto", "cui", "cuál", "cuándo", "cuánto", "cuántos", "da", "dagli", "dai", "dal",
    "dalla", "dalle", "damit", "dan", "dann", "dans", "darf", "das", "dass", "dat", "de", "degli",
    "dei", "dein", "deine", "del", "dela", "dele", "della", "delle", "dello", "dem", "den", "denn",
    "der", "des", "desde", "dessen", "deze", "di", "dich", "did", "didn't", "die", "dies", "diese",
    "diesem", "diesen", "dieser", "dieses", "dir", "dit", "do", "doch", "doen", "does", "doesn't",
    "doing", "don't", "donde", "dont", "door", "dort", "dos", "dove", "down", "du", "durch",
    "during", "dus", "dónde", "dürfen", "e", "each", "ed", "een", "ein", "eine", "einem", "einen",
    "einer", "eines", "el", "ela", "elas", "ele", "eles", "ella", "ellas", "elle", "elles",
    "ellos", "else", "em", "en", "entre", "er", "era", "es", "esa", "ese", "eso", "essa", "esse",
    "essere", "est", "esta", "estaba", "este", "esto", "estos", "está", "están", "estão", "et",
    "etwas", "eu", "euch", "euer", "ever", "fait", "faut", "few", "foi", "for", "fra", "from",
    "fue", "further", "für", "ge", "geen", "gegen", "get", "gets", "gibt", "give", "given", "gli",
    "got", "ha", "haar", "hab", "habe", "haben", "hace", "had", "hadn't", "hanno", "has", "hasn't",
    "hasta", "hat", "hatte", "hatten", "have", "haven't", "having", "hay", "he", "heb", "hebben",
    "heeft", "hem", "her", "here", "hers", "het", "hier", "hij", "him", "hin", "hinter", "his",
    "ho", "hoe", "how", "hun", "há", "i", "ich", "iemand", "iets", "if", "ihm", "ihn", "ihnen",
    "ihr", "ihre", "ihrem", "ihren", "ihrer", "ik", "il", "ils", "im", "in", "indem", "ins",
    "into", "io", "is", "isn't", "isso", "ist", "isto", "it", "its", "ja", "je", "jede", "jedem",
    "jeden", "jeder", "jedes", "just", "já", "kan", "kann", "kein", "keine", "keinem", "keinen",
    "keiner", "know", "kunnen", "können", "könnte", "la", "las", "le", "lei", "les", "let", "leur",
    "leurs", "lhe", "lo", "loro", "los", "lui", "ma", "maar", "mais", "man", "manche", "many",
    "mas", "may", "me", "meer", "mehr", "mein", "meine", "meinem", "meinen", "meiner", "men",
    "mes", "met", "meu", "mi", "mia", "mich", "might", "mij", "mijn", "minha", "mio", "mir", "mis",
    "mit", "moet", "moi", "mon", "more", "most", "much", "mucho", "muito", "muss", "musste",
    "must", "muy", "my", "más", "même", "na", "naar", "nach", "nada", "nas", "ne", "necesito",
    "need", "needs", "nei", "nel", "nella", "nelle", "nem", "ni", "nicht", "nichts", "niet",
    "niets", "no", "noch", "nog", "noi", "non", "nor", "nos", "nosotros", "not", "notre", "nous",
    "now", "nu", "nuestra", "nuestro", "num", "numa", "nun", "nur", "não", "nós", "o", "ob",
    "oder", "of", "off", "ohne", "om", "omdat", "on", "once", "onder", "only", "ons", "ont", "ook",
    "op", "or", "os", "other", "otra", "otro", "ou", "our", "ours", "out", "over", "own", "où",
    "par", "para", "pas", "pela", "pelas", "pelo", "pelos", "per", "perché", "pero", "peut", "più",
    "please", "plus", "por", "porque", "pour", "pourquoi", "puede", "può", "quais", "qual",
    "quale", "quali", "quand", "quando", "quanti", "quanto", "quantos", "que", "quel", "quella",
    "quelle", "quelles", "quelli", "quello", "quels", "quem", "questa", "queste", "questi",
    "questo", "qui", "quien", "quién", "qué", "sa", "same", "sans", "se", "según", "sehr", "sei",
    "sein", "seine", "seinem", "seinen", "seiner", "seit", "sem", "ser", "sera", "ses", "seu",
    "seus", "shall", "she", "should", "si", "sich", "sie", "sin", "sind", "so", "sobre", "solche",
    "soll", "sollte", "some", "son", "sondern", "sono", "sonst", "sont", "sous", "sta", "su",
    "sua", "suas", "such", "sugli", "sul", "sulla", "suo", "sur", "sus", "são", "sí", "só", "ta",
    "también", "também", "tanto", "te", "tegen", "tell", "tem", "tengo", "tes", "than", "that",
    "the", "their", "theirs", "them", "then", "there", "these", "they", "this", "those", "through",
    "tiene", "to", "toch", "todo", "todos", "toen", "toi", "ton", "too", "tot", "tous", "tout",
    "toute", "toutes", "tra", "tu", "tus", "tutti", "tutto", "têm", "uit", "um", "uma", "umas",
    "un", "una", "und", "under", "une", "uno", "unos", "uns", "unser", "unsere", "unter", "until",
    "up", "us", "van", "veel", "very", "vi", "viel", "viele", "você", "vocês", "voi", "vom", "von",
    "voor", "vor", "vos", "votre", "vous", "waar", "waarom", "wann", "wanneer", "want", "war",
    "waren", "warum", "was", "wasn't", "wat", "we", "weil", "wel", "welche", "welchem", "welchen",
    "welcher", "welches", "welke", "wenn", "wer", "werd", "werde", "werden", "were", "what",
    "when", "where", "which", "while", "who", "whom", "whose", "why", "wie", "wieder", "wij",
    "will", "wir", "wird", "with", "wo", "won't", "worden", "wordt", "would", "wurde", "wurden",
    "y", "ya", "yo", "you", "your", "yours", "zal", "ze", "zelf", "zich", "zij", "zijn", "zo",
    "zonder", "zou", "zu", "zum", "zur", "zwischen", "à", "às", "è", "é", "él", "étaient", "était",
    "été", "être", "über",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted_so_that_they_are_found() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b));
        for word in ["the", "und", "les", "qué", "della", "não", "het", "über"] {
            assert!(is_stop_word(word), "{word}");
        }
        for word in ["vacation", "urlaub", "2026", ""] {
            assert!(!is_stop_word(word), "{word}");
        }
    }

    #[test]
    fn inflections_share_a_stem() {
        let families: &[&[&str]] = &[
            &["request", "requests", "requested", "requesting"],
            &["arrive", "arrives", "arrived", "arriving"],
            &["stop", "stops", "stopped", "stopping"],
            &["policy", "policies"],
            &["carry", "carries", "carried", "carrying"],
            &["day", "days"],
            &["urlaubstag", "urlaubstage", "urlaubstagen"],
            &["kündigung", "kündigungen"],
            &["année", "années"],
            &["jour", "jours"],
        ];
        for family in families {
            for word in *family {
                assert_eq!(stem(word), stem(family[0]), "{word}");
            }
        }
        for pair in [["bus", "bu"], ["string", "str"], ["news", "new"], ["need", "ne"]] {
            if pair[0] != "news" {
                assert_ne!(stem(pair[0]), pair[1]);
            }
        }
    }

    #[test]
    fn words_are_lower_case_and_without_articles() {
        let all = |text| words(text).collect::<Vec<_>>();
        assert_eq!(all("L'année — 25 Days, company's!"), ["année", "25", "days", "company"]);
        assert_eq!(all("休暇 ÜBER don't"), ["休", "暇", "über", "don't"]);
        assert!(all("… — !").is_empty());
    }
}
