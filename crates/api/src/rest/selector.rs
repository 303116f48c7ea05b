//! Selectors of labels as Kubernetes writes them: `a=b,c!=d,e in (x,y),f,!g`.

use crds::{Expression, Operator, Selector};

/// Bytes of a selector.
const LENGTH: usize = 4096;
/// Conditions of one, as in a Selector in a manifest.
const CONDITIONS: usize = 32;
/// Values of one condition, likewise.
const VALUES: usize = 64;

/// Reads one; nothing selects everything.
pub(super) fn parse(text: &str) -> Result<Selector, String> {
    if text.len() > LENGTH {
        return Err(format!("{} bytes are more than {LENGTH}", text.len()));
    }
    let mut selector = Selector::default();
    for part in parts(text)? {
        if selector.match_expressions.len() >= CONDITIONS {
            return Err(format!("more than {CONDITIONS} conditions"));
        }
        selector.match_expressions.push(condition(part)?);
    }
    Ok(selector)
}

/// Whether one that came in a body keeps to these limits; it was read by no schema.
pub(super) fn within(selector: &Selector) -> Result<(), String> {
    if selector.match_labels.len() > CONDITIONS || selector.match_expressions.len() > CONDITIONS {
        return Err(format!("more than {CONDITIONS} conditions"));
    }
    match selector.match_expressions.iter().find(|condition| condition.values.len() > VALUES) {
        Some(condition) => Err(format!("more than {VALUES} values of {}", super::asked::short(&condition.key))),
        None => Ok(()),
    }
}

/// What stands between the commas that are in no parentheses.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut from, mut is_inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match (character, is_inside) {
            ('(', false) => is_inside = true,
            (')', true) => is_inside = false,
            ('(', true) | (')', false) => return Err("parentheses don't match".into()),
            (',', false) => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if is_inside {
        return Err("parentheses don't match".into());
    }
    parts.push(&text[from..]);
    match parts.iter().all(|part| part.trim().is_empty()) {
        true => Ok(Vec::new()),
        false => Ok(parts),
    }
}

fn condition(part: &str) -> Result<Expression, String> {
    let part = part.trim();
    if let Some(absent) = part.strip_prefix('!') {
        return expression(absent, Operator::DoesNotExist, Vec::new());
    }
    if let Some((key, value)) = part.split_once("!=") {
        return expression(key, Operator::NotIn, vec![value]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return expression(key, Operator::In, vec![value]);
    }
    let Some((words, values)) = part.split_once('(') else { return expression(part, Operator::Exists, Vec::new()) };
    let Some(values) = values.strip_suffix(')') else { return Err(wrong(part)) };
    let values: Vec<&str> = values.split(',').collect();
    match words.split_whitespace().collect::<Vec<_>>()[..] {
        [key, "in"] => expression(key, Operator::In, values),
        [key, "notin"] => expression(key, Operator::NotIn, values),
        _ => Err(wrong(part)),
    }
}

fn expression(key: &str, operator: Operator, values: Vec<&str>) -> Result<Expression, String> {
    let key = key.trim();
    let is_key = (1..=253 + 64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    if !is_key {
        return Err(wrong(key));
    }
    if values.len() > VALUES {
        return Err(format!("more than {VALUES} values of {key}"));
    }
    let value = |value: &str| {
        let value = value.trim();
        let is_value = value.len() <= 63 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if is_value { Ok(value.to_owned()) } else { Err(wrong(value)) }
    };
    Ok(Expression { key: key.to_owned(), operator, values: values.into_iter().map(value).collect::<Result<_, _>>()? })
}

fn wrong(text: &str) -> String {
    format!("`{}` can't be read: write a=b, a!=b, a in (b,c), a notin (b,c), a or !a", super::asked::short(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn chosen(selector: &str) -> String {
        let labels = |text: &str| text.split(' ').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect();
        let selector = parse(selector).unwrap();
        let all = ["site=ams1 role=web", "site=fra1 role=web", "site=ams1 role=db k8s.io/x=1", "none=1"];
        let which = all.iter().enumerate().filter(|(_, text)| selector.matches(&labels(text)));
        which.map(|(at, _)| at.to_string()).collect()
    }

    #[test]
    fn selectors_choose_as_those_of_kubernetes() {
        for (selector, expected) in [
            ("", "0123"),
            (" , ", "0123"),
            ("site=ams1", "02"),
            ("site==ams1 , role = web", "0"),
            ("site!=ams1", "13"),
            ("site in (ams1, fra1),role notin (db)", "01"),
            ("role", "012"),
            ("!role", "3"),
            ("k8s.io/x", "2"),
            ("site=ams1,site=fra1", ""),
            ("site=", ""),
        ] {
            assert_eq!(chosen(selector), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in ["a in x", "a in (x", "a)", "a in (x))", "=b", "!", "a,,b", "a b", "a=b c", "a={}", "ü=1", "a near (b)", "a in ((b))"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&vec!["a"; 33].join(",")).is_err());
        assert!(parse(&"a".repeat(5000)).is_err());
        assert!(parse(&format!("a in ({})", vec!["b"; 65].join(","))).is_err());
    }

    #[test]
    fn one_from_a_body_has_the_same_limits() {
        let condition = |values| Expression { key: "a".into(), operator: Operator::In, values: vec!["b".into(); values] };
        let of = |conditions, values| Selector { match_expressions: vec![condition(values); conditions], ..Selector::default() };
        assert!(within(&of(CONDITIONS, VALUES)).is_ok());
        assert!(within(&of(CONDITIONS + 1, 1)).is_err());
        assert!(within(&of(1, VALUES + 1)).is_err());
        let labels = (0..=CONDITIONS).map(|at| (at.to_string(), String::new())).collect();
        assert!(within(&Selector { match_labels: labels, ..Selector::default() }).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), near in "[a-c=!(), in]{0,40}") {
            let _ = parse(&text);
            let found = parse(&near);
            prop_assert!(found.is_err() || found.unwrap().match_expressions.len() <= CONDITIONS);
        }
    }
}
