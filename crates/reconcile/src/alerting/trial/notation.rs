//! promtool's notation of a series (`docs/configuration/unit_testing_rules.md`): `1 2 3`, `1+2x3`, `1-2x3`, `1x3`, `_`, `_x3`; and for
//! probes `ok`, `failx3`; for Deployments `Progressingx5 Complete`.

use super::VALUES;
use crate::alerting::expr::PHASES;

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A probe passed.
    Ok,
    /// A probe failed.
    Fail,
    /// A Deployment is in this phase.
    Phase(&'static str),
    /// Nothing was seen.
    Missing,
}

/// The values of a series. As in promtool, `x3` after a value means three more of it.
pub fn values(text: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        let wrong = || {
            format!("`{}` is no value such as 0.5, 0.5+0.1x5, 1x3, _x2, ok, failx3 or Complete", word.chars().take(40).collect::<String>())
        };
        let (value, times) = match word.rsplit_once('x') {
            Some((value, times)) => (value, times.parse::<usize>().map_err(|_| wrong())?),
            None => (word, 0),
        };
        if all.len() + times >= VALUES {
            return Err(format!("more than {VALUES} values"));
        }
        let (first, step) = match value {
            // `_x3` is three of them, as in promtool.
            "_" => {
                all.extend(std::iter::repeat_n(Value::Missing, times.max(1)));
                continue;
            }
            "ok" => (Value::Ok, 0.0),
            "fail" => (Value::Fail, 0.0),
            word if PHASES.contains(&word) => {
                (PHASES.iter().find(|phase| **phase == word).map_or(Value::Missing, |phase| Value::Phase(phase)), 0.0)
            }
            number => {
                let (first, step) = expansion(number).ok_or_else(wrong)?;
                (Value::Number(first), step)
            }
        };
        all.extend((0..=times).map(|time| match first {
            Value::Number(first) => Value::Number(first + step * time as f64),
            other => other,
        }));
    }
    if all.is_empty() { Err("there are no values".into()) } else { Ok(all) }
}

/// `a`, `a+b` or `a-b`; a sign may also belong to a number or its exponent.
fn expansion(text: &str) -> Option<(f64, f64)> {
    let finite = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    if let Some(value) = finite(text) {
        return Some((value, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, sign)| matches!(sign, '+' | '-'));
    signs
        .filter_map(|(at, sign)| {
            let (first, step) = (finite(&text[..at])?, finite(&text[at + 1..])?);
            Some((first, if sign == '-' { -step } else { step }))
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<f64> {
        let number = |value| match value {
            Value::Number(number) => number,
            _ => f64::NAN,
        };
        values(text).unwrap().into_iter().map(number).collect()
    }

    #[test]
    fn as_promtool_has_it() {
        assert_eq!(numbers("1 2 3"), [1.0, 2.0, 3.0]);
        assert_eq!(numbers("-2+4x3"), [-2.0, 2.0, 6.0, 10.0]);
        assert_eq!(numbers("1-2x4"), [1.0, -1.0, -3.0, -5.0, -7.0]);
        assert_eq!(numbers("1x4"), [1.0; 5]);
        assert_eq!(numbers("1e-1+1e1x1"), [0.1, 10.1]);
        assert_eq!(
            values("1 _x3 _ failx1").unwrap()[1..],
            [Value::Missing, Value::Missing, Value::Missing, Value::Missing, Value::Fail, Value::Fail]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "a", "1+x3", "1x", "nan", "inf", "1x99999999", "1xx2"] {
            assert!(values(text).is_err(), "{text}");
        }
    }
}
