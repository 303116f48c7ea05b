//! Text for people: made from templates and from what devices say, and harmless wherever it goes.
//!
//! Nothing that a device says is trusted. [`neutral`] takes out what would move a cursor or turn the direction of writing around;
//! [`Sink::escape`] does what the place needs where the text is put; a [`template`] can only ever fill in values.

mod plain;
pub mod template;

pub use plain::{bytes, duration, percent};
pub use template::{render, render_or_plain};

use std::fmt::Write as _;

/// Where a text is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    /// One line of plain text: a summary, the subject of a mail, an SMS.
    Line,
    /// Between HTML tags, or in a quoted attribute.
    Html,
    /// Inside the quotes of a JSON string.
    Json,
    /// A name or a value of an HTML form's or a URL's query (`application/x-www-form-urlencoded`).
    Form,
}

impl Sink {
    /// The text so that it stays what it is in this place: one text, without control characters, that ends nothing around it.
    pub fn escape(self, text: &str) -> String {
        let text = neutral(text);
        match self {
            Self::Line => text,
            Self::Html => html(&text),
            Self::Json => json(&text),
            Self::Form => form(&text),
        }
    }
}

/// The text in one line: control characters and line ends are spaces; what turns the direction of writing around (Unicode's bidirectional
/// controls, by which a text can look like another), what can't be seen and what marks languages is left out. Joiners stay: scripts need them.
pub fn neutral(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\u{2028}' | '\u{2029}' => clean.push(' '),
            letter if letter.is_control() => clean.push(' '),
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => {}
            '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => {}
            letter => clean.push(letter),
        }
    }
    clean
}

/// The text in so many characters at most; what is cut ends with `…`.
pub fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// RFC 3986's unreserved characters stay, all else is percent-encoded UTF-8; no `+`, which not every server takes for a space.
fn form(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_the_writing_around_is_taken_out() {
        let hostile = "eth0\r\nBcc: x@y\t\u{1b}[31mred\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}\u{85}\u{2028}end";
        assert_eq!(neutral(hostile), "eth0  Bcc: x@y  [31mredgpj.exe  end");
        let scripts = "क्‍ष می‌خواهم 👩‍🔧 ﬁ";
        assert_eq!(neutral(scripts), scripts, "joiners are part of how these are written");
    }

    #[test]
    fn each_place_gets_its_own_escapes() {
        let text = "<a href=\"x\">&'\\ é\n\u{7f}";
        assert_eq!(Sink::Line.escape(text), "<a href=\"x\">&'\\ é  ");
        assert_eq!(Sink::Html.escape(text), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\\ é  ");
        assert_eq!(Sink::Json.escape(text), "<a href=\\\"x\\\">&'\\\\ é  ");
        assert_eq!(Sink::Form.escape(text), "%3Ca%20href%3D%22x%22%3E%26%27%5C%20%C3%A9%20%20");
    }

    #[test]
    fn a_cut_is_between_characters() {
        assert_eq!((cut("äöü", 3).as_str(), cut("äöüß", 3).as_str(), cut("ab", 0).as_str()), ("äöü", "äö…", "…"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_out(text in prop::collection::vec(any::<char>(), 0..64).prop_map(String::from_iter)) {
            let line = Sink::Line.escape(&text);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert_eq!(neutral(&line), line.clone());
            prop_assert!(!Sink::Html.escape(&text).contains(['<', '>', '"', '\'']));
            let json = format!("\"{}\"", Sink::Json.escape(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), line);
            let form = Sink::Form.escape(&text);
            prop_assert!(form.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{}", form);
        }
    }
}
