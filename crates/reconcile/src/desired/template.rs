//! Templates of files, rendered per device. Strict: a variable that does not exist is an error, never an empty string.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use crate::content::{Content, FileSource};
use crate::desired::Device;

/// Work that one template may cause, and what it may make: a step is one, and so is each 64 bytes. Far more than any configuration file
/// needs, and 6 MiB at most, however a template doubles what it has.
const FUEL: u64 = 100_000;
/// Loops of a template in which lists may be put together: each may double what is in it.
const LOOPS: usize = 16;
/// Bytes that one template may render to.
const MAX_BYTES: usize = 1 << 20;

impl Content {
    /// This content with its templates rendered for a device. The error has the file's place in the list, and what is wrong, in one
    /// line.
    pub fn render(&self, device: &Device) -> Result<Self, (usize, String)> {
        let mut rendered = self.clone();
        for (at, file) in rendered.files.iter_mut().enumerate() {
            if let FileSource::Template(template) = &file.source {
                let text = render(template, device).map_err(|error| (at, format!("{}: {error}", file.path)))?;
                file.source = FileSource::Text(text);
            }
        }
        Ok(rendered)
    }
}

/// Fuel counts what is made, but for lists that are put together by `+`: those are made first, and thirty times `a + a` would be all the
/// memory there is. So where a template can give a name to what it made, one side of each `+` is a number or a text as it is written.
pub(crate) fn check(template: &str) -> Result<(), String> {
    let mut sums = false;
    let (mut keeps, mut loops) = (false, 0);
    let mut rest = template;
    while let Some(start) = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min() {
        let close = match &rest[start..start + 2] {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let inside = &rest[start + 2..];
        let end = inside.find(close).unwrap_or(inside.len());
        let tag = &inside[..end];
        rest = &inside[end..];
        if close == "#}" {
            continue;
        }
        let words = words(tag);
        for (at, word) in words.iter().enumerate() {
            match word.as_str() {
                "set" | "with" | "macro" | "call" | "recursive" => keeps = true,
                "for" => loops += 1,
                "+" => {
                    let is_written = |word: Option<&String>| {
                        word.is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit() || first == '"'))
                    };
                    sums |= !is_written(at.checked_sub(1).and_then(|before| words.get(before))) && !is_written(words.get(at + 1));
                }
                _ => {}
            }
        }
    }
    if sums && (keeps || loops > LOOPS) {
        return Err("in a template with `set`, `with`, `macro` or many loops, one side of `+` has to be a number or a text as it is written; texts are put together by `~`".into());
    }
    Ok(())
}

/// Names, numbers and signs of a tag, each text as `"`.
fn words(tag: &str) -> Vec<String> {
    let (mut words, mut quote) = (Vec::<String>::new(), None);
    let (mut is_open, mut escaped) = (false, false);
    for character in tag.chars() {
        if let Some(sign) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                character if character == sign => quote = None,
                _ => {}
            }
            continue;
        }
        let is_word = character.is_alphanumeric() || character == '_' || character == '.';
        match (character, words.last_mut().filter(|_| is_open && is_word)) {
            ('"' | '\'', _) => {
                quote = Some(character);
                words.push("\"".into());
            }
            (_, Some(word)) => word.push(character),
            (character, None) if !character.is_whitespace() => words.push(character.into()),
            _ => {}
        }
        is_open = is_word;
    }
    words
}

fn render(template: &str, device: &Device) -> Result<String, String> {
    check(template)?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default delimiters");
    environment.set_syntax(syntax);
    let context = minijinja::context! {
        device => minijinja::context! {
            name => device.name.name(), namespace => device.name.namespace(),
            address => &device.address, labels => minijinja::Value::from(minijinja::value::Serde(&device.labels)),
        },
        vars => minijinja::Value::from(minijinja::value::Serde(&device.vars)),
    };
    let text = environment.render_str(template, context).map_err(|error| {
        let line = error.line().map(|line| format!(" (template line {line})")).unwrap_or_default();
        let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        format!("{what}{line}").replace('\n', " ")
    })?;
    if text.len() > MAX_BYTES { Err(format!("renders to more than {MAX_BYTES} bytes")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device {
            name: crate::name::Name::parse("web-01"),
            device_type: crds::DeviceType::Server,
            address: "192.0.2.1".into(),
            labels: Default::default(),
            parents: Vec::new(),
            access: crate::desired::Access::None,
            probes: Vec::new(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: Default::default(),
        }
    }

    /// Each of these would make more than there is memory, in a few steps.
    #[test]
    fn what_doubles_itself_is_stopped() {
        let doubled = format!("{{% set a = 'xxxxxxxxxxxxxxxx' %}}{}{{{{ a | length }}}}", "{% set a = a ~ a %}".repeat(60));
        let captured =
            format!("{{% set a = 'xxxxxxxxxxxxxxxx' %}}{}{{{{ a | length }}}}", "{% set a %}{{ a }}{{ a }}{% endset %}".repeat(60));
        let looped =
            "{% set n = namespace(a='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a | length }}";
        let lists = format!("{{% set a = [1, 2, 3, 4] %}}{}{{{{ a | join }}}}", "{% set a = a + a %}".repeat(60));
        let replaced =
            format!("{{% set a = 'xx' %}}{}{{{{ a | length }}}}", "{% set a = a | replace('x', 'xxxxxxxxxxxxxxxx') %}".repeat(20));
        let times = "{{ ('x' * 1000000) | length }}{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}";
        let nested = "{% macro f(a, n) %}{{ f(a + a, n + 1) if n < 99 else a | length }}{% endmacro %}{{ f([1, 2], 0) }}";
        for template in [doubled.as_str(), &captured, looped, &replaced, times, &lists, nested] {
            let error = render(template, &device()).unwrap_err();
            assert!(error.contains("fuel") || error.contains("too large") || error.contains("`+`"), "{error}");
        }
        // What people write is far from that.
        assert_eq!(render("{% set a = device.name %}{{ a ~ a }}\n", &device()).unwrap(), "web-01web-01\n");
        let long = "{% for i in range(2000) %}server 192.0.2.{{ i }} weight={{ i * 2 }};\n{% endfor %}";
        assert!(render(long, &device()).unwrap().len() > 50_000);
        let sum = "{% set n = 1 %}{% set n = n + 1 %}{% set t = 'a + b' %}{{ n + 40 }} {{ t }} {# a + a #}x + y";
        assert_eq!(render(sum, &device()).unwrap(), "42 a + b x + y");
        assert_eq!(render("{% for i in range(2) %}{{ i + i }}{% endfor %}", &device()).unwrap(), "02");
    }
}
