//! A JSON Schema of a configuration file.

use serde_json::{Map, Value as Json, json};

use super::key::{Absent, Declared};
use super::outline::{Part, Program, Section};
use super::scalar::{Number, Scalar, plain};

pub(super) fn json_schema(program: Program, root: &Section) -> String {
    let title = match program {
        Program::Agent => "The configuration of the agent",
        Program::Daemon => "The configuration of the daemon",
    };
    let mut schema = object(root);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(title));
    let mut schema = Json::Object(schema);
    for (short, long) in short_forms(root) {
        let (section, name) = short.rsplit_once('.').unwrap_or(("", &short));
        let sections = section.split('.').filter(|name| !name.is_empty());
        let place = sections.fold(&mut schema, |place, name| &mut place["properties"][name]);
        place["properties"][name] = long;
    }
    format!("{schema:#}\n")
}

fn object(section: &Section) -> Map<String, Json> {
    let properties: Map<String, Json> = section.parts.iter().map(property).collect();
    let required: Vec<&str> =
        section.keys().filter(|key| matches!(key.absent, Absent::Required(_))).map(Declared::name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(part: &Part) -> (String, Json) {
    match part {
        Part::Key(key) => (key.name().to_owned(), key_schema(key)),
        // An empty section or list is null.
        Part::Section(list) if list.is_list() => {
            let schema = json!({ "type": ["array", "null"], "description": list.doc, "items": object(list) });
            (list.name().to_owned(), schema)
        }
        Part::Section(section) => {
            let mut schema = object(section);
            schema.insert("type".to_owned(), json!(["object", "null"]));
            schema.insert("description".to_owned(), json!(section.doc));
            (section.name().to_owned(), Json::Object(schema))
        }
    }
}

fn key_schema(key: &Declared) -> Json {
    let mut schema = key.schema.clone();
    let mut set = |name: &str, value: Json| {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert(name.to_owned(), value);
        }
    };
    set("description", json!(format!("{} A change applies: {}.", key.doc, key.reload.as_str())));
    match &key.absent {
        Absent::Default(text) => set("default", value(key, text)),
        Absent::Computed(_, example) | Absent::Nothing(example) | Absent::Required(example) => {
            set("examples", json!([value(key, example)]));
        }
        Absent::Legacy => set("deprecated", json!(true)),
    }
    schema
}

/// The JSON value of a default or an example.
fn value(key: &Declared, text: &str) -> Json {
    match plain(text) {
        _ if key.is_text => json!(text),
        Scalar::Bool(truth) => json!(truth),
        Scalar::Number(Number::Whole(number)) => json!(number),
        Scalar::Number(Number::Negative(number)) => json!(number),
        Scalar::Number(Number::Float(number)) => json!(number),
        Scalar::Null | Scalar::Text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

/// The short forms of keys, by path.
fn short_forms(section: &Section) -> Vec<(String, Json)> {
    let mut found: Vec<(String, Json)> = section.sections().flat_map(short_forms).collect();
    found.extend(section.keys().filter_map(|key| {
        let mut schema = key.schema.clone();
        let fields = schema.as_object_mut()?;
        fields.insert("description".to_owned(), json!(format!("Short form of `{}`.", key.path)));
        fields.insert("deprecated".to_owned(), json!(true));
        Some((key.short?.to_owned(), schema))
    }));
    found
}
