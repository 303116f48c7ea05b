//! Names of users and groups: what may be one, so that nobody looks like somebody else, and nothing that shows them is led astray.

/// The longest name of a local user.
const LOCAL: usize = 64;
/// The longest name that a provider may give: an address of mail.
const VOUCHED: usize = 254;
/// The longest name of a group.
const GROUP: usize = 256;
/// The longest name that people call each other by.
const DISPLAY: usize = 100;
/// Groups of one user.
pub(crate) const GROUPS: usize = 200;
/// Whom the audit log knows already.
const TAKEN: [&str; 5] = ["evenkeel", "token", "root", "unknown", "anonymous"];

/// A local user's name: lower case, since two that differ in nothing else look the same.
pub(crate) fn local(name: &str) -> Result<(), String> {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-+@".contains(letter);
    let begins = name.starts_with(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    if name.len() > LOCAL || !begins || !name.chars().all(allowed) {
        return Err(format!(
            "a user's name has at most {LOCAL} of the letters a-z, digits and . _ - + @, and begins with a letter or a digit"
        ));
    }
    if TAKEN.contains(&name) { Err(format!("{name} is no name for a user: the engine uses it itself")) } else { Ok(()) }
}

/// A name that a provider gives. A colon is Kubernetes' own: `system:masters`.
pub(crate) fn vouched(name: &str) -> Result<(), String> {
    let allowed = |letter: char| letter.is_ascii_graphic() && !":/\\\"'<>`".contains(letter);
    if name.is_empty() || name.len() > VOUCHED || !name.chars().all(allowed) || TAKEN.contains(&name) {
        return Err("the name that the provider gives can't be one here: ASCII letters, digits and signs, without spaces".into());
    }
    Ok(())
}

/// A group's name.
pub(crate) fn group(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > GROUP || !is_plain(name) || name.trim() != name {
        return Err(format!("a group's name has 1 to {GROUP} bytes, and no spaces around it"));
    }
    Ok(())
}

/// What people call somebody.
pub(crate) fn display(name: &str) -> Result<(), String> {
    if name.chars().count() > DISPLAY || !is_plain(name) {
        return Err(format!("a display name has at most {DISPLAY} characters, in one line"));
    }
    Ok(())
}

/// An address of mail, or nothing.
pub(crate) fn email(address: &str) -> Result<(), String> {
    let is_one = address.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if address.is_empty() || (is_one && address.len() <= VOUCHED && is_plain(address) && !address.contains(char::is_whitespace)) {
        return Ok(());
    }
    Err("that is no address of mail, such as alice@example.com".into())
}

/// Nothing that ends a line, is not seen, or turns the direction of what follows.
pub(crate) fn is_plain(text: &str) -> bool {
    let turns = |letter: char| matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !text.chars().any(|letter| letter.is_control() || turns(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["alice", "a", "alice.b-c_d+e@example.com", "0day"] {
            local(name).unwrap();
        }
        let long = "a".repeat(65);
        // The last but one begins with a Cyrillic letter.
        for name in ["", "Alice", "al ice", "alice\r\n", ".alice", "system:masters", "root", "токен", "аlice", &long] {
            assert!(local(name).is_err(), "{name:?}");
        }
        vouched("Alice@Example.com").unwrap();
        for name in ["", "system:masters", "alice\n", "<b>", "a b", "evenkeel", "аlice"] {
            assert!(vouched(name).is_err(), "{name:?}");
        }
        group("cn=web,ou=Groups, dc=example").unwrap();
        assert!(group(" web").is_err() && group("").is_err() && group("a\u{202e}b").is_err());
        display("李 Ada Lovelace").unwrap();
        assert!(display("a\u{202e}b").is_err() && display("a\nb").is_err());
        email("").unwrap();
        email("a@b").unwrap();
        assert!(email("a").is_err() && email("a@b\r\nBcc: c@d").is_err() && email("@b").is_err());
    }
}
