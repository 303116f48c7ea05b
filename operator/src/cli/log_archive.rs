//! `evenkeel logs archive`, and reading lines from an archive instead of an engine.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use store::archive::{self, Select};
use store::audit::checkpoint::{Checkpoint, PublicKey};
use store::{LogLine, Search};

use super::show;

/// What to do with an archive.
#[derive(Args)]
pub(crate) struct ArchiveArgs {
    #[command(subcommand)]
    command: ArchiveCommand,
}

#[derive(Subcommand)]
enum ArchiveCommand {
    /// Prove an archive, offline: exit 0 if each segment is the one that was recorded, and none is missing
    Verify {
        /// The archive's directory
        folder: PathBuf,
        /// The audit log, as `evenkeel audit export` wrote it
        #[arg(long, value_name = "FILE")]
        export: PathBuf,
        /// The key that is trusted (`audit.pub` of the data directory)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A checkpoint that was kept elsewhere: without one, a tail that was cut off with its checkpoints does not show
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Segments whose lines are all older than this may have been taken away
        #[arg(long, value_name = "DURATION")]
        since: Option<crds::Duration>,
    },
    /// Print the lines of segments, as they were written: JSON, one a line
    Restore {
        /// Segments, or directories of them
        #[arg(required = true, value_name = "FILE|DIR")]
        files: Vec<PathBuf>,
        /// Only lines that came in this time
        #[arg(long, value_name = "DURATION")]
        since: Option<crds::Duration>,
        /// Only lines that came before this time
        #[arg(long, value_name = "DURATION")]
        until: Option<crds::Duration>,
    },
}

pub(crate) fn run(args: &ArchiveArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ArchiveCommand::Verify { folder, export, key, checkpoint, since } => {
            let text = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
            let key = PublicKey::from_text(&text(key)?)?;
            let kept = checkpoint.as_ref().map(|path| anyhow::Ok(Checkpoint::open(&text(path)?, &key)?)).transpose()?;
            let since = since.map(ago).transpose()?;
            let proof = archive::verify(folder, export, &key, kept.as_ref(), since)?;
            proof.notes.iter().for_each(|note| println!("note: {}", show::clean(note)));
            for wrong in &proof.wrong {
                println!("{}", show::clean(wrong));
            }
            if !proof.wrong.is_empty() {
                bail!("{}: {} wrong", folder.display(), show::count(proof.wrong.len(), "thing"));
            }
            let lines = show::count(usize::try_from(proof.lines)?, "line");
            println!("{} with {lines}, all of them as they were recorded", show::count(usize::try_from(proof.proven)?, "segment"));
            Ok(ExitCode::SUCCESS)
        }
        ArchiveCommand::Restore { files, since, until } => {
            let search = Search { since: since.map(ago).transpose()?, ..Search::default() };
            let select = Select { search, until: until.map(ago).transpose()? };
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for path in files {
                each(path, &select, |line| Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?))?;
            }
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The newest lines of an archive that fit, the newest first, as an engine answers.
pub(super) fn search(folder: &Path, select: &Select, limit: usize) -> anyhow::Result<Vec<LogLine>> {
    let mut found = VecDeque::with_capacity(limit);
    each(folder, select, |line| {
        if found.len() == limit {
            found.pop_front();
        }
        found.push_back(line);
        Ok(())
    })?;
    let mut found: Vec<LogLine> = found.into();
    found.sort_by_key(|line| std::cmp::Reverse(line.place()));
    Ok(found)
}

/// Hands on each line of a segment, or of all in a directory, that fits. What is damaged is said, and the others are read.
fn each(path: &Path, select: &Select, mut take: impl FnMut(LogLine) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut damaged = 0;
    let paths = if path.is_dir() {
        archive::segments_between(path, select.search.since, select.until)?.into_iter().map(|name| path.join(name)).collect()
    } else {
        vec![path.to_owned()]
    };
    for path in paths {
        for line in archive::lines(&path)? {
            match line {
                Ok(line) if select.takes(&line) => take(line)?,
                Ok(_) => {}
                Err(error) => {
                    eprintln!("{error}");
                    damaged += 1;
                }
            }
        }
    }
    if damaged > 0 {
        bail!("{} could not be read to the end", show::count(damaged, "segment"));
    }
    Ok(())
}

/// How it stands with the lines of logs, for `evenkeel status`.
pub(super) fn status(keeping: &serde_json::Value) -> Vec<String> {
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let mebibytes = |value: &serde_json::Value| format!("{:.1} MiB", number(value) as f64 / f64::from(1 << 20));
    if number(&keeping["bytes"]) == 0 {
        return Vec::new();
    }
    let behind = keeping["behind"].as_u64().map_or_else(String::new, |lines| format!(", {lines} lines not archived yet"));
    let mut said = vec![format!("{} of {}{behind}", mebibytes(&keeping["bytes"]), mebibytes(&keeping["limit"]))];
    let lost = [("room", "were removed, as the disk had no room"), ("unarchived", "were removed that are not archived")];
    for (why, what) in lost {
        let lines = number(&keeping["removed"][why]);
        if lines > 0 {
            said.push(format!("{lines} lines {what}"));
        }
    }
    said.extend(keeping["problem"].as_str().map(|problem| format!("problem: {problem}")));
    said
}

/// So long ago, in microseconds since 1970.
pub(super) fn ago(time: crds::Duration) -> anyhow::Result<i64> {
    Ok(Timestamp::now().checked_sub(time.0).context("that is too long ago")?.as_microsecond())
}
