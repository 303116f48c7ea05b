//! The packages that can be had, and how each of them behaves.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use crate::{Error, io};

/// One version of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it needs, each at exactly one version.
    pub depends: Vec<(String, String)>,
    /// Units that it brings, and starts when it is installed.
    pub units: Vec<String>,
    /// Its units die so many seconds after their start: a bad release.
    pub dies_after: Option<u32>,
    /// Its maintainer script fails with these words: another kind of bad release.
    pub fails: Option<String>,
    /// The device logs these words as errors while it is there, each sentence between `;` a line: a bad release that looks well.
    pub logs: Option<String>,
    /// It can't be fetched any more, as from a repository that keeps only the newest.
    pub gone: bool,
}

/// The packages that can be had.
///
/// As text, one line each: `nginx 1.24.0-1 depends=nginx-common=1.24.0-1 unit=nginx.service dies-after=5 fails=words_of_it logs=words_of_it`; lines that are
/// empty or begin with `#` say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    packages: BTreeMap<String, Vec<Package>>,
}

impl Catalogue {
    /// Adds a version, or puts it in place of the same one.
    pub fn add(&mut self, package: Package) {
        let versions = self.packages.entry(package.name.clone()).or_default();
        versions.retain(|other| other.version != package.version);
        let at = versions.partition_point(|other| order(&other.version, &package.version) == Ordering::Less);
        versions.insert(at, package);
    }

    /// A version, to be changed.
    pub fn get_mut(&mut self, name: &str, version: &str) -> Option<&mut Package> {
        self.packages.get_mut(name)?.iter_mut().find(|package| package.version == version)
    }

    /// The versions of a package, the oldest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = &Package> {
        self.packages.get(name).into_iter().flatten()
    }

    /// Writes it as the stand-ins read it.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        for (name, versions) in &self.packages {
            let folder = folder.join(name);
            std::fs::create_dir_all(&folder).map_err(io(folder.display()))?;
            let mut list = String::new();
            for package in versions {
                list.push_str(&package.version);
                list.push('\n');
                if !package.gone {
                    let file = folder.join(&package.version);
                    std::fs::write(&file, package.stanza()).map_err(io(file.display()))?;
                }
            }
            std::fs::write(folder.join("versions"), list).map_err(io(folder.display()))?;
        }
        Ok(())
    }
}

impl Package {
    fn stanza(&self) -> String {
        let mut text = format!("Package: {}\nVersion: {}\n", self.name, self.version);
        if !self.depends.is_empty() {
            let depends: Vec<String> = self.depends.iter().map(|(name, version)| format!("{name} (= {version})")).collect();
            let _ = writeln!(text, "Depends: {}", depends.join(", "));
        }
        if !self.units.is_empty() {
            let _ = writeln!(text, "Units: {}", self.units.join(" "));
        }
        if let Some(seconds) = self.dies_after {
            let _ = writeln!(text, "Dies-After: {seconds}");
        }
        if let Some(words) = &self.fails {
            let _ = writeln!(text, "Fails: {}", words.replace('\n', " "));
        }
        if let Some(words) = &self.logs {
            let _ = writeln!(text, "Logs: {}", words.replace('\n', " "));
        }
        text
    }
}

impl FromStr for Catalogue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut catalogue = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                catalogue.add(package(line).map_err(|error| format!("line {number}: {error}"))?);
            }
        }
        Ok(catalogue)
    }
}

fn package(line: &str) -> Result<Package, String> {
    let mut words = line.split_whitespace();
    let mut word = |what: &str| words.next().filter(|word| is_word(word)).map(str::to_owned).ok_or(format!("`{line}` has no {what}"));
    let mut package = Package { name: word("name")?, version: word("version")?, ..Package::default() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "depends" => {
                let (name, version) = value.split_once('=').ok_or(format!("`{word}`: write depends=NAME=VERSION"))?;
                package.depends.push((name.to_owned(), version.to_owned()));
            }
            "unit" => package.units.push(value.to_owned()),
            "dies-after" => package.dies_after = Some(value.parse().map_err(|_| format!("`{word}`: write dies-after=SECONDS"))?),
            "fails" => package.fails = Some(value.replace('_', " ")),
            "logs" => package.logs = Some(value.replace('_', " ")),
            "gone" => package.gone = true,
            _ => return Err(format!("`{word}` means nothing here")),
        }
    }
    Ok(package)
}

/// What a name or version is made of: nothing that a shell or a path would take for something else.
fn is_word(word: &str) -> bool {
    !word.starts_with(['.', '-']) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+:~-".contains(&byte))
}

/// The order of Debian's versions; see deb-version(7).
fn order(a: &str, b: &str) -> Ordering {
    let epoch = |version: &str| match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0_u32), rest.to_owned()),
        None => (0, version.to_owned()),
    };
    let (a, b) = (epoch(a), epoch(b));
    a.0.cmp(&b.0).then_with(|| {
        let revision = |version: &str| version.rsplit_once('-').map_or((version.to_owned(), String::new()), |(a, b)| (a.into(), b.into()));
        let ((a, a_revision), (b, b_revision)) = (revision(&a.1), revision(&b.1));
        part(a.as_bytes(), b.as_bytes()).then_with(|| part(a_revision.as_bytes(), b_revision.as_bytes()))
    })
}

/// Compares by turns what is no digit and what is a number.
fn part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    // A tilde sorts before the end, letters before everything else.
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|byte| !byte.is_ascii_digit()) || b.first().is_some_and(|byte| !byte.is_ascii_digit()) {
            match weight(a.first()).cmp(&weight(b.first())) {
                Ordering::Equal => (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()),
                other => return other,
            }
        }
        let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ((x, rest_a), (y, rest_b)) = (a.split_at(digits(a)), b.split_at(digits(b)));
        let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches('0').to_owned();
        let (x, y) = (number(x), number(y));
        match x.len().cmp(&y.len()).then_with(|| x.cmp(&y)) {
            Ordering::Equal => (a, b) = (rest_a, rest_b),
            other => return other,
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        for (lower, higher) in [
            ("1.0", "1.1"),
            ("1.9", "1.10"),
            ("1.0~rc1", "1.0"),
            ("1.0-1", "1.0-2"),
            ("1.0-9", "1.0-10"),
            ("9.0", "1:0.1"),
            ("1.0", "1.0+b1"),
            ("1.0a", "1.0+"),
            ("1.24.0-1", "1.25.2-1"),
        ] {
            assert_eq!((order(lower, higher), order(higher, lower)), (Ordering::Less, Ordering::Greater), "{lower} {higher}");
        }
        assert_eq!(order("1.01", "1.1"), Ordering::Equal);
    }

    #[test]
    fn a_catalogue_is_read() {
        let text = "# ours\napp 2.0 depends=lib=2.0 unit=app.service dies-after=5\napp 1.0\n\nlib 2.0 fails=out_of_luck gone\n";
        let catalogue: Catalogue = text.parse().unwrap();
        assert_eq!(catalogue.versions("app").map(|package| package.version.as_str()).collect::<Vec<_>>(), ["1.0", "2.0"]);
        let app = catalogue.versions("app").last().unwrap();
        assert_eq!(app.stanza(), "Package: app\nVersion: 2.0\nDepends: lib (= 2.0)\nUnits: app.service\nDies-After: 5\n");
        assert_eq!(catalogue.versions("lib").next().unwrap().fails.as_deref(), Some("out of luck"));
        for (text, wrong) in
            [("app", "no version"), ("../app 1", "no name"), ("app 1 colour=red", "means nothing"), ("app 1 depends=x", "depends=NAME")]
        {
            let error = text.parse::<Catalogue>().unwrap_err();
            assert!(error.starts_with("line 1: ") && error.contains(wrong), "{error}");
        }
    }
}
