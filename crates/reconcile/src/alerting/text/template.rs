//! Templates by minijinja, made small: they fill in values, choose with `if` and go through lists with `for`, and nothing else.
//!
//! Whoever may write a template is not always whoever may stop the engine. Fuel bounds the instructions, but not what one of them makes:
//! `{% set a = a ~ a %}` a few dozen times is more memory than there is. So there is no way to keep a value (`set`, `with`, `macro`,
//! `block`), no multiplication, and of the filters only those whose result is no larger than what goes in, or is bounded. Then a result
//! grows only with the template's own length, which the kinds bound.

use std::io;
use std::sync::LazyLock;

use jiff::Timestamp;
use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, State, UndefinedBehavior, filters, tests as given};
use serde::Serialize;

use super::{Sink, neutral, plain};

/// The longest template that is taken, in bytes; the kinds allow less.
pub const LONGEST: usize = 16 << 10;
/// Work that one template may cause: each of a hundred alerts may be told with a few hundred instructions.
const FUEL: u64 = 50_000;
/// Bytes that one template may render to: more than any receiver takes of one message.
const OUTPUT: usize = 1 << 20;
/// Bytes that one filter may make.
const MADE: usize = 64 << 10;
/// The filters that there are.
const FILTERS: [&str; 14] =
    ["percent", "bytes", "duration", "since", "join", "default", "upper", "lower", "trim", "cut", "length", "first", "last", "round"];
/// What a statement may begin with.
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// What is wrong with a template, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    text: String,
    /// Where, counted from 1.
    pub line: Option<usize>,
}

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), line: None }
    }

    fn of(error: &minijinja::Error) -> Self {
        let what = match error.kind() {
            ErrorKind::OutOfFuel => format!("it does more than {FUEL} steps"),
            ErrorKind::WriteFailure => format!("it makes more than {OUTPUT} bytes"),
            kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
        };
        let line = error.line();
        let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        Self { text: super::cut(&neutral(&format!("{what}{place}")), 200), line }
    }
}

/// Whether it is a template: it parses, and uses only what there is.
pub fn check(template: &str) -> Result<(), Error> {
    allowed(template)?;
    let environment = &ENVIRONMENTS[0].1;
    environment.template_from_str(template).map(drop).map_err(|error| Error::of(&error))
}

/// Fills in a template; each value is escaped for its place, whatever the template says. `since` counts to the `now` of the context.
pub fn render(template: &str, context: &impl Serialize, sink: Sink) -> Result<String, Error> {
    allowed(template)?;
    let environment = ENVIRONMENTS.iter().find(|(of, _)| *of == sink).map(|(_, environment)| environment);
    let environment = environment.ok_or_else(|| Error::new("there is no such place"))?;
    let template = environment.template_from_str(template).map_err(|error| Error::of(&error))?;
    let mut written = Bounded(Vec::new());
    let context = Value::from(minijinja::value::Serde(context));
    template.render_captured_to(context, &mut written).map_err(|error| Error::of(&error))?;
    let text = String::from_utf8(written.0).map_err(|_| Error::new("it makes no text"))?;
    Ok(if sink == Sink::Line { neutral(&text).trim().to_owned() } else { text })
}

/// Fills in a template of one line; where it can't be, `plain` is said instead, and that it is.
pub fn render_or_plain(template: &str, context: &impl Serialize, plain: &str) -> String {
    match render(template, context, Sink::Line) {
        Ok(text) if !text.is_empty() => text,
        Ok(_) => format!("{} (its template makes an empty text)", neutral(plain)),
        Err(error) => format!("{} (its template fails: {error})", neutral(plain)),
    }
}

/// One environment for each place, made once.
static ENVIRONMENTS: LazyLock<[(Sink, Environment<'static>); 4]> =
    LazyLock::new(|| [Sink::Line, Sink::Html, Sink::Json, Sink::Form].map(|sink| (sink, environment(sink))));

fn environment(sink: Sink) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    environment.set_debug(false);
    // Whatever a value claims about being safe already: nothing is.
    environment.set_formatter(move |out, _, value| {
        if !value.is_undefined() && !value.is_none() {
            out.write_str(&sink.escape(&value.to_string()))?;
        }
        Ok(())
    });
    environment.add_filter("percent", |share: f64| plain::percent(share));
    environment.add_filter("bytes", |size: f64| plain::bytes(size));
    environment.add_filter("duration", |seconds: f64| plain::duration(seconds));
    environment.add_filter("since", since);
    environment.add_filter("join", join);
    environment.add_filter("default", filters::default);
    environment.add_filter("upper", |text: String| text.to_uppercase());
    environment.add_filter("lower", |text: String| text.to_lowercase());
    environment.add_filter("trim", |text: String| text.trim().to_owned());
    environment.add_filter("cut", |text: String, characters: usize| super::cut(&text, characters));
    environment.add_filter("length", filters::length);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("round", filters::round);
    environment.add_test("defined", given::is_defined);
    environment.add_test("undefined", given::is_undefined);
    environment.add_test("none", given::is_none);
    environment
}

/// How long ago a time was, by the context's `now`.
fn since(state: &State<'_, '_>, time: &str) -> Result<String, minijinja::Error> {
    let wrong = |text: &'static str| minijinja::Error::new(ErrorKind::InvalidOperation, text);
    let time: Timestamp = time.parse().map_err(|_| wrong("`since` takes a time"))?;
    let now = state.lookup("now").and_then(|now| now.as_str()?.parse::<Timestamp>().ok());
    let now = now.ok_or_else(|| wrong("`since` needs a `now`"))?;
    Ok(plain::duration(now.duration_since(time).as_secs_f64()))
}

/// The parts of a list with something between them.
fn join(list: &Value, between: Option<&str>) -> Result<String, minijinja::Error> {
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "`join` takes a list"));
    }
    let mut text = String::new();
    for (at, part) in list.try_iter()?.enumerate() {
        if at > 0 {
            text.push_str(between.unwrap_or_default());
        }
        text.push_str(&part.to_string());
        if text.len() > MADE {
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("`join` makes more than {MADE} bytes")));
        }
    }
    Ok(text)
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses what the module's comment speaks of. Tags are found as minijinja's own lexer finds them: text in quotes ends none.
fn allowed(template: &str) -> Result<(), Error> {
    if template.len() > LONGEST {
        return Err(Error::new(format!("it is longer than {LONGEST} bytes")));
    }
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        let (end, is_statement) = match rest.as_bytes().get(1) {
            Some(b'{') => ("}}", false),
            Some(b'%') => ("%}", true),
            Some(b'#') => {
                let Some(end) = rest.find("#}") else { return Err(Error::new("a comment has no end")) };
                rest = &rest[end + 2..];
                continue;
            }
            _ => {
                rest = &rest[1..];
                continue;
            }
        };
        let tag = &rest[2..];
        let (code, after) = outside_of_quotes(tag, end)?;
        expression(&code, is_statement)?;
        rest = after;
    }
    Ok(())
}

/// The code of a tag with its quoted texts left out, and what comes after it.
fn outside_of_quotes<'a>(tag: &'a str, end: &str) -> Result<(String, &'a str), Error> {
    let mut code = String::new();
    let mut quote = None;
    let mut is_escaped = false;
    for (at, letter) in tag.char_indices() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if letter == '\\' => is_escaped = true,
            Some(begun) if letter == begun => quote = None,
            Some(_) => {}
            None if tag[at..].starts_with(end) => return Ok((code, &tag[at + end.len()..])),
            None if letter == '\'' || letter == '"' => {
                quote = Some(letter);
                code.push('"');
            }
            None => code.push(letter),
        }
    }
    Err(Error::new(format!("`{end}` is missing")))
}

fn expression(code: &str, is_statement: bool) -> Result<(), Error> {
    if code.contains('*') {
        return Err(Error::new("`*` is not there in templates; for a share there is `| percent`"));
    }
    // minijinja would say so only when the template is filled in.
    let word = |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    if let Some(unknown) = code.split('|').skip(1).map(word).find(|name| !FILTERS.contains(&name.as_str())) {
        return Err(Error::new(format!("there is no filter `{}`", super::cut(&unknown, 20))));
    }
    if !is_statement {
        return Ok(());
    }
    let code = code.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
    let word = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
    if !STATEMENTS.contains(&word) {
        let word = super::cut(&neutral(word), 20);
        return Err(Error::new(format!("`{{% {word} %}}` is not there in templates: only if, elif, else, for")));
    }
    // A list that is written in the loop could keep a value.
    let is_plain = |part: &str| part.chars().all(|letter| letter.is_alphanumeric() || "_.,".contains(letter) || letter.is_whitespace());
    if word == "for" && (!is_plain(code) || code.split_whitespace().any(|word| ["recursive", "if"].contains(&word))) {
        return Err(Error::new("a `for` takes a list by its name, such as `for alert in firing`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};
    use serde_json::json;

    use super::*;

    fn line(template: &str) -> String {
        let context = json!({
            "now": "2026-11-26T12:00:00Z", "value": 0.913, "device": {"name": "web-01", "labels": {"site": "ams1"}, "since": "2026-11-26T10:55:00Z"},
            "firing": [{"rule": "a<b>"}, {"rule": "\r\nBcc: x"}], "size": 1_610_612_736_u64, "nothing": null,
        });
        render(template, &context, Sink::Line).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn what_a_summary_needs_is_there() {
        for (template, text) in [
            ("{{ device.name }}: memory at {{ value | percent }}", "web-01: memory at 91.3 %"),
            ("{{ size | bytes }}, {{ 3900 | duration }}, {{ device.since | since }}", "1.5 GiB, 1h 5m, 1h 5m"),
            ("{% for a in firing %}[{{ a.rule | trim | upper }}]{% endfor %}", "[A<B>][BCC: X]"),
            ("{% if device.labels.rack is defined %}x{% else %}no rack{% endif %}", "no rack"),
            ("{{ device.labels.rack | default('none') }} {{ nothing }}{{ firing | length }}", "none 2"),
            ("{{ value + 1 }} {{ 1 if value > 0.5 else 2 }} {# a * comment #}5 * 3", "1.913 1 5 * 3"),
            ("{{ \"}} * {% set\" | cut(4) }}", "}} …"),
        ] {
            assert_eq!(line(template), text, "{template}");
        }
    }

    #[test]
    fn what_fails_says_why() {
        for (template, word) in [
            ("{{ device.labels.rack }}", "undefined"),
            ("{{ device.name", "missing"),
            ("{% if %}", "(line 1)"),
            ("{{ value | frobnicate }}", "no filter `frobnicate`"),
            ("\n{{ value.x.y }}", "(line 2)"),
            ("{{ 'x' * 100000000 }}", "`*`"),
            ("{% set a = 'x' %}", "only if"),
            ("{%- macro f() %}{% endmacro %}", "only if"),
            ("{% with a = 1 %}{% endwith %}", "only if"),
            ("{% raw %}{% endraw %}", "only if"),
            ("{% for a in ['x' ~ 'x'] %}{% endfor %}", "by its name"),
            ("{% for a in firing recursive %}{{ loop(firing) }}{% endfor %}", "by its name"),
            ("{{ range(100000) }}", "unknown function"),
            ("{{ value | join(',') }}", "takes a list"),
            ("{{ 'x' | since }}", "takes a time"),
        ] {
            let found = line(template);
            assert!(found.starts_with("error: ") && found.contains(word), "{template}: {found}");
        }
        assert!(check("{{ anything.at.all | percent }}").is_ok());
        assert!(check("{{ a | nofilter }}").is_err() && check("{% if a %}").is_err());
    }

    #[test]
    fn each_limit_is_kept() {
        let long = "x".repeat(LONGEST + 1);
        assert!(check(&long).is_err() && check(&long[1..]).is_ok());
        let many: Vec<u32> = (0..1000).collect();
        let nested = "{% for a in many %}{% for b in many %}{{ b }}{% endfor %}{% endfor %}";
        let error = render(nested, &json!({"many": many}), Sink::Line).unwrap_err().to_string();
        assert_eq!(error, "it does more than 50000 steps (line 1)");
        let wide = "{% for a in many %}{{ text }}{% endfor %}";
        let error = render(wide, &json!({"many": many, "text": "x".repeat(2000)}), Sink::Line).unwrap_err().to_string();
        assert_eq!(error, "it makes more than 1048576 bytes");
        let error = render("{{ many | join(text) }}", &json!({"many": many, "text": "x".repeat(1000)}), Sink::Line).unwrap_err();
        assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
    }

    #[test]
    fn values_are_escaped_for_their_place_whatever_the_template_says() {
        let context = json!({"text": "<b>\"&\r\n"});
        let of = |template, sink| render(template, &context, sink).map_err(|error| error.to_string());
        assert_eq!(of("<i>{{ text }}</i>", Sink::Html).unwrap(), "<i>&lt;b&gt;&quot;&amp;  </i>");
        assert_eq!(of("{\"a\": \"{{ text }}\"}", Sink::Json).unwrap(), "{\"a\": \"<b>\\\"&  \"}");
        assert_eq!(of("a={{ text }}", Sink::Form).unwrap(), "a=%3Cb%3E%22%26%20%20");
        assert!(of("{{ text | safe }}", Sink::Html).is_err(), "there is no such filter");
        assert!(of("{% autoescape false %}{{ text }}{% endautoescape %}", Sink::Html).is_err());
    }

    #[test]
    fn a_broken_template_says_the_plain_thing_instead_of_nothing() {
        let said = render_or_plain("{{ oops }}", &json!({}), "memory on web-01");
        assert!(said.starts_with("memory on web-01 (its template fails: undefined"), "{said}");
        assert_eq!(render_or_plain(" ", &json!({}), "x"), "x (its template makes an empty text)");
        assert_eq!(render_or_plain("fine", &json!({}), "x"), "fine");
    }

    proptest! {
        #[test]
        fn no_template_takes_what_is_not_there(template in "([{}%#'\"a-z.|~* \\\\-]|\\{\\{|\\}\\}|\\{%|%\\}|set |for a in |if |endif|endfor|raw){0,40}") {
            if let Ok(text) = render(&template, &json!({"a": "x", "b": ["y"]}), Sink::Line) {
                prop_assert!(text.len() <= template.len() + 400, "{text}");
            }
        }
    }
}
