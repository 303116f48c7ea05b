use serde_json::{Value, json};

use super::*;
use crate::yaml;

const KEY: &str = include_str!("../../tests/sops/throw-away.agekey");
const OTHER: &str = include_str!("../../tests/sops/other.agekey");
const SECRET: &str = include_str!("../../tests/sops/secret.yaml");
const VALUES: &str = include_str!("../../tests/sops/values.yaml");
const TWO: &str = include_str!("../../tests/sops/two.yaml");
const ONLY_ENCRYPTED: &str = include_str!("../../tests/sops/mac-only-encrypted.yaml");

fn identities(text: &str) -> Identities {
    Identities::read([("x.agekey", text.as_bytes()), ("readme", b"nothing".as_slice())].into_iter()).unwrap()
}

fn with(key: &str, text: &str) -> Result<Vec<Value>, Error> {
    let (documents, errors) = yaml::parse(text);
    assert!(errors.is_empty(), "{errors:?}");
    decrypt(&documents, &identities(key)).map(|documents| documents.iter().map(Node::to_value).collect())
}

fn opened(text: &str) -> Result<Vec<Value>, Error> {
    with(KEY, text)
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app", "labels": {"team": "web"}},
        "type": "Opaque",
        "stringData": {"password": "correct horse battery staple", "empty": "", "lines": "first\nsecond: ünïcode\n"},
        "data": {"token": "c2VjcmV0LXRva2Vu"}
    })
}

/// The line that begins with this, without its indentation.
fn line<'a>(text: &'a str, begins: &str) -> &'a str {
    text.lines().map(str::trim).find(|line| line.starts_with(begins)).unwrap()
}

#[test]
fn what_sops_wrote_is_read() {
    assert_eq!(opened(SECRET), Ok(vec![secret()]), "encrypted_regex, comments");
    assert_eq!(opened(ONLY_ENCRYPTED), Ok(vec![secret()]), "unencrypted_regex, mac_only_encrypted");
    let values = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "values", "creationTimestamp": null},
        "data": {
            "text": "hello", "number": 42, "big": 1e21, "float": 1.5, "yes": true, "off": false, "nothing": null,
            "hint_unencrypted": "everybody may read this", "list": ["a", "b", {"c": "d", "e_unencrypted": 7}], "when": "2001-12-15T02:59:43Z"
        }
    });
    assert_eq!(opened(VALUES), Ok(vec![values.clone()]), "unencrypted_suffix, types, two recipients");
    assert_eq!(with(OTHER, VALUES), Ok(vec![values]));
    let both = opened(TWO).unwrap();
    assert_eq!((&both[0]["stringData"]["a"], &both[1]["data"]["b"]), (&json!("first-secret"), &json!("second-secret")), "encrypted_suffix");
}

#[test]
fn another_key_opens_nothing() {
    assert_eq!(with(OTHER, SECRET), Err(Error::NoKey));
    assert_eq!(with(&format!("{OTHER}\n{KEY}"), SECRET), Ok(vec![secret()]));
}

#[test]
fn whatever_is_changed_it_is_refused() {
    let swap = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let value = |key: &str| line(SECRET, &format!("{key}: ENC")).split_once(": ").unwrap().1.to_owned();
    let (password, lines, token) = (value("password"), value("lines"), value("token"));
    let of = |path: &str| Err(Error::Value(path.into()));
    let flipped = |text: &str| {
        let at = text.find("data:").unwrap() + 6;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    assert_eq!(opened(&swap(SECRET, &password, &flipped(&password))), of("stringData:password"));
    assert_eq!(opened(&swap(SECRET, &password, &lines)), of("stringData:password"), "a value of another key");
    assert_eq!(opened(&swap(SECRET, &password, "plain")), of("stringData:password"), "one that is not encrypted at all");
    assert_eq!(opened(&swap(SECRET, &password, "5")), of("stringData:password"), "no text");
    assert_eq!(opened(&swap(SECRET, &password, &password.replace("type:str", "type:comment"))), of("stringData:password"));
    assert_eq!(opened(&swap(SECRET, &password, "\"\"")), Err(Error::Mac), "an empty one needs no key");
    assert_eq!(opened(&swap(SECRET, &format!("token: {token}"), "{}")), Err(Error::Mac), "one less");
    assert_eq!(opened(&swap(SECRET, "team: web", "team: ops")), Err(Error::Mac), "one that was never encrypted");
    assert_eq!(opened(&swap(SECRET, "type: Opaque", "type: Opaque\nmore: x")), Err(Error::Mac), "one more");
    let items: Vec<&str> = VALUES.lines().filter(|line| line.trim_start().starts_with("- ENC")).collect();
    let swapped = VALUES.replace(items[0], "?").replace(items[1], items[0]).replace('?', items[1]);
    assert_eq!(opened(&swapped), Err(Error::Mac), "items of a list have one path");
    let (first, second) = TWO.split_once("\n---\n").unwrap();
    assert_eq!(opened(&format!("{second}---\n{first}\n")), Err(Error::Mac), "documents in another order");
    assert_eq!(opened(first), Err(Error::Mac), "a document less");
    // What only counts if it is encrypted can be changed, and that is what was chosen.
    assert!(opened(&swap(ONLY_ENCRYPTED, "team: web", "team: ops")).is_ok());
    assert_eq!(opened(&swap(ONLY_ENCRYPTED, "mac_only_encrypted: true", "mac_only_encrypted: false")), Err(Error::Mac));
    let (mac, other) = (line(SECRET, "mac: "), line(TWO, "mac: "));
    assert_eq!(opened(&swap(SECRET, mac, &flipped(mac))), Err(Error::Mac));
    assert_eq!(opened(&swap(SECRET, mac, other)), Err(Error::Mac));
    assert_eq!(opened(&swap(SECRET, mac, &format!("mac: {password}"))), Err(Error::Mac));
    let when = line(SECRET, "lastmodified: ");
    assert_eq!(opened(&swap(SECRET, when, "lastmodified: \"2020-01-01T00:00:00Z\"")), Err(Error::Mac));
}

#[test]
fn what_sops_says_of_itself_is_hostile_too() {
    let format = |text: &str| match opened(text) {
        Err(Error::Format(why)) => why,
        other => panic!("{other:?}"),
    };
    let recipients = |text: &str| {
        let (before, rest) = SECRET.split_once("    age:\n").unwrap();
        format!("{before}{text}    lastmodified{}", rest.split_once("    lastmodified").unwrap().1)
    };
    assert_eq!(format("a: 1\n"), "it is not encrypted");
    assert_eq!(format("a: 1\nsops: 5\n"), "`sops` has no `mac` or no `lastmodified`");
    assert!(format(&recipients("    pgp: [{fp: x, enc: y}]\n")).contains("not encrypted for an age key"));
    assert!(format(&recipients("    key_groups: []\n")).contains("key_groups"));
    assert!(format(&recipients(&format!("    age: [{}]\n", "{enc: x},".repeat(51)))).contains("more than 50 age keys"));
    assert!(format(&recipients(&format!("    age: [{{enc: {}}}]\n", "x".repeat((2 << 10) + 1)))).contains("longer than 2 KiB"));
    assert!(format(&recipients("    age: [x]\n")).contains("no `enc`"));
    assert_eq!(opened(&recipients("    age: [{enc: x}]\n")), Err(Error::NoKey));
    let rule = |text: &str| SECRET.replace(line(SECRET, "encrypted_regex: "), text);
    assert!(format(&rule("encrypted_regex: (")).contains("can't be used"));
    assert!(format(&rule("encrypted_regex: '(\\w{1000}){1000}'")).contains("can't be used"));
    assert!(format(&rule(&format!("encrypted_suffix: {}", "x".repeat(1025)))).contains("at most 1024 bytes"));
    assert!(format(&rule("encrypted_comment_regex: x")).contains("chosen by comments"));
    assert!(format(&format!("{TWO}---\na: 1\n")).contains("encrypted as a whole"));
}

#[test]
fn size_and_depth_are_bounded() {
    let more = |text: &str| format!("{text}\n{SECRET}");
    assert_eq!(opened(&more(&format!("metadata2: [{}]", "1,".repeat(100_000)))), Err(Error::TooMany));
    assert_eq!(opened(&more(&format!("a: [{}]", "1,".repeat(9_000)))), Err(Error::Mac), "not too many");
    let (documents, errors) = yaml::parse(&more(&format!("a: {}1{}", "[".repeat(70), "]".repeat(70))));
    assert!(documents.is_empty() && errors[0].message.contains("nested more than 64 deep"), "{errors:?}");
    let keys = format!("? {}\n: {{b: 1}}", "k".repeat(5000));
    assert!(matches!(opened(&more(&keys)), Err(Error::Format(why)) if why.contains("longer than 4096 bytes")));
}

#[test]
fn keys_that_are_none_are_refused_without_showing_them() {
    let read = |pairs: &[(&str, &str)]| {
        Identities::read(pairs.iter().map(|(key, text)| (*key, text.as_bytes()))).map(|identities| identities.0.len())
    };
    assert_eq!(read(&[("a.agekey", KEY), ("b.agekey", OTHER), ("c.asc", "x")]), Ok(2));
    assert!(read(&[("c.asc", KEY)]).unwrap_err().contains("no key that ends in .agekey"));
    let cut = &KEY.trim_end()[..KEY.trim_end().len() - 4];
    let error = read(&[("a.agekey", cut)]).unwrap_err();
    assert!(error.contains("a.agekey is no age identity") && !error.contains(&cut[cut.len() - 20..]), "{error}");
    let many = format!("{}\n", KEY.lines().last().unwrap()).repeat(21);
    assert!(read(&[("a.agekey", &many)]).unwrap_err().contains("21 age identities, more than 20"));
}

#[test]
fn no_error_says_what_was_in_it() {
    let token = SECRET.replace("token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AAAA");
    for text in [SECRET.replace("team: web", "team: ops"), token] {
        let error = opened(&text).unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("horse") && !shown.contains("c2VjcmV0") && !shown.contains("first"), "{shown}");
    }
}
