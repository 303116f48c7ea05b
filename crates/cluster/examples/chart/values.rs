//! The chart's README: what each value is for, as the comments of `values.yaml` say it.

/// A value, or a group of values.
struct Row {
    path: String,
    /// Empty: a group.
    default: String,
    text: String,
}

const HEAD: &str = "\
# Evenkeel's Helm chart

Generated from `values.yaml` by `cargo xtask generate`; do not edit.

```sh
helm upgrade --install evenkeel charts/evenkeel --namespace evenkeel-system --create-namespace \\
  --set 'secrets[0].namespace=fleet' --set 'secrets[0].names={fleet-key}'
helm test evenkeel --namespace evenkeel-system
```

There is no admission webhook, and none is needed. What one object can show is refused by the API server itself, by the schemas and CEL rules of the kinds. What takes
several (a reference that leads nowhere, a circle, two that claim the same) may become wrong without anybody writing that object: the engine checks it whenever one of
them changes, keeps what was last good, and says so in the status (`Stalled`). `evenkeel check` finds both before a commit. So nobody's `kubectl` waits for the operator.

As it is it runs one replica with a SQLite file on a volume. More replicas share a PostgreSQL: `replicas`, `database.existingSecret` and
`auditKey.existingSecret`. An upgrade brings the kinds with it; an uninstall leaves them, every object, and the volume. The folder `ci` has
values for some ways to use it, each of which is tried on a real API server.

| Value | Default | What it is for |
|---|---|---|
";

/// The README.
pub fn readme(values: &str) -> String {
    let mut text = HEAD.to_owned();
    for Row { path, default, text: words } in rows(values) {
        let default = if default.is_empty() { String::new() } else { format!("`{}`", default.replace('|', "\\|")) };
        text.push_str(&format!("| `{path}` | {default} | {} |\n", words.replace('|', "\\|")));
    }
    text
}

/// Values that neither have words nor are in a group that has.
pub fn wordless(values: &str) -> Vec<String> {
    let rows = rows(values);
    let has_words =
        |path: &str| rows.iter().any(|row| !row.text.is_empty() && (row.path == path || path.starts_with(&format!("{}.", row.path))));
    rows.iter().filter(|row| !row.default.is_empty() && !has_words(&row.path)).map(|row| row.path.clone()).collect()
}

/// Reads our own file, line by line: a key on each line, two spaces for each level, its words right above it. An indented comment that
/// begins further right shows an example and is left out.
fn rows(values: &str) -> Vec<Row> {
    let (mut rows, mut words, mut path) = (Vec::new(), Vec::new(), Vec::new());
    for line in values.lines() {
        let bare = line.trim_start();
        if bare.is_empty() {
            words.clear();
        } else if let Some(comment) = bare.strip_prefix('#') {
            let word = comment.strip_prefix(' ').unwrap_or(comment);
            if !word.starts_with(' ') && !word.starts_with('-') {
                words.push(word);
            }
        } else if let Some((key, default)) = bare.split_once(':') {
            path.truncate((line.len() - bare.len()) / 2);
            path.push(key);
            let row = Row { path: path.join("."), default: default.trim().to_owned(), text: words.join(" ") };
            words.clear();
            if !(row.default.is_empty() && row.text.is_empty()) {
                rows.push(row);
            }
        }
    }
    rows
}
