//! Reading a device: everything in one command, cheap enough to do often (no `apt`, only `dpkg-query`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reconcile::{Facts, ItemKey, ItemSeen};

use crate::drivers::account;
use crate::script::{HEADER, quote, quote_all};

/// What one look at a device found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sight {
    pub(crate) boot_id: String,
    pub(crate) reboot_required: bool,
    pub(crate) facts: Facts,
    pub(crate) items: BTreeMap<ItemKey, ItemSeen>,
}

/// Facts, boot id, and whether a reboot is asked for.
const FACTS: &str = r#"if [ -r "$R/etc/os-release" ]; then
  printf 'F\tos\t%s\n' "$(. "$R/etc/os-release"; printf %s "${ID:-}")"
  printf 'F\tosVersion\t%s\n' "$(. "$R/etc/os-release"; printf %s "${VERSION_ID:-}")"
fi
printf 'F\tkernel\t%s\nF\tarch\t%s\n' "$(uname -r)" "$(uname -m)"
printf 'F\tcpus\t%s\n' "$(nproc 2>/dev/null)"
printf 'F\tmemory\t%s\n' "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
printf 'F\tserial\t%s\n' "$(cat "$R/sys/class/dmi/id/product_serial" 2>/dev/null | head -c 64)"
printf 'B\t%s\n' "$(boot_id)"
[ -e "$R/run/reboot-required" ] && printf 'R\n'
"#;

/// The script that reads these items.
pub(crate) fn script(items: &[ItemKey]) -> String {
    let mut script = format!("{HEADER}{FACTS}");
    let of = |kind: &str| items.iter().filter(|item| item.split().0 == kind).map(|item| item.split().1).collect::<Vec<_>>();
    let packages = of("apt");
    if !packages.is_empty() {
        let names = quote_all(packages);
        let _ = writeln!(
            script,
            "dpkg-query -W -f='P\\t${{Package}}\\t${{db:Status-Abbrev}}\\t${{Version}}\\n' {names} 2>/dev/null; [ $? -le 1 ] && printf 'D\\n'"
        );
        // `D` says that dpkg answered (1: some are not known to it; 2 and more: trouble): else trouble would look like absence.
    }
    for path in of("file") {
        let path = quote(path);
        let _ = writeln!(
            script,
            r#"p="$R"{path}; if [ -f "$p" ]; then printf 'L\t%s\t%s\t%s\n' {path} "$(sha256sum < "$p" | cut -d' ' -f1)" "$(stat -c '%04a %U %G' "$p")"; elif [ -e "$p" ]; then printf 'O\t%s\n' {path}; else printf 'N\t%s\n' {path}; fi"#
        );
    }
    for into in of("archive") {
        let into = quote(into);
        let _ = writeln!(
            script,
            r#"p="$R"{into}; s="$(basename "$(readlink "$p/current" 2>/dev/null)" 2>/dev/null)"; if [ -n "$s" ] && [ -e "$p/releases/$s/.evenkeel-complete" ]; then printf 'A\t%s\t%s\n' {into} "$s"; else printf 'A\t%s\t-\n' {into}; fi"#
        );
    }
    let accounts = of("account");
    if !accounts.is_empty() {
        script.push_str(&account::read(&accounts));
    }
    for unit in of("unit") {
        let unit = quote(unit);
        let _ = writeln!(
            script,
            r#"printf 'U\t%s\t%s\n' {unit} "$(systemctl show -p LoadState -p ActiveState -p SubState {unit} 2>/dev/null | tr '\n' ' ')""#
        );
    }
    script.push_str("printf 'E\\n'\n");
    script
}

/// Reads what the script printed. Anything that was not asked for is left out; an answer without its end is none.
pub(crate) fn parse(items: &[ItemKey], output: &[u8]) -> Result<Sight, String> {
    let text = String::from_utf8_lossy(output);
    let mut sight = Sight::default();
    let mut dpkg = false;
    let mut whole = false;
    for line in text.lines().take(10_000) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            ["F", key, value] => fact(&mut sight.facts, key, &clean(value)),
            ["B", id] => sight.boot_id = clean(id),
            ["R"] => sight.reboot_required = true,
            ["D"] => dpkg = true,
            ["E"] => whole = true,
            ["P", name, status, version] => insert(&mut sight, items, ItemKey::apt(name), package(status, version)),
            // A file that may not be read has no hash: then nothing is known of it.
            ["L", _, "", _] => {}
            ["L", path, sha256, attributes] => {
                let mut words = attributes.split(' ').map(clean);
                let mut word = || words.next().unwrap_or_default();
                let seen = ItemSeen::File { sha256: clean(sha256), mode: word(), owner: word(), group: word() };
                insert(&mut sight, items, ItemKey::file(path), seen);
            }
            // Something that is no file stands there: it differs from any file.
            ["O", path] => {
                let seen = ItemSeen::File { sha256: "no-file".into(), mode: String::new(), owner: String::new(), group: String::new() };
                insert(&mut sight, items, ItemKey::file(path), seen);
            }
            ["N", path] => insert(&mut sight, items, ItemKey::file(path), ItemSeen::Absent),
            ["A", into, "-"] => insert(&mut sight, items, ItemKey::archive(into), ItemSeen::Absent),
            ["A", into, sha256] => insert(&mut sight, items, ItemKey::archive(into), ItemSeen::Archive { sha256: clean(sha256) }),
            ["C", user, "-"] => insert(&mut sight, items, ItemKey::account(user), ItemSeen::Absent),
            ["C", user, keys, rules, locked] => {
                let or = |word: &str| Some(clean(word)).filter(|word| word != "-");
                let (keys, sudo) = (or(keys).unwrap_or_default(), or(rules));
                insert(&mut sight, items, ItemKey::account(user), ItemSeen::Account { keys, sudo, locked: *locked == "1" });
            }
            ["U", unit, properties] => insert(&mut sight, items, ItemKey::unit(unit), self::unit(properties)),
            _ => {}
        }
    }
    if !whole {
        let tail: String = text.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().filter(|c| !c.is_control()).collect();
        return Err(format!("the answer has no end: {tail}"));
    }
    for item in items.iter().filter(|item| item.split().0 == "apt") {
        if dpkg {
            sight.items.entry(item.clone()).or_insert(ItemSeen::Absent);
        }
    }
    Ok(sight)
}

fn insert(sight: &mut Sight, items: &[ItemKey], key: ItemKey, seen: ItemSeen) {
    if items.contains(&key) {
        sight.items.insert(key, seen);
    }
}

/// `db:Status-Abbrev`: want, state, error; see dpkg-query(1).
fn package(status: &str, version: &str) -> ItemSeen {
    let mut letters = status.chars();
    let (want, state) = (letters.next(), letters.next());
    match state {
        Some('i') => ItemSeen::Package { version: clean(version), held: want == Some('h'), broken: false },
        Some('U' | 'F' | 'H' | 'W' | 't') => ItemSeen::Package { version: clean(version), held: want == Some('h'), broken: true },
        _ => ItemSeen::Absent,
    }
}

fn unit(properties: &str) -> ItemSeen {
    let value = |key: &str| properties.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(clean).unwrap_or_default();
    if matches!(value("LoadState").as_str(), "not-found" | "") {
        return ItemSeen::Absent;
    }
    let active = value("ActiveState");
    ItemSeen::Unit { active: active == "active", state: format!("{active}/{}", value("SubState")) }
}

fn fact(facts: &mut Facts, key: &str, value: &str) {
    match key {
        "os" => value.clone_into(&mut facts.os),
        "osVersion" => value.clone_into(&mut facts.os_version),
        "kernel" => value.clone_into(&mut facts.kernel),
        "arch" => value.clone_into(&mut facts.arch),
        "cpus" => facts.cpus = value.parse().unwrap_or(0),
        "memory" => facts.memory_bytes = value.parse::<i64>().unwrap_or(0).saturating_mul(1024),
        "serial" => value.clone_into(&mut facts.serial),
        _ => {}
    }
}

/// A value from a device: printable, and of a bounded length.
fn clean(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<ItemKey> {
        vec![
            ItemKey::apt("nginx"),
            ItemKey::apt("gone"),
            ItemKey::file("/etc/motd"),
            ItemKey::archive("/opt/app"),
            ItemKey::unit("nginx.service"),
        ]
    }

    #[test]
    fn an_answer_is_read() {
        let answer = "F\tos\tdebian\nF\tcpus\t2\nB\tabc\nP\tnginx\thi \t1.2-1\nD\nL\t/etc/motd\taa\t0644 root root\nA\t/opt/app\t-\nU\tnginx.service\tLoadState=loaded ActiveState=active SubState=running \nE\n";
        let sight = parse(&items(), answer.as_bytes()).unwrap();
        assert_eq!(sight.facts.cpus, 2);
        assert_eq!(sight.items[&ItemKey::apt("nginx")], ItemSeen::Package { version: "1.2-1".into(), held: true, broken: false });
        assert_eq!(sight.items[&ItemKey::apt("gone")], ItemSeen::Absent);
        assert_eq!(sight.items[&ItemKey::archive("/opt/app")], ItemSeen::Absent);
        assert_eq!(sight.items[&ItemKey::unit("nginx.service")], ItemSeen::Unit { active: true, state: "active/running".into() });
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse(&items(), b"B\tabc\nP\tnginx\tii \t1\n").unwrap_err().contains("no end"));
        assert!(parse(&items(), b"sudo: a password is required\n").unwrap_err().contains("a password is required"));
    }

    #[test]
    fn what_was_not_asked_for_is_left_out_and_without_dpkg_nothing_is_absent() {
        let sight = parse(&items(), b"P\tother\tii \t1\nL\t/etc/shadow\taa\t0600 root root\nE\n").unwrap();
        assert!(sight.items.is_empty());
    }

    /// A broken dpkg, or a file that may not be read, is not the same as nothing being there.
    #[test]
    fn what_could_not_be_seen_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let query = root.path().join("dpkg-query");
        let run = |code: i32| {
            std::fs::write(&query, format!("#!/bin/sh\nexit {code}\n")).unwrap();
            std::process::Command::new("chmod").arg("+x").arg(&query).status().unwrap();
            let path = format!("{}:{}", root.path().display(), std::env::var("PATH").unwrap());
            let items = [ItemKey::apt("nginx")];
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(script(&items))
                .env("PATH", path)
                .env("EVENKEEL_ROOT", root.path())
                .output()
                .unwrap();
            parse(&items, &output.stdout).unwrap().items.into_values().collect::<Vec<_>>()
        };
        assert_eq!(run(1), [ItemSeen::Absent]);
        assert_eq!(run(2), []);
        let sight = parse(&items(), b"L\t/etc/motd\t\t0600 root root\nE\n").unwrap();
        assert!(sight.items.is_empty());
    }

    /// Garbage may be wrong but does no harm.
    #[test]
    fn garbage_is_survived() {
        for garbage in ["\t\t\t\nE\n", "P\nL\t\nU\tx\nE\n", "L\t/etc/motd\t\u{1b}[2J\t\u{7} \u{7}\nE\n"] {
            let sight = parse(&items(), garbage.as_bytes()).unwrap();
            assert!(!format!("{sight:?}").contains('\u{1b}'));
        }
    }
}
