//! Microsoft Teams: an Adaptive Card for a webhook of Workflows. learn.microsoft.com, "Post a workflow when a webhook request is received in
//! Microsoft Teams"; adaptivecards.io, schema 1.4.
//!
//! `TextBlock` and facts read Markdown; `RichTextBlock` does not, so that is where everything from devices stands.

use serde_json::{Value, json};

use super::{fitting, more};
use crate::words::{Line, View};
use reconcile::alerting::text::cut;

/// Alerts that one card shows.
const ALERTS: usize = 10;
/// Bytes of one message: Teams refuses more than 28 KB.
const BYTES: usize = 25_000;
/// Characters of a text.
const TEXT: usize = 500;

pub(super) fn body(view: &View) -> Value {
    fitting(view, ALERTS, BYTES, |lines, left| {
        let mut body = vec![rich(&[run(
            &format!("[{}] {}", view.headline, view.title),
            json!({"weight": "Bolder", "size": "Medium", "color": color(view.worst())}),
        )])];
        for (word, line) in lines {
            let mut items = vec![rich(&[
                run(&format!("{word}  "), json!({"weight": "Bolder", "color": color(word)})),
                run(&line.device, json!({"weight": "Bolder"})),
                run(&format!("  {}", line.summary), json!({})),
            ])];
            items.extend(details(line).iter().map(|text| rich(&[run(text, json!({"isSubtle": true, "size": "Small"}))])));
            body.push(json!({"type": "Container", "separator": true, "items": items}));
        }
        let last = if left > 0 { format!("{}. {}", more(left), view.reason) } else { view.reason.clone() };
        body.push(rich(&[run(&last, json!({"isSubtle": true, "size": "Small"}))]));
        let open = view.url.iter().map(|url| json!({"type": "Action.OpenUrl", "title": "Open Evenkeel", "url": url}));
        let card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "msteams": {"width": "Full"},
            "body": body,
            "actions": open.collect::<Vec<_>>(),
        });
        let attachment = json!({"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card});
        json!({"type": "message", "attachments": [attachment]})
    })
}

fn details(line: &Line) -> Vec<String> {
    let change = line.change.as_ref().map(|change| format!("last change: {change}"));
    [Some(line.when.clone()), change, line.behind.clone()].into_iter().flatten().collect()
}

fn rich(runs: &[Value]) -> Value {
    json!({"type": "RichTextBlock", "inlines": runs})
}

fn run(text: &str, mut look: Value) -> Value {
    look["type"] = "TextRun".into();
    look["text"] = cut(text, TEXT).into();
    look
}

fn color(word: &str) -> &'static str {
    match word {
        "critical" => "Attention",
        "warning" => "Warning",
        "info" => "Accent",
        _ => "Good",
    }
}
