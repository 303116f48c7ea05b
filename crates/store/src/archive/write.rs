//! Writing a segment.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{BYTES, Error, LINES, SUFFIX, Segment, beginning};
use crate::LogLine;

/// A segment that is being written. Dropped before it is finished, it leaves nothing behind.
pub struct Writer {
    folder: PathBuf,
    temporary: PathBuf,
    out: Option<GzEncoder<Hashed>>,
    plain: u64,
    lines: u64,
    first: u64,
    last: u64,
    from: i64,
    to: i64,
}

/// What goes into the file, counted and hashed.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    /// Begins a segment in this folder, under a name of its own.
    pub fn begin(folder: &Path) -> Result<Self, Error> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).expect("the system's random source works");
        let temporary = folder.join(format!(".{}.tmp", hex::encode(random)));
        // What machines say is for nobody but those who may read the store.
        let file =
            File::options().write(true).create_new(true).mode(0o600).open(&temporary).map_err(|source| failed(&temporary, source))?;
        let out = Hashed { file: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
        let out = Some(GzEncoder::new(out, Compression::default()));
        Ok(Self { folder: folder.to_owned(), temporary, out, plain: 0, lines: 0, first: 0, last: 0, from: 0, to: 0 })
    }

    /// Adds lines, in the order of their numbers, until it is full. Returns how many of them were taken.
    pub fn add(&mut self, lines: &[LogLine]) -> Result<usize, Error> {
        for (place, line) in lines.iter().enumerate() {
            if self.is_full() {
                return Ok(place);
            }
            let mut text = serde_json::to_vec(line).expect("our own types always serialize");
            text.push(b'\n');
            let Some(out) = &mut self.out else { return Ok(place) };
            out.write_all(&text).map_err(|source| failed(&self.temporary, source))?;
            if self.lines == 0 {
                (self.first, self.from, self.to) = (line.number, line.received, line.received);
            }
            self.plain += text.len() as u64;
            self.lines += 1;
            self.last = line.number;
            self.from = self.from.min(line.received);
            self.to = self.to.max(line.received);
        }
        Ok(lines.len())
    }

    /// Whether nothing more goes into it.
    pub fn is_full(&self) -> bool {
        self.lines >= LINES || self.plain >= BYTES
    }

    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The number of its last line.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Brings the file to the disk and gives it its name. `after` is the number of the last line that was archived before.
    pub fn finish(mut self, after: u64) -> Result<Segment, Error> {
        let failed = |source| failed(&self.temporary, source);
        let Some(out) = self.out.take() else { return Err(failed(std::io::ErrorKind::BrokenPipe.into())) };
        let Hashed { file, hash, bytes } = out.finish().map_err(failed)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        let sha256 = hex::encode(hash.finalize());
        let instant = |micros| Timestamp::from_microsecond(micros).unwrap_or_default();
        let (from, to) = (instant(self.from), instant(self.to));
        let name = format!("{}{}-{}{SUFFIX}", beginning(self.first), from.strftime("%Y%m%dT%H%M%SZ"), &sha256[..16]);
        std::fs::rename(&self.temporary, self.folder.join(&name)).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(Segment { name, sha256, bytes, lines: self.lines, after, first: self.first, last: self.last, from, to })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` there is no file of that name any more.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// Removes what was written and never recorded: other segments with the first line of this one, which was.
pub fn sweep(folder: &Path, recorded: &Segment) -> Result<(), Error> {
    let beginning = beginning(recorded.first);
    for name in super::segments(folder)? {
        if name.starts_with(&beginning) && name != recorded.name {
            let path = folder.join(name);
            std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        }
    }
    Ok(())
}

/// Removes what was being written when a process was killed: files without a name yet that nobody wrote into for an hour.
pub fn sweep_temporary(folder: &Path) -> Result<(), Error> {
    const OLD: std::time::Duration = std::time::Duration::from_secs(3600);
    for entry in std::fs::read_dir(folder).map_err(|source| failed(folder, source))? {
        let path = entry.map_err(|source| failed(folder, source))?.path();
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let ours = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
        let is_ours = ours.is_some_and(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let age = std::fs::metadata(&path).ok().and_then(|file| file.modified().ok()?.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > OLD) {
            std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        }
    }
    Ok(())
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}
