//! The plain text of a mail, 72 columns wide.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::words::{Line, View};

/// Columns: what a mail can be quoted in and stays readable (RFC 3676 says 66 to 72).
const COLUMNS: usize = 72;

/// The whole text.
pub(super) fn text(view: &View, notes: &[String]) -> String {
    let mut text = String::new();
    wrap(&mut text, "", &format!("{}: {}", view.headline, view.title));
    wrap(&mut text, "", &view.reason);
    for note in notes {
        wrap(&mut text, "", note);
    }
    for (word, line) in view.lines() {
        alert(&mut text, word, line);
    }
    if view.left_off > 0 {
        let (verb, many) = if view.left_off == 1 { ("is", "") } else { ("are", "s") };
        text.push('\n');
        wrap(&mut text, "", &format!("{} more alert{many} {verb} not listed here.", view.left_off));
    }
    text.push('\n');
    if let Some(url) = &view.url {
        wrap(&mut text, "", url);
    }
    // What follows is a signature, by an old rule of mail.
    text.push_str("-- \n");
    wrap(&mut text, "", &format!("Evenkeel to receiver {}, notice {}", view.receiver, view.id));
    text
}

fn alert(text: &mut String, word: &str, line: &Line) {
    text.push('\n');
    wrap(text, "", &format!("{}  {}", word.to_uppercase(), line.device));
    let labels: Vec<String> = line.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let rows = [
        Some(line.summary.clone()),
        Some(line.when.clone()),
        line.change.as_ref().map(|change| format!("last change: {change}")),
        line.behind.clone(),
        Some(format!("rule {}, alert {}", line.rule, line.id)),
        Some(labels).filter(|labels| !labels.is_empty()).map(|labels| format!("labels: {}", labels.join(", "))),
    ];
    for row in rows.into_iter().flatten().filter(|row| !row.is_empty()) {
        wrap(text, "  ", &row);
    }
}

/// Writes a paragraph in lines that are no wider; a word that is wider has to be broken, but for a URL, which would be none any more.
fn wrap(text: &mut String, indent: &str, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
        for piece in pieces(word, COLUMNS - indent.width()) {
            let width = piece.width();
            if column > 0 && column + 1 + width > COLUMNS {
                text.push('\n');
                column = 0;
            }
            if column == 0 {
                text.push_str(indent);
                column = indent.width();
            } else {
                text.push(' ');
                column += 1;
            }
            text.push_str(piece);
            column += width;
        }
    }
    text.push('\n');
}

fn pieces(word: &str, columns: usize) -> Vec<&str> {
    if word.width() <= columns || word.starts_with("https://") || word.starts_with("http://") {
        return vec![word];
    }
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut width = 0;
    for (at, letter) in word.char_indices() {
        let own = letter.width().unwrap_or(0);
        if width + own > columns {
            pieces.push(&word[begin..at]);
            begin = at;
            width = 0;
        }
        width += own;
    }
    pieces.push(&word[begin..]);
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn wrapped(paragraph: &str) -> String {
        let mut text = String::new();
        wrap(&mut text, "  ", paragraph);
        text
    }

    #[test]
    fn words_go_to_the_next_line_and_urls_stay_whole() {
        let url = format!("https://example.com/{}", "x".repeat(80));
        assert_eq!(wrapped(&format!("see {url} for more")), format!("  see\n  {url}\n  for more\n"));
        assert_eq!(wrapped(&"x".repeat(100)), format!("  {}\n  {}\n", "x".repeat(70), "x".repeat(30)));
        assert_eq!(wrapped("日本".repeat(20).as_str()).lines().next().unwrap().width(), 72, "wide characters take two columns");
    }

    proptest! {
        #[test]
        fn no_line_is_wider(text in prop::collection::vec(any::<char>(), 0..400).prop_map(String::from_iter)) {
            let neutral = reconcile::alerting::text::neutral(&text).replace("http", "");
            let wrapped = wrapped(&neutral);
            prop_assert!(wrapped.lines().all(|line| line.width() <= COLUMNS), "{wrapped}");
            let letters = |text: &str| text.chars().filter(|letter| !" \n".contains(*letter)).collect::<String>();
            prop_assert_eq!(letters(&wrapped), letters(&neutral));
        }
    }
}
