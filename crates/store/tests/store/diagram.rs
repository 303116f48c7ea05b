//! `docs/database.md` is what the migrations say.

#[path = "../../examples/er/draw.rs"]
mod draw;

#[tokio::test]
async fn the_diagram_is_fresh() {
    let document = draw::document().await.unwrap();
    let written = std::fs::read_to_string(draw::path()).unwrap_or_default();
    assert!(written == document, "docs/database.md is stale: run `cargo run -p store --example er`");
}

/// Spot checks, so that an empty diagram is not a fresh one.
#[tokio::test]
async fn the_diagram_shows_keys_and_relations() {
    let document = draw::document().await.unwrap();
    for line in [
        "    deployment ||--o{ revision : \"deployment\"\n",
        "    revision ||--o{ batch : \"deployment, revision\"\n",
        "    audit_entry ||--o| step : \"audit_entry\"\n",
        "    content |o--o{ step : \"content\"\n",
        "        TEXT deployment PK, FK\n",
        "        BIGINT audit_entry FK, UK\n",
        "        TEXT finished_at \"optional\"\n",
        "| `plan` | A recorded plan",
    ] {
        assert!(document.contains(line), "{line}");
    }
}
