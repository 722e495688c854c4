//! The node's own description of its API, `/openapi.json`, and whether an answer is as it says. Every answer that a
//! test of the API gets is held against it: its status, its content type, the headers that it must have, and every
//! field of its JSON.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The document of some node.
#[derive(Debug)]
pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    /// Every path, and the methods that it takes.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&String, Vec<String>)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.map(|(path, item)| (path, item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect()))
    }

    /// Every call but `HEAD`, without those that have variable parts in their path: its method, its path, and the
    /// parameters that it must have as the beginning of a query.
    pub(crate) fn calls(&self) -> Vec<(String, String, String)> {
        let mut calls = Vec::new();
        for (path, methods) in self.paths().filter(|(path, _)| !path.contains('{')) {
            for method in methods.into_iter().filter(|method| method != "HEAD") {
                let needed = self.parameters(&method, path).filter(|parameter| parameter["required"] == true);
                let query: String = needed.map(|parameter| format!("{}=x&", text(&parameter["name"]))).collect();
                calls.push((method, path.clone(), query));
            }
        }
        calls
    }

    /// The name of some parameter in the query of a call, if it has any.
    pub(crate) fn parameter(&self, method: &str, path: &str) -> Option<&str> {
        self.parameters(method, path).find(|parameter| parameter["in"] == "query").map(|found| text(&found["name"]))
    }

    fn parameters(&self, method: &str, path: &str) -> impl Iterator<Item = &Value> {
        self.operation(method, path).unwrap()["parameters"].as_array().into_iter().flatten()
    }

    /// Whether a call can be refused with a `400` of this kind.
    pub(crate) fn refuses(&self, method: &str, path: &str, kind: &str) -> bool {
        let content = &self.operation(method, path).unwrap()["responses"]["400"]["content"];
        let schema = &content["application/problem+json"]["schema"];
        let choices = schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        let named = |choice: &Value| self.resolved(choice)["properties"]["type"]["const"].clone();
        choices.iter().any(|choice| named(choice) == format!("/problems/{kind}"))
    }

    /// Panics unless an answer is as the document says. What is answered at paths and to methods that are not in it
    /// is for the router's own tests.
    pub(crate) fn check(
        &self,
        method: &str,
        path: &str,
        status: u16,
        header: impl Fn(&str) -> Option<String>,
        body: &str,
    ) {
        let Some(operation) = self.operation(method, path) else { return };
        let call = format!("{method} {path}: {status} {body}");
        let answer = operation["responses"].get(status.to_string());
        let answer = answer.unwrap_or_else(|| panic!("the status is not in the document: {call}"));
        for (name, described) in answer["headers"].as_object().into_iter().flatten() {
            assert!(described["required"] != true || header(name).is_some(), "no header {name}: {call}");
        }
        let Some(contents) = answer.get("content") else { return };
        let kind = header("content-type").unwrap_or_else(|| panic!("no content type: {call}"));
        let content = contents.get(&kind).unwrap_or_else(|| panic!("{kind} is not in the document: {call}"));
        if kind.ends_with("json") {
            let Once = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {call}"));
            let value: Value = serde_json::from_str(body).unwrap();
            if let Err(why) = self.fits(&content["schema"], &value) {
                panic!("{why}: {call}");
            }
        }
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let matches = |template: &str| {
            let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
            let each = wanted.by_ref().all(|wanted| {
                parts.next().is_some_and(|part| part == wanted || (wanted.starts_with('{') && !part.is_empty()))
            });
            each && parts.next().is_none()
        };
        let (_, item) = self.0["paths"].as_object().unwrap().iter().find(|(template, _)| matches(template))?;
        // Methods are told apart by case.
        item.as_object().unwrap().iter().find(|(name, _)| name.to_uppercase() == method).map(|(_, operation)| operation)
    }

    /// Whether a value is as a schema says, as far as schemas of this document go; a field that it does not name is
    /// a mistake here.
    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolved(schema);
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let tries: Vec<_> = choices.iter().map(|choice| self.fits(choice, value)).collect();
            let fitting = tries.iter().filter(|fit| fit.is_ok()).count();
            return if fitting == 1 { Ok(()) } else { Err(format!("{fitting} of {} fit: {tries:?}", choices.len())) };
        }
        if schema.get("const").is_some_and(|wanted| wanted != value) {
            return Err(format!("{value} is not {}", schema["const"]));
        }
        if !has_type(&schema["type"], value) {
            return Err(format!("{value} is not of type {}", schema["type"]));
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item)?;
        }
        match value.as_object() {
            Some(members) => self.fits_object(schema, members),
            None => Ok(()),
        }
    }

    fn fits_object(&self, schema: &Value, members: &Map<String, Value>) -> Result<(), String> {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        self.gather(schema, &mut properties, &mut required);
        if let Some(missing) = required.iter().find(|name| !members.contains_key(*name)) {
            return Err(format!("'{missing}' is missing"));
        }
        // Anything goes.
        let open = properties.is_empty() && schema.get("additionalProperties").is_none();
        for (name, value) in members.iter().filter(|_| !open) {
            let described = properties.get(name).or_else(|| schema.get("additionalProperties"));
            let described = described.ok_or_else(|| format!("'{name}' is not in the document"))?;
            self.fits(described, value).map_err(|why| format!("'{name}': {why}"))?;
        }
        Ok(())
    }

    /// The properties of a schema and of those that it is made of.
    fn gather(&self, schema: &Value, properties: &mut Map<String, Value>, required: &mut Vec<String>) {
        let schema = self.resolved(schema);
        properties.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        required.extend(schema["required"].as_array().into_iter().flatten().map(|name| text(name).to_owned()));
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.gather(part, properties, required);
        }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(path) => self.0.pointer(path.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }
}

/// Whether a value is of a type, or of one of several; any is when there is none.
fn has_type(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(choices) => choices.iter().any(|wanted| has_type(wanted, value)),
        Value::String(wanted) => match wanted.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            _ => value.is_object(),
        },
        _ => true,
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// JSON in which no object has a member twice: [`Value`] would keep the last of them, and say nothing.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, _)) = members.next_entry::<String, Self>()? {
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("{twice} is there twice")));
            }
        }
        Ok(self)
    }
}
