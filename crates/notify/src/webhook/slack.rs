//! Slack's incoming webhooks: docs.slack.dev, "Sending messages using incoming webhooks" and "Blocks".
//!
//! What comes from devices stands in `plain_text` only, where no markup, no link and no `<!channel>` means anything.

use serde_json::{Value, json};

use super::{fitting, more};
use crate::words::{Line, View};
use reconcile::alerting::text::cut;

/// Alerts that one message shows: each has two blocks, and a message has 50 at most; what is longer nobody reads in a chat.
const ALERTS: usize = 10;
/// Bytes of one message; Slack says nothing of it, and refuses what is much larger.
const BYTES: usize = 40_000;
/// Characters of a header, by Slack's rule.
const HEADER: usize = 150;
/// Characters of a text; Slack takes 3000.
const TEXT: usize = 1000;

pub(super) fn body(view: &View) -> Value {
    fitting(view, ALERTS, BYTES, |lines, left| {
        let headline = format!("[{}] {}", view.headline, view.title);
        let mut blocks = vec![json!({"type": "header", "text": plain(&headline, HEADER)})];
        for (word, line) in lines {
            blocks.push(json!({"type": "section", "text": plain(&format!("{}: {}", line.device, line.summary), TEXT)}));
            blocks.push(json!({"type": "context", "elements": [plain(&details(word, line), TEXT)]}));
        }
        let mut last = view.reason.clone();
        if left > 0 {
            last = format!("{}. {last}", more(left));
        }
        blocks.push(json!({"type": "context", "elements": [plain(&last, TEXT)]}));
        if let Some(url) = &view.url {
            let button = json!({"type": "button", "text": plain("Open Evenkeel", HEADER), "url": url});
            blocks.push(json!({"type": "actions", "elements": [button]}));
        }
        // `text` is what a notification on a phone shows; there markup does count, so it is escaped.
        let text = headline.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        json!({"text": cut(&text, TEXT), "attachments": [{"color": color(view.worst()), "fallback": text, "blocks": blocks}]})
    })
}

fn details(word: &str, line: &Line) -> String {
    let parts =
        [Some(format!("{word} {}", line.when)), line.change.as_ref().map(|change| format!("last change: {change}")), line.behind.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn plain(text: &str, longest: usize) -> Value {
    json!({"type": "plain_text", "text": cut(text, longest), "emoji": false})
}

fn color(worst: &str) -> &'static str {
    match worst {
        "critical" => "#c62828",
        "warning" => "#ef6c00",
        "info" => "#1565c0",
        _ => "#2e7d32",
    }
}
