//! Values made by a schema, and what becomes of them when they are spoilt.

use serde_json::{Map, Value, json};

/// Values in values: what may be left out is, below that.
const DEPTH: usize = 6;
/// Below that nothing is made at all: schemas may speak of themselves.
const DEEPEST: usize = 16;
/// Characters of a long text: more than sign-in takes, less than an object may have.
const LONG: usize = 70_000;
/// Bytes beyond what any request may have.
const HUGE: usize = (1 << 20) + 1;
/// Lists in lists.
const NESTED: usize = 5_000;
/// A part of a pattern, and a text that fits such a one.
const PATTERNS: [(&str, &str); 12] = [
    ("(ms|s|m|h|d)", "10s"),
    ("%", "10%"),
    ("^https", "https://example.com/x"),
    ("(/[0-9A-Za-z_@.+-]+)+", "/etc/none"),
    ("{40}", "0123456789abcdef0123456789abcdef01234567"),
    ("{64}", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("^0[0-7]{3}$", "0644"),
    ("(POST|PUT)", "POST"),
    ("ssh-ed25519|", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM7kzJF9O1HS5OrI0W8zSfAZADqrE5S4xUqIX6TwXsxr"),
    ("\\+[0-9]", "+491701234567"),
    ("^[0-9]+(", "1.3.6.1"),
    ("^/", "/x"),
];

/// Numbers of which each is the same under the same seed: xorshift64* (Vigna: "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016).
pub struct Random(u64);

impl Random {
    /// Begins for something of this name: what is drawn for one does not hang on the others.
    pub fn of(seed: u64, name: &str) -> Self {
        let mixed = name.bytes().fold(seed, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(mixed | 1)
    }

    /// A number below another one.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        usize::try_from(drawn % limit.max(1) as u64).unwrap_or_default()
    }

    /// One of some.
    pub fn one<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// All of them in another order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            let other = self.below(at + 1);
            all.swap(at, other);
        }
    }
}

/// Makes values by the schemas of a document.
pub struct Maker<'a> {
    pub document: &'a Value,
    pub random: &'a mut Random,
    /// With what may be left out.
    pub is_full: bool,
}

impl Maker<'_> {
    /// A value that fits a schema, as far as that can be said without trying patterns and rules.
    pub fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
            let document = self.document;
            return self.value(&document["components"]["schemas"][name], depth + 1);
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        let choices = ["enum", "anyOf", "oneOf", "allOf"].into_iter().find_map(|of| Some((of, schema[of].as_array()?)));
        // Beside a type they say which of its fields go together.
        let is_choice = |(of, choices): &(&str, &Vec<Value>)| !choices.is_empty() && (*of == "enum" || schema.get("type").is_none());
        if let Some((of, choices)) = choices.filter(is_choice) {
            let choice = &choices[self.random.below(choices.len())];
            return if of == "enum" { choice.clone() } else { self.value(choice, depth + 1) };
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let items = schema["minItems"].as_u64().unwrap_or_default().max(u64::from(self.is_full));
                (0..items).map(|_| self.value(&schema["items"], depth + 1)).collect()
            }
            "integer" => json!(schema["minimum"].as_f64().unwrap_or(1.0) as i64),
            "number" => json!(1.5),
            "boolean" => json!(self.random.below(2) == 0),
            "null" => Value::Null,
            _ => json!(text(schema)),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let is_required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|required| required == name));
        let mut made = Map::new();
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            if is_required(name) || (self.is_full && depth < DEPTH) {
                made.insert(name.clone(), self.value(of, depth + 1));
            }
        }
        if self.is_full
            && let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object())
        {
            made.insert("a".into(), self.value(of, depth + 1));
        }
        Value::Object(made)
    }
}

/// Its type, or what it looks like.
fn kind(schema: &Value) -> &str {
    let looks = if schema["properties"].is_object() { "object" } else { "string" };
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or(looks),
        _ => looks,
    }
}

fn text(schema: &Value) -> &'static str {
    if schema["format"] == "date-time" {
        return "2030-01-01T00:00:00Z";
    }
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    PATTERNS.iter().find(|(part, _)| pattern.contains(*part)).map_or("abc", |(_, text)| *text)
}

/// What may be wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    Removed,
    OtherType,
    Further,
    Null,
    Long,
    Controls,
    Deep,
    Number,
    NotAnObject,
    NotJson,
    NotText,
    Nothing,
    Huge,
    /// The body is well, and what is said of it is not.
    OtherMedia,
    NoMedia,
}

impl Spoilt {
    pub const ALL: [Self; 15] = [
        Self::Removed,
        Self::OtherType,
        Self::Further,
        Self::Null,
        Self::Long,
        Self::Controls,
        Self::Deep,
        Self::Number,
        Self::NotAnObject,
        Self::NotJson,
        Self::NotText,
        Self::Nothing,
        Self::Huge,
        Self::OtherMedia,
        Self::NoMedia,
    ];

    /// A body that is spoilt so, somewhere.
    pub fn of(self, body: &Value, random: &mut Random) -> Vec<u8> {
        let places = places(body);
        let place = places[random.below(places.len())].as_str();
        let put = |value: Value| {
            let mut body = body.clone();
            if let Some(there) = body.pointer_mut(place) {
                *there = value;
            }
            body.to_string().into_bytes()
        };
        match self {
            Self::Removed => removed(body, place),
            Self::OtherType => put(random.one(&["true", "1", "-1.5", "\"abc\"", "[]", "{}", "[[1]]"]).parse().unwrap_or_default()),
            Self::Further => further(body, place),
            Self::Null => put(Value::Null),
            Self::Long => put(json!("a".repeat(LONG))),
            Self::Controls => put(json!("\u{0}\u{1}\r\n\t\u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}\u{feff}'\"<script>{{ x }}${x}")),
            Self::Deep => [b"{\"spec\":".as_slice(), &b"[".repeat(NESTED), &b"]".repeat(NESTED), b"}"].concat(),
            Self::Number => {
                put(random.one(&["-1", "0", "4294967296", "18446744073709551615", "1e300", "-0.0"]).parse().unwrap_or_default())
            }
            Self::NotAnObject => random.one(&["[]", "null", "\"abc\"", "12", "true"]).as_bytes().to_vec(),
            Self::NotJson => random.one(&["{", "{\"a\" 1}", "a: b\n", "{\"a\": 1}}", "\u{feff}{}", "{\"a\": NaN}"]).as_bytes().to_vec(),
            Self::NotText => b"{\"name\": \"\xff\xfe\"}".to_vec(),
            Self::Nothing => Vec::new(),
            Self::Huge => put(json!("a".repeat(HUGE))),
            Self::OtherMedia | Self::NoMedia => body.to_string().into_bytes(),
        }
    }
}

/// All places in a value, as JSON pointers (RFC 6901).
fn places(value: &Value) -> Vec<String> {
    let (mut all, mut at) = (vec![String::new()], 0);
    while let Some(place) = all.get(at).cloned() {
        match value.pointer(&place) {
            Some(Value::Object(fields)) => {
                all.extend(fields.keys().map(|key| format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))));
            }
            Some(Value::Array(items)) => all.extend((0..items.len()).map(|item| format!("{place}/{item}"))),
            _ => {}
        }
        at += 1;
    }
    all
}

/// Without what is there.
fn removed(body: &Value, place: &str) -> Vec<u8> {
    let mut body = body.clone();
    if let Some((parent, key)) = place.rsplit_once('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        match body.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.remove(&key)),
            Some(Value::Array(items)) => items.clear(),
            _ => {}
        }
    } else {
        body = json!({});
    }
    body.to_string().into_bytes()
}

/// With a field that nobody knows, there or at the top.
fn further(body: &Value, place: &str) -> Vec<u8> {
    let mut body = body.clone();
    let place = if body.pointer(place).is_some_and(Value::is_object) { place } else { "" };
    if let Some(fields) = body.pointer_mut(place).and_then(Value::as_object_mut) {
        fields.insert("nosuchfield".into(), json!({"a": [1]}));
    }
    body.to_string().into_bytes()
}
