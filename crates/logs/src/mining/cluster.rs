//! Lines that are alike, and the template that they have in common.

use super::hash::VARIES;
use super::mask::{Masked, is_plain};
use super::{TemplateId, WILDCARD};

/// Lines that are alike.
pub(crate) struct Cluster {
    pub(crate) id: TemplateId,
    pub(crate) program: Box<str>,
    /// Hash of each token, [`VARIES`] where they differ.
    pub(crate) hashes: Box<[u64]>,
    /// How many of them differ.
    pub(crate) wild: usize,
    /// Where it hangs in the tree: see [`Masked::branch`].
    pub(crate) branch: Box<str>,
    /// The template's tokens.
    pub(crate) words: Box<[Box<str>]>,
    pub(crate) count: u64,
}

/// A template as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<'m> {
    /// Its id.
    pub id: TemplateId,
    /// The program that it is of.
    pub program: &'m str,
    /// Its tokens, with a space between them.
    pub text: String,
    /// Lines of it so far.
    pub count: u64,
}

impl Cluster {
    /// Of one line.
    pub(crate) fn new(program: &str, masked: &Masked) -> Self {
        let words: Box<[Box<str>]> = masked.words().map(Box::from).collect();
        let hashes: Box<[u64]> = masked.hashes().into();
        Self {
            id: TemplateId::of(program, &words.join(" ")),
            program: program.into(),
            wild: hashes.iter().filter(|hash| **hash == VARIES).count(),
            hashes,
            branch: masked.branch().into(),
            words,
            count: 1,
        }
    }

    /// Whether a line that is too short to be compared is one of these all the same: it has the same words, and differs only in what is
    /// no plain word here and there, such as `eth<num>:` and `web-01.lan[<ip>]`.
    pub(crate) fn fits(&self, masked: &Masked) -> bool {
        let words = self.words.iter().zip(masked.words());
        let mut same = 0;
        let tokens = self.hashes.iter().zip(masked.hashes()).zip(words);
        let fits = tokens.into_iter().all(|((own, other), (word, that))| {
            same += usize::from(own == other && is_plain(word));
            own == other || !is_plain(word) && !is_plain(that)
        });
        fits && (same > 0 || *self.hashes == *masked.hashes())
    }

    /// How alike a line of the same length is: tokens that are the same, and those that vary, as hundredths of a token. A place that
    /// varies fits everything and says nothing.
    pub(crate) fn likeness(&self, hashes: &[u64]) -> usize {
        let same = self.hashes.iter().zip(hashes).filter(|(own, other)| own == other).count();
        same * 100 + self.wild
    }

    /// Makes the places vary in which the line differs, and says whether there were any.
    pub(crate) fn widen(&mut self, masked: &Masked) -> bool {
        let before = self.wild;
        for ((own, word), other) in self.hashes.iter_mut().zip(&mut self.words).zip(masked.hashes()) {
            if *own != *other && *own != VARIES {
                *own = VARIES;
                *word = WILDCARD.into();
                self.wild += 1;
            }
        }
        self.wild > before
    }

    pub(crate) fn template(&self) -> Template<'_> {
        Template { id: self.id, program: &self.program, text: self.words.join(" "), count: self.count }
    }
}
