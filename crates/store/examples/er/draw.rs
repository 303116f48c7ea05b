//! The tables as an entity-relationship diagram, from what SQLite says of a fresh database and from the migrations' comments.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Row as _};

const ABOVE: &str = "# The database

Generated from `crates/store/migrations` by `cargo run -p store --example er`; a test fails when it is stale.

The same tables serve the embedded SQLite file (`evenkeel.db` in the data directory) and PostgreSQL (`DATABASE_URL`), from one folder of
migrations and by the same statements: they use BIGINT, TEXT and DOUBLE PRECISION columns only, and no word that only one of the two knows.
Where something truly has to differ, such as how a connection is set up, it does so in `open.rs`; in PostgreSQL the tables of samples are
partitioned by time (`samples/partitions.rs`).

Tables are in third normal form, but for this:

- What is written once and only ever read as a whole is JSON text, such as a content, a step, a notice.
- What a part of the engine remembers is JSON text too, which is written anew when it changes: `alert`, `alert_group`, `alert_history` (an
  alert that flaps replaces itself there), `log_template`, `log_known`, `last_reading`, `letter`, and of `notice` whom it has reached. It is
  read as a whole as well: no statement asks for anything in it.
- Some columns beside such a document say again what it says: of `alert` rule, device, id and state, of `alert_group` the rule, of
  `alert_history` id, rule, device and resolved_at. The document is the truth. The columns are the keys, what indices are made of, and, as
  `state`, for people who look with SQL: the engine finds rows by them and takes everything else from the document. Both are written by one
  statement, the columns from the document, so that neither is ever newer.
- An audit entry's target and unit stand beside its text so that they can be indexed.

Every transaction that writes takes the one row of `audit_tree` first. So writers stand in line, on one engine and across several, and
the audit log stays one tree.
";

const BELOW: &str = "
## What grows, and what bounds it

| What | Bound |
|---|---|
| audit entries | none: they are the log, and are never removed |
| checkpoints | the newest one, and one in each 256 entries |
| plans and their steps | the newest 2000 plans, and steps until 500 000 entries were written after theirs; a step that is under way always stays |
| revisions and their batches | the Deployment's history limit |
| contents | as long as a revision or a step refers to them |
| approvals | 100 of a Deployment, one of a source |
| lines of logs | their age and their number, as is configured; in PostgreSQL by whole days |
| templates and counts of lines | their age |
| users, sessions, tokens | 10 000 users; of each 20 sessions and 50 tokens, which end |
| failed sign-ins | 10 000 names and addresses, for a day |
| placements | one for each device of a Deployment |
| requests under keys | 24 hours, and 2000 answered ones of one asker |
| devices that are gone, the commits that changed devices, what Roles allowed once | 400 days |
| states of probes | 30 days, and of each probe the newest 500 |
| samples | single values 48 hours, sums of five minutes 30 days, sums of an hour 400 days; 512 series of a device at once |
";

/// Where the document is kept.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/database.md")
}

/// The whole document.
pub async fn document() -> Result<String, Box<dyn Error>> {
    let data = tempfile::TempDir::new()?;
    store::Store::open(&store::Options { data: data.path().to_owned(), url: None }).await?.close().await;
    let url = format!("sqlite://{}?mode=ro", data.path().join("evenkeel.db").display());
    let mut database = AnyConnectOptions::from_str(&url)?.connect().await?;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND name NOT LIKE 'log\\_text%' ESCAPE '\\' ORDER BY rowid";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut database).await?;

    let mut text = format!("{ABOVE}\n```mermaid\nerDiagram\n");
    for table in &tables {
        text += &relations(&mut database, table).await?;
    }
    for table in &tables {
        text += &columns(&mut database, table).await?;
    }
    text += "```\n\n## Tables\n\n| Table | What it holds |\n|---|---|\n";
    let comments = comments()?;
    for table in &tables {
        let comment = comments.get(table.as_str()).ok_or_else(|| format!("no comment above CREATE TABLE {table}"))?;
        writeln!(text, "| `{table}` | {comment} |")?;
    }
    Ok(text + BELOW)
}

/// Who refers to whom: exactly one or perhaps one there, perhaps one or any number here.
async fn relations(database: &mut AnyConnection, table: &str) -> Result<String, Box<dyn Error>> {
    let mut keys: BTreeMap<i64, (String, Vec<String>)> = BTreeMap::new();
    let list = format!("SELECT id, \"table\", \"from\" FROM pragma_foreign_key_list('{table}') ORDER BY id, seq");
    for row in sqlx::query(AssertSqlSafe(list)).fetch_all(&mut *database).await? {
        keys.entry(row.try_get("id")?).or_insert((row.try_get("table")?, Vec::new())).1.push(row.try_get("from")?);
    }
    let (unique, optional) = (unique(database, table).await?, optional(database, table).await?);
    let mut text = String::new();
    for (there, from) in keys.into_values() {
        let one = if from.iter().any(|column| optional.contains(column)) { "|o" } else { "||" };
        let many = if unique.contains(&from) { "o|" } else { "o{" };
        writeln!(text, "    {there} {one}--{many} {table} : \"{}\"", from.join(", "))?;
    }
    Ok(text)
}

async fn columns(database: &mut AnyConnection, table: &str) -> Result<String, Box<dyn Error>> {
    let foreign = format!("SELECT \"from\" FROM pragma_foreign_key_list('{table}')");
    let foreign: Vec<String> = sqlx::query_scalar(AssertSqlSafe(foreign)).fetch_all(&mut *database).await?;
    let unique = unique(database, table).await?;
    let mut text = format!("    {table} {{\n");
    let info = format!("SELECT name, type, pk, \"notnull\" AS required FROM pragma_table_info('{table}') ORDER BY cid");
    for row in sqlx::query(AssertSqlSafe(info)).fetch_all(&mut *database).await? {
        let (name, kind): (String, String) = (row.try_get("name")?, row.try_get("type")?);
        let mut keys = Vec::new();
        if row.try_get::<i64, _>("pk")? > 0 {
            keys.push("PK");
        }
        if foreign.contains(&name) {
            keys.push("FK");
        }
        if keys.first() != Some(&"PK") && unique.contains(&vec![name.clone()]) {
            keys.push("UK");
        }
        let optional = if row.try_get::<i64, _>("required")? == 0 { " \"optional\"" } else { "" };
        let keys = if keys.is_empty() { String::new() } else { format!(" {}", keys.join(", ")) };
        let kind = kind.replace(' ', "_");
        writeln!(text, "        {kind} {name}{keys}{optional}")?;
    }
    Ok(text + "    }\n")
}

/// Sets of columns of which no two rows have the same values.
async fn unique(database: &mut AnyConnection, table: &str) -> Result<Vec<Vec<String>>, Box<dyn Error>> {
    let list = format!("SELECT name FROM pragma_index_list('{table}') WHERE \"unique\" = 1");
    let indices: Vec<String> = sqlx::query_scalar(AssertSqlSafe(list)).fetch_all(&mut *database).await?;
    let mut sets = Vec::new();
    for index in indices {
        let info = format!("SELECT name FROM pragma_index_info('{index}') ORDER BY seqno");
        sets.push(sqlx::query_scalar(AssertSqlSafe(info)).fetch_all(&mut *database).await?);
    }
    Ok(sets)
}

async fn optional(database: &mut AnyConnection, table: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let info = format!("SELECT name FROM pragma_table_info('{table}') WHERE \"notnull\" = 0");
    Ok(sqlx::query_scalar(AssertSqlSafe(info)).fetch_all(&mut *database).await?)
}

/// The comment right above each table, by its name.
fn comments() -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut comments = BTreeMap::new();
    for file in files {
        let mut above = Vec::new();
        for line in std::fs::read_to_string(file)?.lines() {
            if let Some(comment) = line.strip_prefix("-- ") {
                above.push(comment.to_owned());
                continue;
            }
            if let Some(table) = line.strip_prefix("CREATE TABLE ").and_then(|rest| rest.strip_suffix(" (")) {
                comments.insert(table.to_owned(), above.join(" "));
            }
            above.clear();
        }
    }
    Ok(comments)
}
