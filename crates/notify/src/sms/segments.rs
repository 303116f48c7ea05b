//! How many parts an SMS has, and cutting it to so many.
//!
//! A text whose characters are all of the GSM alphabet (3GPP TS 23.038, formerly GSM 03.38, 6.2.1) has 160 of them in one part, or 153 in each
//! of several; those of its extension table (`^{}\[~]|€`) count twice and are never split. Any other text goes as UCS-2: 70 units in one part,
//! 67 in each of several; what takes two units (most emoji) is not split either. The difference is the header that puts parts together
//! (TS 23.040, 9.2.3.24.1).

use unicode_width::UnicodeWidthChar as _;

/// Characters of the default alphabet, without the escape.
const BASIC: &str =
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Characters of its extension table.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// How a text is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits each, of the GSM alphabet.
    Gsm7,
    /// Sixteen bits each.
    Ucs2,
}

/// A text's encoding and its number of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// How it is encoded.
    pub encoding: Encoding,
    /// In how many parts it goes; one if it is empty.
    pub count: u32,
}

/// How a text goes.
pub fn segments(text: &str) -> Segments {
    let encoding =
        if text.chars().all(|letter| BASIC.contains(letter) || EXTENSION.contains(letter)) { Encoding::Gsm7 } else { Encoding::Ucs2 };
    Segments { encoding, count: encoding.parts(text) }
}

/// The text in so many parts at most; what is cut ends with `…`, or `...` where that keeps it in the GSM alphabet. Says whether it was cut.
pub fn cut(text: &str, most: u32) -> (String, bool) {
    let Segments { encoding, count } = segments(text);
    if count <= most.max(1) {
        return (text.to_owned(), false);
    }
    let ellipsis = match encoding {
        Encoding::Gsm7 => "...",
        Encoding::Ucs2 => "…",
    };
    // The longest beginning that fits with what marks the cut. What is left of a text in UCS-2 goes so even if it would not need to.
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let fits = |at: &usize| encoding.parts(&format!("{}{ellipsis}", &text[..*at])) <= most.max(1);
    let mut kept = places.partition_point(fits).saturating_sub(1);
    // Not between a character and what is written onto it, nor where two are joined.
    let splits = |at: usize| {
        let next = text[places[at]..].chars().next();
        let before = text[..places[at]].chars().next_back();
        next.is_some_and(|next| next.width() == Some(0)) || before == Some('\u{200d}')
    };
    while kept > 0 && splits(kept) {
        kept -= 1;
    }
    (format!("{}{ellipsis}", text[..places[kept]].trim_end()), true)
}

impl Encoding {
    /// Units that a character takes.
    fn units(self, letter: char) -> u32 {
        match self {
            Self::Gsm7 => 1 + u32::from(EXTENSION.contains(letter)),
            Self::Ucs2 => u32::try_from(letter.len_utf16()).unwrap_or(2),
        }
    }

    fn parts(self, text: &str) -> u32 {
        let (alone, each) = match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        };
        let mut parts = 1u32;
        let mut filled = 0;
        let mut total = 0u32;
        for units in text.chars().map(|letter| self.units(letter)) {
            total = total.saturating_add(units);
            if filled + units > each {
                parts = parts.saturating_add(1);
                filled = 0;
            }
            filled += units;
        }
        if total <= alone { 1 } else { parts }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn of(text: &str) -> (Encoding, u32) {
        let Segments { encoding, count } = segments(text);
        (encoding, count)
    }

    #[test]
    fn the_alphabet_has_what_the_standard_says() {
        // 128 code points, less the escape.
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENSION.chars().count(), 10);
        for letter in "`çÁ\t…–".chars() {
            assert_eq!(of(&letter.to_string()).0, Encoding::Ucs2, "{letter:?}");
        }
    }

    #[test]
    fn parts_are_counted_as_networks_do() {
        use Encoding::{Gsm7, Ucs2};
        for (text, expected) in [
            (String::new(), (Gsm7, 1)),
            ("a".repeat(160), (Gsm7, 1)),
            ("a".repeat(161), (Gsm7, 2)),
            ("a".repeat(306), (Gsm7, 2)),
            ("a".repeat(307), (Gsm7, 3)),
            ("€".repeat(80), (Gsm7, 1)),
            ("€".repeat(81), (Gsm7, 2)),
            // 152 units and then one of two: it goes to the next part whole.
            (format!("{}€{}", "a".repeat(152), "a".repeat(151)), (Gsm7, 2)),
            (format!("{}€{}", "a".repeat(152), "a".repeat(152)), (Gsm7, 3)),
            ("ç".repeat(70), (Ucs2, 1)),
            ("ç".repeat(71), (Ucs2, 2)),
            ("ç".repeat(134), (Ucs2, 2)),
            ("ç".repeat(135), (Ucs2, 3)),
            ("😀".repeat(35), (Ucs2, 1)),
            ("😀".repeat(36), (Ucs2, 2)),
            // 33 of them are 66 units: the 67th is left free.
            ("😀".repeat(66), (Ucs2, 2)),
            ("😀".repeat(67), (Ucs2, 3)),
        ] {
            assert_eq!(of(&text), expected, "{} of {:?}", text.chars().count(), text.chars().next());
        }
    }

    #[test]
    fn a_cut_is_marked_and_within_the_limit() {
        assert_eq!(cut("short", 1), ("short".into(), false));
        let (text, is_cut) = cut(&"a".repeat(161), 1);
        assert_eq!((text.as_str(), is_cut), (format!("{}...", "a".repeat(157)).as_str(), true));
        let (text, _) = cut(&"é ç".repeat(100), 2);
        assert!(text.ends_with('…') && of(&text) == (Encoding::Ucs2, 2), "{text}");
        assert_eq!(
            cut(&format!("{}{}", "ж".repeat(68), "e\u{301}".repeat(30)), 1).0,
            format!("{}…", "ж".repeat(68)),
            "not e and its accent"
        );
        assert_eq!(cut(&"a".repeat(161), 0).0.len(), 160, "one part is the least");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_to_its_limit(letters in prop::collection::vec(any::<char>(), 0..600), most in 1u32..5) {
            let text = String::from_iter(letters);
            let (short, is_cut) = cut(&text, most);
            prop_assert!(segments(&short).count <= most);
            prop_assert_eq!(is_cut, segments(&text).count > most);
            let begin = short.trim_end_matches(['…', '.']);
            prop_assert!(!is_cut || text.starts_with(begin.trim_end()));
        }

        #[test]
        fn what_is_of_the_alphabet_stays_so(indices in prop::collection::vec(0usize..137, 0..600), most in 1u32..5) {
            let letters: Vec<char> = BASIC.chars().chain(EXTENSION.chars()).collect();
            let text: String = indices.into_iter().map(|at| letters[at]).collect();
            prop_assert_eq!(segments(&cut(&text, most).0).encoding, Encoding::Gsm7);
        }
    }
}
