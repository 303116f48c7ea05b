//! Expressions and templates as somebody makes them of real ones.

#[path = "../../../tests/fuzz.rs"]
mod fuzz;
#[path = "world/device.rs"]
mod world;

use reconcile::alerting::expr::{Compiled, DEPTH, TERMS};
use reconcile::alerting::text::template::{check, render};
use reconcile::alerting::text::{Sink, neutral};
use serde_json::json;
use world::{World, now};

const WORDS: [&str; 40] = [
    "usage.memory.ratio",
    "usage.disks[\"/var\"].ratio",
    "usage.disks",
    "probes[\"web\"].state",
    "device.labels",
    "device.vars.limit",
    "logs.errors",
    "logs[\"x\"].matches",
    "deployments[\"web\"]",
    "now",
    " && ",
    " || ",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\\",
    ".exists(d, ",
    ".map(d, ",
    ".size()",
    " ? ",
    " : ",
    " in ",
    " == ",
    " < ",
    " * ",
    " / 0",
    " % ",
    "-",
    "avg(",
    ", \"10m\")",
    "age(",
    "duration(\"1h\")",
    "true",
    "null",
];

/// What is taken means the same in both forms; what is refused is said in one line each.
#[test]
fn fuzz_expressions() {
    let world = World::new();
    let bare = World { usage: None, ..World::new() };
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "expression", &WORDS, 3_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let compiled = match Compiled::new(&text) {
            Ok(compiled) => compiled,
            Err(wrong) => {
                assert!(!wrong.is_empty());
                for wrong in wrong {
                    assert!(!wrong.message.is_empty() && wrong.message.len() <= 2 * text.len() + 500, "{wrong:?}");
                    assert!(!wrong.message.contains(char::is_control), "{wrong:?}");
                }
                return;
            }
        };
        assert!(compiled.lowered().is_none_or(|(_, terms)| terms.len() <= TERMS));
        for world in [&world, &bare] {
            let inputs = world.inputs();
            // By both ways.
            world.truth(&text);
            assert!(compiled.value(&inputs).is_none_or(f64::is_finite));
            assert!(compiled.look_again(&inputs).is_none_or(|at| at > now()));
        }
    });
}

/// Nesting is refused before it needs a deep stack, whatever it is made of.
#[test]
fn fuzz_nesting() {
    for word in WORDS {
        for count in [DEPTH, 100, 2000] {
            let _ = Compiled::new(&word.repeat(count));
            let _ = Compiled::new(&format!("{}true{}", "(".repeat(count), ")".repeat(count)));
        }
    }
}

/// Whatever a template says and a device is called: each value stays in its place, and nothing grows beyond its bound.
#[test]
fn fuzz_templates() {
    let hostile = "<script>\"'&\\\u{1b}[31m\r\nBcc: x\u{202e}{{ title }}%\u{7f}";
    let context = json!({
        "status": "firing", "headline": hostile, "title": hostile, "text": hostile, "to": "+43123", "id": "n-1", "device": "web-01", "value": 0.913,
        "size": 1.5e9, "seconds": 3900.0, "names": [hostile, "b"], "labels": {"role": "web", hostile: hostile}, "now": "2026-01-02T03:04:05Z",
        "firing": [{"device": "web-01", "summary": hostile, "since": "2026-01-02T03:00:00Z"}, {"device": "web-02"}],
    });
    let words = [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{#",
        "#}",
        "{%- if ",
        "{% endif %}",
        "{% for a in firing %}",
        "{% endfor %}",
        " | ",
        "default(",
        "join(\", \")",
        "text",
        "title",
        "labels",
        "loop.index",
        "safe",
        "~",
        "'",
        "\"",
        "\\",
        "*",
        "(",
        ")",
        "[0]",
        "range(9)",
        "upper",
        "cut(5)",
        "\u{0}",
        "is defined",
    ];
    let plain: serde_json::Value = serde_json::from_str(&context.to_string().replace(&json!(hostile).to_string(), "\"x\"")).unwrap();
    let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    fuzz::run(env!("CARGO_MANIFEST_DIR"), "template", &words, 3_000, |bytes| {
        let template = String::from_utf8_lossy(bytes);
        // What the template itself says stands as it is; what is filled in does not.
        let own = |mark: &str| template.matches(mark).count();
        if let Err(error) = check(&template) {
            assert!(error.to_string().chars().count() <= 200 && !error.to_string().contains(char::is_control), "{error:?}");
        }
        for sink in [Sink::Line, Sink::Html, Sink::Json, Sink::Form] {
            let text = match render(&template, &context, sink) {
                Ok(text) => text,
                Err(error) => {
                    assert!(error.to_string().chars().count() <= 200 && !error.to_string().contains(char::is_control), "{error:?}");
                    continue;
                }
            };
            assert!(check(&template).is_ok() && text.len() <= 1 << 20);
            match sink {
                Sink::Line => assert_eq!(neutral(&text), text),
                Sink::Html if own("<script") == 0 => assert!(!text.contains("<script"), "{text}"),
                Sink::Form if own("<") == 0 => assert!(!text.contains("<script"), "{text}"),
                Sink::Json if render(&template, &plain, sink).is_ok_and(|text| is_json(&text)) => assert!(is_json(&text), "{text}"),
                Sink::Html | Sink::Json | Sink::Form => {}
            }
            assert!(
                text.contains('\u{1b}') <= template.contains('\u{1b}') && text.contains('\u{202e}') <= template.contains('\u{202e}'),
                "{text:?}"
            );
        }
    });
}
