//! Whether an SMS gateway took a message: CEL over its answer.
//!
//! Gateways answer `200 OK` with `{"status": "failed"}` in the body, so the status alone says nothing.

use std::sync::Arc;

use cel::{Context, Program, Value};

/// The longest expression.
const LONGEST: usize = 1024;
/// Macros that go through a list, in one expression: two within each other are the square of [`PARTS`].
const MACROS: usize = 2;
/// What goes through a list.
const LOOPS: [&str; 6] = ["all", "exists", "exists_one", "existsOne", "map", "filter"];
/// Bytes of an answer that are looked at: what a gateway says of one message is less.
pub const BODY: usize = 64 << 10;
/// Parts that an answer's JSON may have to be looked at.
const PARTS: usize = 1000;

/// An expression that says whether an answer means that the message was taken.
pub struct Success(Program);

/// What a gateway answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status: `status`.
    pub status: u16,
    /// The body: `body` as text, and as JSON `json`, which is null where it is none.
    pub body: &'a str,
}

impl Success {
    /// Reads an expression. The error says what is wrong with it.
    pub fn parse(expression: &str) -> Result<Self, String> {
        if expression.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let words = expression.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        // What a macro calls the part that it looks at: the word after its own.
        let bound: Vec<&str> = words.windows(2).filter(|pair| LOOPS.contains(&pair[0])).map(|pair| pair[1]).collect();
        if words.iter().filter(|word| LOOPS.contains(word)).count() > MACROS {
            return Err(format!("it goes through lists more than {MACROS} times"));
        }
        if words.iter().any(|word| LOOPS.contains(word)) {
            let plain = unquoted(expression)
                .ok_or("where it goes through a list no text is raw (`r''`) or in three quotes, and there are no comments")?;
            if plain.contains('+') {
                return Err("where it goes through a list nothing is put together by `+`".into());
            }
        }
        let program = Program::compile(expression).map_err(|error| super::text::cut(&super::text::neutral(&error.to_string()), 200))?;
        if let Some(unknown) =
            program.references().variables().iter().find(|name| !["status", "body", "json"].contains(name) && !bound.contains(name))
        {
            return Err(format!("there is no `{}`, only status, body and json", super::text::neutral(unknown)));
        }
        Ok(Self(program))
    }

    /// Whether the answer means that the message was taken. The error says why that can't be said.
    pub fn holds(&self, answer: Answer<'_>) -> Result<bool, String> {
        let mut context = Context::default();
        let json = serde_json::from_str::<serde_json::Value>(answer.body).ok().filter(|value| parts(value) <= PARTS);
        let json = cel::to_value(json).map_err(|_| "the answer can't be read".to_owned())?;
        context.add_variable_from_value("status", i64::from(answer.status));
        context.add_variable_from_value("body", Value::String(Arc::new(answer.body.to_owned())));
        context.add_variable_from_value("json", json);
        match self.0.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it comes to something else than true or false".into()),
            Err(error) => Err(super::text::cut(&super::text::neutral(&error.to_string()), 200)),
        }
    }
}

/// Without the texts in it. None where one ends elsewhere than others do, as what is behind it would be taken for a part of it: with a letter
/// before its quote, in three quotes, or begun in a comment, where a quote is none.
fn unquoted(expression: &str) -> Option<String> {
    if ["\"\"\"", "'''"].iter().any(|quotes| expression.contains(quotes)) {
        return None;
    }
    let (mut plain, mut quote, mut escaped) = (String::new(), None, false);
    for letter in expression.chars() {
        match quote {
            Some(_) if std::mem::take(&mut escaped) => {}
            Some(open) => {
                escaped = letter == '\\';
                quote = (letter != open).then_some(open);
            }
            None if ['"', '\''].contains(&letter) => {
                if plain.ends_with(char::is_alphanumeric) {
                    return None;
                }
                quote = Some(letter);
            }
            None if letter == '/' && plain.ends_with('/') => return None,
            None => plain.push(letter),
        }
    }
    Some(plain)
}

fn parts(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(list) => 1 + list.iter().map(parts).sum::<usize>(),
        serde_json::Value::Object(map) => 1 + map.values().map(parts).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str, status: u16, body: &str) -> String {
        match Success::parse(expression).and_then(|success| success.holds(Answer { status, body })) {
            Ok(holds) => holds.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn status_and_body_both_count() {
        let queued = r#"{"status": "queued", "messages": [{"id": 1, "error": null}]}"#;
        assert_eq!(of("status == 200 && json.status == 'queued'", 200, queued), "true");
        assert_eq!(of("status == 200 && json.status == 'queued'", 200, r#"{"status": "failed"}"#), "false");
        assert_eq!(of("json.messages.all(m, m.error == null)", 200, queued), "true");
        assert_eq!(of("body.startsWith('OK')", 200, "OK 4711"), "true");
        assert_eq!(of("json == null", 200, "OK 4711"), "true", "no JSON");
        assert_eq!(of("json.exists(m, m.contains('http://'))", 200, r#"["http://a"]"#), "true", "a text with what begins a comment");
        assert_eq!(of(r#"json.exists(m, m.contains("it's \"+\""))"#, 200, r#"["it's \"+\""]"#), "true", "a text with a plus");
    }

    #[test]
    fn what_can_not_be_said_is_an_error_and_not_a_success() {
        for (expression, body, word) in [
            ("json.status == 'queued'", "{}", "status"),
            ("json.status == 'queued'", "no JSON", "error"),
            ("status", "{}", "something else"),
            ("status ==", "", ""),
            ("stauts == 200", "", "only status, body and json"),
            ("json.all(a, json.all(b, json.all(c, true)))", "[]", "more than 2 times"),
            ("json.map(a, body + body).size() > 0", "[]", "put together"),
            (r"json.map(a, r'\' + body + '').size() > 0", "[]", "raw"),
            ("json.map(a, // '\n body + body\n // '\n ).size() > 0", "[]", "no comments"),
            ("json.map(a, ''' ' ''' + body + ''' ' ''').size() > 0", "[]", "three quotes"),
        ] {
            let found = of(expression, 200, body);
            assert!(found.starts_with("error: ") && found.contains(word), "{expression}: {found}");
        }
        assert!(Success::parse(&format!("status == {}1", " ".repeat(LONGEST))).is_err());
        let large = format!("[{}1]", "1,".repeat(PARTS));
        assert_eq!(of("json == null", 200, &large), "true", "too large to be gone through");
    }
}
