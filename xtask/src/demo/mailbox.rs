//! A mail server on loopback: aiosmtpd, as the tests have it, which keeps each mail in a file.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{install, root};

/// The server, and the mails that it took; both go with it.
pub(super) struct Mailbox {
    pub(super) port: u16,
    folder: tempfile::TempDir,
    process: Child,
    /// So many were shown.
    shown: usize,
}

/// A mail as it came.
pub(super) struct Mail {
    pub(super) subject: String,
    pub(super) text: String,
    from: String,
    to: String,
    has_html: bool,
}

impl Mailbox {
    /// Starts the server; it is installed from the system's packages if it is not there.
    pub(super) fn open() -> anyhow::Result<Self> {
        const PACKAGE: &str = "python3-aiosmtpd";
        if install::missing().contains(&PACKAGE) && install::only(&[PACKAGE]).contains(&PACKAGE) {
            bail!("the mail server of this part is Debian's package {PACKAGE}, which is not here");
        }
        let folder = tempfile::tempdir()?;
        let mut process = Command::new("/usr/bin/python3")
            .arg(root().join("crates/notify/tests/common/smtpd.py"))
            .arg(folder.path())
            .arg("plain")
            .stdout(Stdio::piped())
            .spawn()
            .context("python3 with aiosmtpd")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("its output")?).read_line(&mut line)?;
        let port = line.trim().parse().context("the mail server did not start")?;
        Ok(Self { port, folder, process, shown: 0 })
    }

    /// All mails so far.
    pub(super) fn mails(&self) -> Vec<Mail> {
        let read = |at: usize| std::fs::read(self.folder.path().join(format!("{at}.json"))).ok();
        (0..).map_while(read).filter_map(|bytes| mail(&serde_json::from_slice(&bytes).ok()?)).collect()
    }

    /// Those that were not shown yet.
    pub(super) fn unread(&mut self) -> Vec<Mail> {
        let new: Vec<Mail> = self.mails().into_iter().skip(self.shown).collect();
        self.shown += new.len();
        new
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Mail {
    /// As a mail program shows it.
    pub(super) fn show(&self) {
        let parts = if self.has_html { "text and HTML; this is the text" } else { "text" };
        let head = [("From", &self.from), ("To", &self.to), ("Subject", &self.subject)].map(|(name, value)| format!("{name}: {value}"));
        println!("  ┌─ a mail came ({parts})");
        for line in head.iter().map(String::as_str).chain([""]).chain(self.text.trim_end().lines()) {
            println!("  │ {line}");
        }
        println!("  └─");
    }
}

fn mail(value: &Value) -> Option<Mail> {
    let clean = |text: &str| text.chars().filter(|c| *c == '\n' || !c.is_control()).collect::<String>();
    let header = |name: &str| {
        let headers = value["headers"].as_array()?.iter();
        headers.filter(|header| header[0].as_str().is_some_and(|of| of.eq_ignore_ascii_case(name))).find_map(|header| header[1].as_str())
    };
    Some(Mail {
        subject: clean(header("Subject")?),
        text: clean(value["text"].as_str()?),
        from: clean(header("From")?),
        to: clean(header("To")?),
        has_html: value["html"].is_string(),
    })
}
