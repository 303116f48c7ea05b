//! Scripts for targets: POSIX sh and coreutils, nothing else.
//!
//! Every absolute path is prefixed by `$R`, which is empty on a real machine; a simulated device sets `EVENKEEL_ROOT`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// First lines of every script.
pub(crate) const HEADER: &str = r#"R="${EVENKEEL_ROOT:-}"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
E="$R/var/lib/evenkeel"
umask 022
die() { echo "evenkeel: $*"; exit 1; }
boot_id() { { [ -n "$R" ] && cat "$R/etc/evenkeel-boot-id" 2>/dev/null; } || cat /proc/sys/kernel/random/boot_id; }
"#;

/// A script as one compound command. The shell reads all of it before it runs any of it: a connection that is cut while the
/// script is on its way leaves a syntax error and never half a script, and no command in it can read the rest of it as its input.
pub(crate) fn whole(script: &str) -> String {
    format!("{{ :\n{script}\n}} </dev/null\n")
}

/// A word that the shell takes as it is.
pub(crate) fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Words that the shell takes as they are.
pub(crate) fn quote_all<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Lines that write bytes into a file by way of standard input, so that they are in no argument list; all of them or the script
/// ends there: a full disk must not make half a file.
pub(crate) fn write_file(path: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("base64 -d > {path} <<'EVENKEEL_END' || die cannot write {path}\n{}\nEVENKEEL_END\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a script, as a cut connection would leave them, do nothing at all.
    #[test]
    fn half_a_script_does_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("mark");
        let script = whole(&format!("{HEADER}: > {0}\n{1}: > {0}", quote(mark.to_str().unwrap()), write_file("/dev/null", &[b'x'; 500])));
        let run = |script: &str| std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        for cut in (0..script.len() - 12).step_by(7).filter(|cut| script.is_char_boundary(*cut)) {
            run(&script[..cut]);
            assert!(!mark.exists(), "cut at {cut}");
        }
        assert!(run(&script).status.success());
        assert!(mark.exists());
    }

    #[test]
    fn what_cannot_be_written_whole_ends_the_script() {
        let script = format!("{HEADER}{}echo went on\n", write_file("/dev/full", b"some bytes"));
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "evenkeel: cannot write /dev/full\n");
    }

    /// Whatever comes in, the shell sees one word with exactly these bytes.
    #[test]
    fn quoting_survives_a_real_shell() {
        for text in ["plain-1.0", "", "a b", "$(id)", "`id`", "it's", "a\nb", "\\", "*", "~", "'; rm -rf / '", "-n", "é"] {
            let script = format!("printf %s {}", quote(text));
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }
}
