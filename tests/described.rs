//! Answers, held to a description of an interface (OpenAPI 3.1): the status, the media type, and the shape of the body.

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Value, json};

/// What is described: the shape of each body, by operation, status and media type.
pub struct Described(HashMap<String, Operation>);

type Operation = HashMap<String, Bodies>;
/// None: there is a body of that type and it has no shape.
type Bodies = HashMap<String, Option<Arc<Validator>>>;

/// An answer as it came.
pub struct Answered<'a> {
    pub status: u16,
    /// As the header has it.
    pub media: Option<&'a str>,
    /// None: it is not looked at, since it has no end, or parts of it were chosen.
    pub body: Option<&'a [u8]>,
}

impl Described {
    /// What a document says.
    pub fn of(document: &Value) -> Self {
        let (mut all, mut known) = (HashMap::new(), HashMap::new());
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                let Some(responses) = operation["responses"].as_object() else { continue };
                let answers = responses.iter().map(|(status, response)| (status.clone(), bodies(document, response, &mut known)));
                let answers: Operation = answers.collect();
                all.insert(format!("{} {path}", method.to_uppercase()), answers);
            }
        }
        Self(all)
    }

    /// The path of each operation with this method.
    pub fn routes<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |operation| operation.strip_prefix(method)?.strip_prefix(' '))
    }

    /// What is not as it is described, if anything: `route` is such as `/devices/{namespace}/{name}`.
    pub fn fault(&self, method: &str, route: &str, answered: &Answered<'_>) -> Option<String> {
        let Answered { status, media, body } = *answered;
        let about = || format!("{method} {route}: {status}");
        let Some(operation) = self.0.get(&format!("{method} {route}")) else { return Some(format!("{method} {route} is not described")) };
        let Some(bodies) = operation.get(&status.to_string()) else { return Some(format!("{}: it is not described", about())) };
        let Some(media) = media.map(|media| media.split(';').next().unwrap_or_default().trim()) else {
            let has_body = body.is_some_and(|body| !body.is_empty());
            return (has_body || !bodies.is_empty()).then(|| format!("{}: it has no media type", about()));
        };
        let Some(shape) = bodies.get(media) else { return Some(format!("{}: no `{media}` is described", about())) };
        let shape = shape.as_ref().filter(|_| media.ends_with("json"))?;
        let value: Value = match serde_json::from_slice(body?) {
            Ok(value) => value,
            Err(error) => return Some(format!("{}: {error}", about())),
        };
        let wrong: Vec<String> = shape.iter_errors(&value).take(3).map(|error| format!("{}: {error}", error.instance_path())).collect();
        (!wrong.is_empty()).then(|| format!("{}: {}", about(), wrong.join("; ")))
    }
}

/// The bodies of a response. What many responses have, such as a problem, is made once.
fn bodies(document: &Value, response: &Value, known: &mut HashMap<String, Arc<Validator>>) -> Bodies {
    let target = response["$ref"].as_str().and_then(|place| document.pointer(place.trim_start_matches('#')));
    let content = target.unwrap_or(response)["content"].as_object().cloned().unwrap_or_default();
    let mut compile = |schema: &Value| {
        let made = known.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({"allOf": [schema], "components": document["components"]});
            Arc::new(jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{error}: {schema}")))
        });
        made.clone()
    };
    content.iter().map(|(media, of)| (media.clone(), of.get("schema").map(&mut compile))).collect()
}
