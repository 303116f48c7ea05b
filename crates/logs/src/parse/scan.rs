//! A place in a text, and what can be read from there.

/// A place in a text. Cheap to copy: who may be wrong tries on a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'t> {
    rest: &'t str,
}

impl<'t> Scan<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { rest: text }
    }

    pub(crate) fn rest(&self) -> &'t str {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    pub(crate) fn starts(&self, bytes: &[u8]) -> bool {
        self.rest.as_bytes().starts_with(bytes)
    }

    /// Goes on by so many bytes, if a character begins there.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// This ASCII byte.
    pub(crate) fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.skip(1))
    }

    /// One of these ASCII bytes.
    pub(crate) fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.skip(1);
        Some(byte)
    }

    pub(crate) fn spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    /// A number of so many digits.
    pub(crate) fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let many = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if many < least {
            return None;
        }
        let number =
            self.rest.bytes().take(many).fold(0, |number: i64, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
        self.skip(many);
        Some(number)
    }

    /// As much as these ASCII bytes reach.
    pub(crate) fn take_while(&mut self, is: impl Fn(u8) -> bool) -> &'t str {
        let end = self.rest.bytes().position(|byte| !byte.is_ascii() || !is(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// The word that begins here, without the space behind it.
    pub(crate) fn word(&self) -> &'t str {
        self.rest.split(' ').next().unwrap_or_default()
    }

    /// Takes the word that begins here, and one space behind it.
    pub(crate) fn take_word(&mut self) -> &'t str {
        match self.rest.split_once(' ') {
            Some((word, rest)) => {
                self.rest = rest;
                word
            }
            None => std::mem::take(&mut self.rest),
        }
    }

    /// Whether a space, a colon or the end is next.
    pub(crate) fn ends_word(&self) -> Option<()> {
        matches!(self.peek(), None | Some(b' ' | b':')).then_some(())
    }

    /// Goes on only if the part could be read as a whole.
    pub(crate) fn try_part<T>(&mut self, part: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut at = *self;
        let found = part(&mut at)?;
        *self = at;
        Some(found)
    }
}
