//! What is asked of an operation: what is well, and what is wrong in one way.

use serde_json::{Value, json};

use crate::fleet::{OTHER_PASSWORD, PASSWORD, VICTIM, Who, World, idle, in_hours, object};
use crate::http::{Headers, Request};
use crate::values::{Maker, Random, Spoilt};

/// Who asks for most of it.
const USUAL: [Who; 5] = [Who::Admin, Who::Token, Who::Viewer, Who::Nobody, Who::Stranger];
/// Operations that only these ask for, since they would take the world away from the others, and why.
const NARROWED: [(&str, &[Who], &str); 6] = [
    ("POST /session", &[Who::Nobody, Who::Token], "who signs in has another session in place of the one that is shown"),
    ("POST /session/first", &[Who::Nobody, Who::Token], "the same"),
    ("POST /session/invitation", &[Who::Nobody, Who::Token], "the same"),
    ("DELETE /session", &[Who::Leaver, Who::Token, Who::Nobody], "the session ends in which it is asked for"),
    ("DELETE /sessions/{id}", &[Who::Ender, Who::Admin, Who::Token, Who::Viewer, Who::Nobody], "one ends one's own only"),
    ("POST /session/password", &[Who::Chooser, Who::Token, Who::Nobody], "all other sessions of who chooses one end"),
];
/// Odd parts of a path, as they stand in one.
const PARTS: [&str; 16] = [
    "nobody",
    "a%2Fb",
    "%00",
    "%ff",
    "%252e%252e",
    "..%2f..%2fetc",
    "-",
    "A",
    "%E2%80%AE",
    "0",
    "18446744073709551616",
    "a..b",
    "%0d%0aX:%20y",
    "%7B%7D",
    "*",
    "$(x)",
];
/// Odd values of a query, before they are put into one.
const WORDS: [&str; 26] = [
    "",
    " ",
    "\u{0}",
    "\r\n",
    "../..",
    "a,b",
    "é",
    "(",
    "[",
    "\u{202e}",
    "-",
    "*",
    "1h",
    "-1h",
    "999999d999999d",
    "9999-12-31T23:59:59Z",
    "-009999-01-01T00:00:00Z",
    "292277026596",
    "-62135596801",
    "TRUE",
    "null",
    "{}",
    "default/web-1",
    "a=b,c!=d,e in (x,y),!f",
    "name,-name",
    "%",
];
const NUMBERS: [&str; 10] =
    ["0", "1", "1000", "1001", "-1", "1.5", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"];
/// Characters of a path or a value that is long; far from what a server takes as a head.
const LONG: usize = 5000;

/// An operation, as it is described.
pub struct Operation {
    pub method: String,
    pub route: String,
    /// Where, name, schema.
    parameters: Vec<(String, String, Value)>,
    /// Media type, and schema.
    body: Option<(String, Value)>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// As little as it takes.
    Plain,
    /// With all that may be said.
    Full,
    /// A body as its schema has it, whatever it means.
    Made,
    Path,
    Value,
    Unknown,
    Repeated,
    Header,
    /// Twice under one key.
    Twice,
    Body(Spoilt),
}

impl Operation {
    /// All of them: who reads comes before who writes, and who deletes comes last, what is in something before that.
    pub fn all(document: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for (route, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let word = |of: &Value| of.as_str().unwrap_or_default().to_owned();
                let body = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
                all.push(Self {
                    method: method.to_uppercase(),
                    route: route.clone(),
                    parameters: parameters.map(|param| (word(&param["in"]), word(&param["name"]), param["schema"].clone())).collect(),
                    body: body.map(|(media, of)| (media.clone(), of["schema"].clone())),
                });
            }
        }
        let order = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        all.sort_by_key(|operation| (order.iter().position(|method| *method == operation.method), operation.route.clone()));
        let deletions = all.partition_point(|operation| operation.method != "DELETE");
        all[deletions..].reverse();
        all
    }

    /// `GET /devices`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.route)
    }

    fn has(&self, place: &str) -> bool {
        self.parameters.iter().any(|(of, _, _)| of == place)
    }

    /// Who asks what, the same under the same seed.
    pub fn cases(&self, count: usize, random: &mut Random) -> Vec<(Who, What)> {
        let name = self.name();
        let who = NARROWED.iter().find(|(of, _, _)| *of == name).map_or(&USUAL[..], |(_, who, _)| *who);
        // Whoever may most asks with all that may be said first: on writes that is a trial.
        let mut cases = vec![(who[0], What::Full)];
        cases.extend(who.iter().map(|who| (*who, What::Plain)));
        let mut further = vec![What::Unknown, What::Header];
        further.extend(self.has("path").then_some(What::Path));
        further.extend(self.has("path").then_some(What::Path));
        if self.has("query") {
            further.extend([What::Value, What::Value, What::Value, What::Repeated]);
        }
        further.extend(self.takes_keys().then_some(What::Twice));
        if self.body.is_some() {
            further.push(What::Made);
            further.extend(Spoilt::ALL.map(What::Body));
        }
        random.shuffle(&mut further);
        // What has a body can be wrong in more ways.
        let count = if self.body.is_some() { count + count / 2 } else { count };
        for what in further.into_iter().take(count.saturating_sub(cases.len())) {
            // Who may nothing is refused whatever they say, so they say less.
            let who = if random.below(4) == 0 { random.one(who) } else { random.one(&who[..2]) };
            cases.push((who, what));
        }
        cases
    }

    fn takes_keys(&self) -> bool {
        self.parameters.iter().any(|(_, name, _)| name == "Idempotency-Key")
    }

    /// The request of a case. `number` is another one each time.
    pub fn request(&self, world: &World, document: &Value, (who, what): (Who, What), number: usize, random: &mut Random) -> Request {
        let mut headers = world.shows(who);
        let sample = self.body.as_ref().map(|(_, schema)| match what {
            What::Made => Maker { document, random: &mut *random, is_full: number.is_multiple_of(2) }.value(schema, 0),
            _ => self.sample(world, number),
        });
        let is_of = |one: Spoilt| what == What::Body(one);
        if let Some((media, _)) = self.body.as_ref().filter(|_| !is_of(Spoilt::NoMedia)) {
            let other = ["text/plain", "application/x-www-form-urlencoded", "application/", "multipart/form-data; boundary=x"];
            let media = if is_of(Spoilt::OtherMedia) { random.one(&other) } else { media.as_str() };
            headers.push(("Content-Type".into(), media.as_bytes().to_vec()));
        }
        match what {
            What::Header => headers.push(odd_header(random)),
            What::Twice => headers.push(("Idempotency-Key".into(), format!("key-{number}").into_bytes())),
            What::Full => headers.extend(self.right_headers(number)),
            _ => {}
        }
        let body = sample.map(|sample| match what {
            What::Body(spoilt) => spoilt.of(&sample, random),
            _ => sample.to_string().into_bytes(),
        });
        let address = format!("{}{}", self.path(world, what, random), self.query(what, number, random));
        Request { method: self.method.clone(), address, headers, body }
    }

    /// Headers that are described, and right.
    fn right_headers(&self, number: usize) -> Headers {
        let described = self.parameters.iter().filter(|(place, _, _)| place == "header");
        let value = |name: &str| if name == "If-Match" { "*".to_owned() } else { format!("full-{number}") };
        described.map(|(_, name, _)| (name.clone(), value(name).into_bytes())).collect()
    }

    fn path(&self, world: &World, what: What, random: &mut Random) -> String {
        let places: Vec<&str> = self.route.split('/').filter(|part| part.starts_with('{')).collect();
        let odd = (what == What::Path && !places.is_empty()).then(|| places[random.below(places.len())]);
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => part.to_owned(),
            Some(_) if odd == Some(part) && random.below(8) == 0 => "a".repeat(LONG),
            Some(_) if odd == Some(part) => random.one(&PARTS).to_owned(),
            Some(name) => self.there(world, name),
        };
        self.route.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// The name of something that is there.
    fn there(&self, world: &World, parameter: &str) -> String {
        let first = self.route.split('/').nth(1).unwrap_or_default();
        let writes = self.method != "GET" && self.route.ends_with("/{namespace}/{name}");
        let starts = ["/approve", "/pause", "/resume"].iter().any(|end| self.route.ends_with(end));
        let named = match (first, parameter) {
            (_, "namespace") => "default",
            (_, "name") if writes => VICTIM,
            ("devices", "name") => "web-1",
            ("deployments", "name") if starts => "asks",
            ("deployments" | "rollouts", "name") => "app",
            ("alertrules", "name") => "up",
            ("deviceclasses", "name") => "plain",
            ("receivers", "name") => "oncall",
            ("repositories", "name") => "fleet",
            ("roles", "name") => "lookers",
            ("silences", "name") => "quiet",
            ("users", "name") => "gus",
            ("alerts", "id") => &world.ids.alert,
            ("commits", "id") => &world.ids.commit,
            ("sessions", "id") => &world.ids.session,
            ("tokens", "id") => &world.ids.token,
            _ => "1",
        };
        named.to_owned()
    }

    fn query(&self, what: What, number: usize, random: &mut Random) -> String {
        let of_query: Vec<(&str, &Value)> =
            self.parameters.iter().filter(|(place, _, _)| place == "query").map(|(_, name, schema)| (name.as_str(), schema)).collect();
        let has_to = |name: &str| matches!((&*self.route, name), ("/samples", "device" | "series") | ("/can", "verb" | "kind"));
        let is_said = |name: &str| what == What::Full || has_to(name);
        let said = of_query.iter().filter(|(name, _)| is_said(name));
        let mut pairs: Vec<(String, String)> =
            said.filter_map(|(name, _)| Some(((*name).to_owned(), self.right(name)?.to_owned()))).collect();
        match what {
            What::Value if !of_query.is_empty() => {
                let (name, schema) = of_query[random.below(of_query.len())];
                let is_number = schema["type"] == "integer" && random.below(4) > 0;
                let value = if is_number { random.one(&NUMBERS) } else { random.one(&WORDS) };
                let value = if random.below(12) == 0 { "a".repeat(LONG) } else { value.to_owned() };
                pairs.retain(|(there, _)| there != name);
                pairs.push((name.to_owned(), value));
            }
            What::Unknown => pairs.push(("nosuch".into(), "1".into())),
            What::Repeated if !of_query.is_empty() => {
                let (name, _) = of_query[random.below(of_query.len())];
                let value = self.right(name).unwrap_or("a").to_owned();
                pairs.extend([(name.to_owned(), value.clone()), (name.to_owned(), value)]);
            }
            // What a handler itself refuses is answered again too.
            What::Twice if number.is_multiple_of(2) && self.has("query") => pairs.push(("dryRun".into(), "perhaps".into())),
            _ => {}
        }
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    /// A value that a parameter may have.
    fn right(&self, name: &str) -> Option<&'static str> {
        Some(match (&*self.route, name) {
            ("/alerts", "sort") => "severity,-activeAt",
            ("/alerts/history", "severity") => "critical,warning",
            (_, "sort") => "-name",
            (_, "fields") => "metadata.name,id,deployment",
            (_, "limit" | "points" | "buckets") => "5",
            (_, "namespace") => "default",
            (_, "labelSelector") => "role=app,site in (a,b)",
            (_, "q") => "web",
            (_, "facets") => "health",
            (_, "type") => "Server",
            (_, "state") => "firing",
            (_, "phase") => "Complete",
            (_, "rule") => "up",
            (_, "device") => "web-1",
            (_, "suppressed" | "force" | "dead") => "false",
            (_, "dryRun" | "new") => "true",
            (_, "only") => "new",
            (_, "since" | "from") => "1h",
            (_, "severity") => "err",
            (_, "program") => "app",
            (_, "about") => "device/web-1",
            (_, "actor" | "user") => "ann",
            (_, "before") => "50",
            (_, "verb") => "view",
            (_, "kind") => "Device",
            (_, "name") => "web-1",
            (_, "subject") => "user:vera",
            (_, "group") => "ops",
            (_, "revision") => "main",
            (_, "series") => "load.one",
            (_, "message") => "said by a test",
            (_, "next") => "/devices",
            _ => return None,
        })
    }

    /// A body that is right.
    fn sample(&self, world: &World, number: usize) -> Value {
        let plural = self.route.split('/').nth(1).unwrap_or_default();
        let is_object = self.route.ends_with("/{namespace}/{name}");
        match (&*self.method, &*self.route) {
            ("PATCH", _) if is_object => json!({"metadata": {"labels": {"touched": format!("t{number}")}}}),
            ("PUT", _) => object(plural, VICTIM, &idle(plural)),
            ("PATCH", _) => json!({"displayName": format!("Gus {number}"), "groups": ["web"]}),
            (_, "/users") => json!({"name": format!("made-{number}"), "displayName": "Somebody"}),
            (_, "/users/{name}/password") => json!({"password": OTHER_PASSWORD}),
            (_, "/session") => json!({"user": "ann", "password": PASSWORD}),
            (_, "/session/first") => json!({"token": "none", "user": "adam", "password": PASSWORD}),
            (_, "/session/invitation") => json!({"token": world.ids.invitation, "password": OTHER_PASSWORD}),
            (_, "/session/password") => json!({"old": PASSWORD, "new": OTHER_PASSWORD}),
            (_, "/tokens") => json!({"name": format!("t{number}"), "user": "ann", "expiresIn": "1d", "scopes": [{"verbs": ["view"]}]}),
            (_, "/alerts/{id}/acknowledge") => json!({"comment": "on it", "until": in_hours(1)}),
            (_, "/backtest") => json!({"rule": "up", "since": "1h"}),
            (_, "/silences/preview") => json!({"matchLabels": {"rule": "up"}, "until": in_hours(1)}),
            (_, "/source/admit") => json!({"id": "none", "comment": "it is meant so"}),
            (_, "/deployments/{namespace}/{name}/approve") => json!({"id": world.ids.approval, "comment": "go"}),
            (_, "/deployments/{namespace}/{name}/undo") => json!({"comment": "back"}),
            (_, route) if route.ends_with("/pause") || route.ends_with("/resume") => json!({"comment": "wait"}),
            _ => object(plural, &format!("made-{number}"), &idle(plural)),
        }
    }
}

/// A header that means something, and what does not.
fn odd_header(random: &mut Random) -> (String, Vec<u8>) {
    let name = random.one(&["If-Match", "If-None-Match", "Idempotency-Key", "Accept", "Last-Event-ID", "X-Forwarded-For", "Origin"]);
    let value: Vec<u8> = match random.below(7) {
        0 => Vec::new(),
        1 => b"*".to_vec(),
        2 => b"\"abc.def\", W/\"x\"".to_vec(),
        3 => b"\xff\xfe\x80".to_vec(),
        4 => b"a".repeat(LONG),
        5 => b"\"unfinished".to_vec(),
        _ => b"null, , ;q=0".to_vec(),
    };
    (name.to_owned(), value)
}

/// A text as it stands in a query.
fn escaped(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
