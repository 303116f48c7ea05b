//! An account on a device: who may log in by which keys, and what they may run as root.

use serde::{Deserialize, Serialize};

use super::{Change, Digest, short};
use crate::observed::{ItemKey, ItemSeen};

/// Characters of a sudo rule that would mean something to sudo; see sudoers(5), "Other special characters and reserved words".
const SPECIAL: [char; 4] = [',', ':', '=', '\\'];

/// An account on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its name.
    pub user: String,
    /// Public keys that may log in, and no others.
    pub authorized_keys: Vec<String>,
    /// Commands that may be run as root without a password: `ALL`, or an absolute path with its arguments.
    pub sudo: Vec<String>,
}

impl Account {
    /// The item of a device that it decides.
    pub fn key(&self) -> ItemKey {
        ItemKey::account(&self.user)
    }

    /// The file of its keys; see sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
    pub fn keys_file(&self) -> String {
        let mut text = "# Kept by Evenkeel: what is changed here is changed back.\n".to_owned();
        for key in &self.authorized_keys {
            text.push_str(key);
            text.push('\n');
        }
        text
    }

    /// The file of its sudo rules; `None`: it has none.
    pub fn sudoers_file(&self) -> Option<String> {
        let escaped = |command: &String| {
            command.chars().flat_map(|letter| SPECIAL.contains(&letter).then_some('\\').into_iter().chain([letter])).collect::<String>()
        };
        let commands: Vec<String> = self.sudo.iter().map(escaped).collect();
        let text = || {
            format!(
                "# Kept by Evenkeel: what is changed here is changed back.\n{} ALL=(root) NOPASSWD: {}\n",
                self.user,
                commands.join(", ")
            )
        };
        (!commands.is_empty()).then(text)
    }

    /// Where its sudo rules are on a device.
    pub fn sudoers_path(&self) -> String {
        format!("/etc/sudoers.d/evenkeel-{}", self.user)
    }

    /// Everything of a device that nobody else may decide.
    pub fn claims(&self) -> [ItemKey; 3] {
        [self.key(), ItemKey::file(&self.sudoers_path()), ItemKey::file(&format!("/home/{}/.ssh/authorized_keys", self.user))]
    }

    /// As it is seen where it is as it should be.
    pub fn seen(&self) -> ItemSeen {
        let of = |text: &str| Digest::of(text.as_bytes()).as_str().to_owned();
        ItemSeen::Account { keys: of(&self.keys_file()), sudo: self.sudoers_file().map(|text| of(&text)), locked: false }
    }

    pub(super) fn change(&self, seen: &ItemSeen) -> Option<Change> {
        let wanted = self.seen();
        if *seen == wanted {
            return None;
        }
        let keys = |count: usize| if count == 1 { "1 key".to_owned() } else { format!("{count} keys") };
        let sudo = if self.sudo.is_empty() { String::new() } else { format!(", sudo {}", self.sudo.join(", ")) };
        let digest = match &wanted {
            ItemSeen::Account { keys, .. } => short(keys).to_owned(),
            _ => String::new(),
        };
        Some(Change { item: self.key(), from: seen.shown(), to: Some(format!("{} ({digest}){sudo}", keys(self.authorized_keys.len()))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Revisions that are stored from before there were accounts keep their digest.
    #[test]
    fn a_content_without_accounts_is_written_as_ever() {
        let text = r#"{"packages":[],"files":[],"services":[],"before":[],"after":[],"reboot":"Never"}"#;
        assert_eq!(serde_json::to_string(&crate::Content::nothing()).unwrap(), text);
        assert_eq!(serde_json::from_str::<crate::Content>(text).unwrap(), crate::Content::nothing());
    }

    /// What stands for itself in a Role stands for itself to sudo.
    #[test]
    fn a_rule_says_to_sudo_what_it_says_here() {
        let account = |sudo: &[&str]| Account {
            user: "alice".into(),
            authorized_keys: vec!["ssh-ed25519 AAAA alice@example.com".into()],
            sudo: sudo.iter().map(|command| (*command).to_owned()).collect(),
        };
        let text = account(&["/usr/bin/systemctl restart nginx", "/usr/bin/id a=b,c:d"]).sudoers_file().unwrap();
        assert!(text.ends_with("\nalice ALL=(root) NOPASSWD: /usr/bin/systemctl restart nginx, /usr/bin/id a\\=b\\,c\\:d\n"), "{text}");
        assert_eq!(account(&[]).sudoers_file(), None);
        assert!(account(&[]).keys_file().ends_with("\nssh-ed25519 AAAA alice@example.com\n"));
    }
}
