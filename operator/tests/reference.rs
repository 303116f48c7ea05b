//! docs/cli.md is what the binary says of itself, what README.md shows can be used, and what the pages name is there.

use std::path::Path;
use std::process::{Command, Stdio};

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap_or_default()
}

#[test]
fn the_reference_is_fresh() {
    // Neither a narrow terminal nor somebody's settings have a part in it.
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("reference")
        .env("COLUMNS", "40")
        .env("EVENKEEL_DATA", "/elsewhere")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(page("docs/cli.md") == String::from_utf8_lossy(&output.stdout), "docs/cli.md is stale: run `cargo xtask generate`");
}

/// A script that mistypes an option must not read that there are changes.
#[test]
fn a_mistyped_option_is_no_answer() {
    let code = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["plan", "--dif", "main"]), Some(1));
    assert_eq!(code(&["plan", "--help"]), Some(0));
    assert_eq!(code(&["check", "--outptu", "json"]), Some(2));
}

/// Output that can't be written is not the same as output that nobody wants to read on.
#[test]
fn who_stops_reading_is_no_error_and_a_full_disk_is_one() {
    let run = |arguments: &[&str], out: Stdio| {
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).stdout(out).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for arguments in [["crds"].as_slice(), &["completion", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into()), (Some(141), String::new()), "{arguments:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(arguments, full.into());
        assert_eq!(code, Some(74), "{arguments:?}: {said}");
        assert!(said.starts_with("evenkeel: cannot write: No space left on device"), "{said}");
    }
}

#[test]
fn the_manifests_of_the_readme_have_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let text = page("README.md");
    let blocks: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for (number, block) in blocks.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.yaml")), block).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg(folder.path()).env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(blocks.len() >= 2 && said.ends_with(": 0 errors, 0 warnings\n"), "{said}");
}

/// Pages outlive what they speak of: a file, a test or a story that they name has to be there.
#[test]
fn what_the_pages_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = sources(&root);
    let code: String = sources.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let mut missing = Vec::new();
    for page_name in ["README.md", "ARCHITECTURE.md", "STYLE.md", "SECURITY.md"] {
        let text = page(page_name);
        // Every other piece between backticks is in them.
        for word in text.split('`').skip(1).step_by(2).filter(|word| !word.contains(char::is_whitespace)) {
            let folder = word.split_once('/').map(|(folder, _)| folder);
            let is_there = match word {
                _ if folder
                    .is_some_and(|folder| ["crates", "crds", "docs", "examples", "operator", "tests", "xtask"].contains(&folder)) =>
                {
                    word.contains('*') || root.join(word).exists()
                }
                _ if word.ends_with(".rs") => sources.iter().any(|path| path.ends_with(word)),
                _ if is_name(word, '_') => code.contains(&format!("fn {word}(")),
                _ if is_name(word, '-') => root.join(format!("crates/reconcile/tests/scenarios/{word}.yaml")).exists(),
                _ => true,
            };
            if !is_there {
                missing.push(format!("{page_name}: {word}"));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

/// Names of tests and stories are sentences: four words or more.
fn is_name(word: &str, joint: char) -> bool {
    word.split(joint).count() >= 4 && word.split(joint).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn sources(root: &Path) -> Vec<std::path::PathBuf> {
    let mut folders: Vec<_> = ["crates", "crds", "operator", "tests", "xtask"].map(|folder| root.join(folder)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match path.extension() {
                None if path.is_dir() => folders.push(path),
                Some(suffix) if suffix == "rs" => found.push(path),
                _ => {}
            }
        }
    }
    found
}
