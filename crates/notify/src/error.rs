//! A notification that did not arrive.

use std::time::Duration;

use reconcile::alerting::text;

/// Characters of what a server said that are repeated.
const SAID: usize = 200;

/// What kind of reason it was: a bounded word for metrics, by which alone it is known whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// The Receiver can't be used as it is written.
    Receiver,
    /// The Secret is missing something, or what it has can't be used.
    Secret,
    /// The server does not know us: user name, password or token are wrong.
    Login,
    /// The server has no such recipient.
    Recipient,
    /// The server refuses it for good.
    Refused,
    /// The server wants to be left in peace for a while.
    RateLimited,
    /// The server has a fault of its own, or can't take it now.
    Server,
    /// Status and body don't mean success as the Receiver defines it.
    NotTaken,
    /// There is no connection.
    Connection,
    /// TLS can't be agreed on, or the server's certificate is not trusted.
    Tls,
    /// There was no answer in time.
    Timeout,
    /// The answer is not one of its protocol, or has no end.
    Answer,
}

impl Category {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Secret => "secret",
            Self::Login => "login",
            Self::Recipient => "recipient",
            Self::Refused => "refused",
            Self::RateLimited => "rate-limited",
            Self::Server => "server",
            Self::NotTaken => "not-taken",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Answer => "answer",
        }
    }

    /// Whether trying the same again later may help. A Secret may be mended without the Receiver being changed, so that is tried again;
    /// a login that is refused too often locks the account, so that is not.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Receiver | Self::Login | Self::Recipient | Self::Refused => false,
            Self::Secret
            | Self::RateLimited
            | Self::Server
            | Self::NotTaken
            | Self::Connection
            | Self::Tls
            | Self::Timeout
            | Self::Answer => true,
        }
    }
}

/// A notification that did not arrive, or not everywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Why, for people: nothing of a secret, bounded, in one line.
    text: String,
    /// What kind of reason.
    pub category: Category,
    /// How long the server asks to be left in peace, if it does; bounded.
    pub retry_after: Option<Duration>,
    /// Recipients that have it already: they are left out when it is tried again.
    pub reached: Vec<String>,
}

impl Error {
    /// Of what kind, and why in words.
    pub fn new(category: Category, text: impl AsRef<str>) -> Self {
        Self { text: text::neutral(text.as_ref()), category, retry_after: None, reached: Vec::new() }
    }

    /// With what the server said, quoted.
    pub(crate) fn said(category: Category, text: &str, said: &str) -> Self {
        let said = text::cut(text::neutral(said).trim(), SAID);
        match said.is_empty() {
            true => Self::new(category, text),
            false => Self::new(category, format!("{text}: \"{said}\"")),
        }
    }

    pub(crate) fn after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    pub(crate) fn with_reached(mut self, reached: Vec<String>) -> Self {
        self.reached = reached;
        self
    }

    /// Whether trying it again later may help.
    pub fn is_transient(&self) -> bool {
        self.category.is_transient()
    }
}

#[cfg(test)]
mod tests {
    use super::{Category, Error};

    #[test]
    fn what_a_server_says_is_quoted_in_one_bounded_line() {
        let error = Error::said(Category::Server, "mail.example.com: not taken", &format!("no\r\n\u{1b}[2J{}", "x".repeat(500)));
        let text = error.to_string();
        assert!(text.starts_with("mail.example.com: not taken: \"no   [2Jxx") && text.ends_with("…\""), "{text}");
        assert!(text.chars().count() < 250 && error.is_transient());
        assert!(!Error::new(Category::Login, "x").is_transient());
    }
}
