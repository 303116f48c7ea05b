//! Where `evenkeel run` writes the changes that people make through its interface.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use manifests::git::Signing;
use zeroize::Zeroizing;

use crate::engine::source::Origin;
use crate::engine::writing::{Mode, Place, Writing};

/// The size of a file with a private key.
const MAX_KEY: u64 = 64 << 10;

/// How changes are written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Changes by the interface")]
pub(crate) struct WriteArgs {
    /// What becomes of a change that somebody makes through the interface, in a Git repository: a commit on a branch of its own, which you
    /// merge, or one on the branch that is followed, which comes in force at once. A plain folder is written to unless this is `never`; in a
    /// cluster objects are applied in the name of who asks
    #[arg(long = "write", value_enum, default_value = "branch", value_name = "HOW")]
    how: How,
    /// Put all of them on this branch, instead of one of its own (`evenkeel/USER-COMMIT`) for each
    #[arg(long, value_name = "BRANCH")]
    write_branch: Option<String>,
    /// Sign commits with the private key in this file: OpenSSH, without a passphrase
    #[arg(long, value_name = "FILE")]
    write_signing_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    Never,
    Branch,
    Direct,
}

impl WriteArgs {
    /// Where that is.
    pub(super) fn writing(&self, origin: &Origin, is_verified: bool) -> anyhow::Result<Arc<Writing>> {
        let mode = match self.how {
            How::Never => Mode::Never,
            How::Branch => Mode::Branch,
            How::Direct => Mode::Direct,
        };
        let place = match origin {
            Origin::Folder(root) => Place::Folder(root.clone()),
            Origin::Git(source) => Place::Git(source.clone()),
            Origin::Cluster(cluster, _) => Place::Cluster(cluster.clone()),
        };
        if self.write_branch.is_some() && mode != Mode::Branch {
            bail!("--write-branch: it is for `--write branch`");
        }
        if !matches!(place, Place::Git(_)) && (self.write_branch.is_some() || self.write_signing_key.is_some() || mode == Mode::Direct) {
            bail!("--write direct, --write-branch and --write-signing-key are about commits, and there is no Git repository here");
        }
        let signing = self.write_signing_key.as_deref().map(key).transpose()?;
        if mode == Mode::Direct && is_verified && signing.is_none() {
            bail!("--write direct: with --verify-keys only signed commits come in force, so give --write-signing-key too");
        }
        Ok(Arc::new(Writing { place, mode, branch: self.write_branch.clone(), signing, is_verified, ..Writing::default() }))
    }
}

fn key(file: &Path) -> anyhow::Result<Signing> {
    let place = || format!("--write-signing-key {}", file.display());
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).with_context(place)?;
    opened.take(MAX_KEY).read_to_string(&mut text).with_context(place)?;
    Signing::read(&text).map_err(|reason| anyhow::anyhow!("{}: {reason}", place()))
}
