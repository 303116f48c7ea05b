//! Lines of real senders, and what they are taken for: `dialects.txt` is the table.

use std::fmt::Write as _;

use logs::parse::{Around, parse};
use logs::{Line, clean};

const TABLE: &str = "tests/dialects.txt";
/// Fewer would mean that the table was not read.
const FEWEST: usize = 60;

#[test]
fn each_line_is_taken_for_what_it_is() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE);
    let table = std::fs::read_to_string(&path).unwrap();
    let (mut told, mut lines) = (String::new(), 0);
    for line in table.lines().filter(|line| !line.starts_with("    ")) {
        writeln!(told, "{line}").unwrap();
        if !line.starts_with('#') && !line.is_empty() {
            lines += 1;
            told.push_str(&tell(&bytes(line)));
        }
    }
    assert!(lines >= FEWEST, "{lines}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &told).unwrap();
        return;
    }
    for (number, (want, got)) in (1..).zip(table.lines().zip(told.lines())) {
        assert_eq!(want, got, "{TABLE}:{number}");
    }
    assert_eq!(table.lines().count(), told.lines().count());
}

fn tell(bytes: &[u8]) -> String {
    let (text, flags) = clean::line(bytes);
    let mut line = parse(&text, &Around::utc("2026-01-02T03:05:00Z".parse().unwrap()));
    line.flags |= flags;
    let Line { facility, severity, sent, host, program, process, id, fields, message, dialect, flags } = line;
    let mut told = format!("    {} {facility}.{severity}", dialect.name());
    if let Some(sent) = sent {
        write!(told, " {sent}").unwrap();
    }
    for (name, value) in [("host", host), ("program", program), ("process", process), ("id", id)] {
        if !value.is_empty() {
            write!(told, " {name}={value}").unwrap();
        }
    }
    let flags: Vec<&str> = flags.names().collect();
    if !flags.is_empty() {
        write!(told, " [{}]", flags.join(" ")).unwrap();
    }
    told.push('\n');
    for field in fields {
        writeln!(told, "    . {}{}{} = {}", field.group, if field.group.is_empty() { "" } else { " " }, field.name, field.value).unwrap();
    }
    writeln!(told, "    > {message}").unwrap();
    told
}

/// With its escapes resolved.
fn bytes(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}
