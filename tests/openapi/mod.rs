//! The OpenAPI documents and the routes agree on every path, method, status and field.

mod agent;
mod daemon;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::support::http::{Reply, request};

/// A path as in the document, a method in upper case, a status.
type Answer = (String, String, u16);

/// The methods that the tests try.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// An OpenAPI document, and the answers that were seen.
struct Document {
    root: Value,
    seen: BTreeSet<Answer>,
}

fn entries(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not a map: {value}"))
}

fn array<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema[key].as_array().map_or(&[], Vec::as_slice)
}

/// Whether the value has the type of the schema, or one of its types.
fn has_type(schema: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type") {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("no type of JSON Schema: {other}"),
    };
    schema["type"].as_array().map_or_else(|| is(&schema["type"]), |types| types.iter().any(is))
}

impl Document {
    fn parse(text: &str) -> Self {
        Self { root: serde_yaml::from_str(text).expect("YAML"), seen: BTreeSet::new() }
    }

    /// Resolves a reference.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else { return value };
        self.root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// Every answer in the document.
    fn answers(&self) -> BTreeSet<Answer> {
        let mut answers = BTreeSet::new();
        for (path, item) in entries(&self.root["paths"]) {
            for (method, operation) in entries(item).iter().filter(|(key, _)| *key != "parameters") {
                for status in entries(&operation["responses"]).keys().filter(|status| *status != "default") {
                    answers.insert((path.clone(), method.to_uppercase(), status.parse().expect("a status")));
                }
            }
        }
        answers
    }

    /// Every path with its methods in the document.
    fn operations(&self) -> BTreeSet<(String, String)> {
        self.answers().into_iter().map(|(path, method, _)| (path, method)).collect()
    }

    /// The path of the document that stands for the path of a request.
    fn path_of(&self, requested: &str) -> String {
        let requested = requested.split('?').next().expect("a path");
        let fits = |path: &str| {
            path.split('/').count() == requested.split('/').count()
                && path.split('/').zip(requested.split('/')).all(|(part, given)| part.starts_with('{') || part == given)
        };
        let mut paths = entries(&self.root["paths"]).keys();
        paths.find(|path| fits(path)).unwrap_or_else(|| panic!("{requested} is not documented")).clone()
    }

    /// Compares a value with its schema.
    fn assert_fits(&self, schema: &Value, value: &Value, at: &str) {
        let schema = self.resolve(schema);
        if !array(schema, "anyOf").is_empty() {
            let mut choices = array(schema, "anyOf").iter().map(|choice| self.resolve(choice));
            let choice = choices.find(|choice| has_type(choice, value));
            return self.assert_fits(choice.unwrap_or_else(|| panic!("{at}: {value} has no such type")), value, at);
        }
        assert!(has_type(schema, value), "{at}: {value} is not of type {}", schema["type"]);
        if !array(schema, "enum").is_empty() {
            assert!(array(schema, "enum").contains(value), "{at}: {value} is none of {}", schema["enum"]);
        }
        if let Some(only) = schema.get("const") {
            assert_eq!(value, only, "{at}");
        }
        for item in value.as_array().into_iter().flatten() {
            self.assert_fits(&schema["items"], item, at);
        }
        for (name, field) in value.as_object().into_iter().flatten() {
            let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            let known = known.unwrap_or_else(|| panic!("{at}: `{name}` is not documented"));
            self.assert_fits(known, field, &format!("{at}.{name}"));
        }
        for required in array(schema, "required") {
            assert!(value.get(required.as_str().expect("a name")).is_some(), "{at}: {required} is missing in {value}");
        }
    }

    /// Records an answer after its type and its body have matched the document.
    fn note(&mut self, method: &str, path: &str, reply: &Reply) {
        let (documented, status) = (self.path_of(path), reply.status.to_string());
        let at = format!("{method} {path} {status}");
        let response = self.resolve(&self.root["paths"][&documented][method.to_lowercase()]["responses"][&status]);
        let media = reply.header("content-type").and_then(|value| value.split(';').next()).expect("a content type");
        let content = response["content"].get(media).unwrap_or_else(|| panic!("{at}: {media} is not documented"));
        if method != "HEAD" && media == "application/json" {
            self.assert_fits(&content["schema"], &reply.json(), &at);
        }
        self.seen.insert((documented, method.to_owned(), reply.status));
    }

    /// Every documented answer was seen, and no other.
    fn assert_complete(&self) {
        assert_eq!(self.seen, self.answers());
    }

    /// Each method that is not documented is refused with those that are. `fill` replaces the parameters of a path.
    fn assert_refuses_other_methods(&self, address: SocketAddr, fill: impl Fn(&str) -> String) {
        let operations = self.operations();
        let paths: BTreeSet<_> = operations.iter().map(|(path, _)| path).collect();
        for path in paths {
            let known: BTreeSet<_> =
                operations.iter().filter(|(of, _)| of == path).map(|(_, method)| method.as_str()).collect();
            for method in METHODS.iter().filter(|method| !known.contains(*method)) {
                let reply = request(address, method, &fill(path), "");
                assert_eq!(reply.status, 405, "{method} {path}");
                let allowed: BTreeSet<_> = reply.header("allow").expect("what is allowed").split(", ").collect();
                assert_eq!(allowed, known, "{path}");
            }
        }
    }
}
