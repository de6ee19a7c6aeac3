//! The OpenAPI document of a running agent, and whether its answers are as that says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use lab::Agent;
use serde_json::{Value, json};

/// Where schemas stand in the document.
const COMPONENTS: &str = "#/components/schemas/";

/// The document, and what of it was met.
pub struct Described<'a> {
    agent: &'a Agent,
    document: Value,
    /// Schemas as the agent serves them one by one.
    apart: BTreeMap<String, Value>,
    /// Operations that were answered as asked.
    pub answered: BTreeSet<String>,
    /// Operations that were refused.
    pub refused: BTreeSet<String>,
}

impl<'a> Described<'a> {
    pub fn of(agent: &'a Agent) -> Result<Self> {
        let get = |path: &str| -> Result<Value> {
            let (status, text) = agent.request("GET", path, None)?;
            ensure!(status == 200, "{path}: {status} {text}");
            Ok(serde_json::from_str(&text)?)
        };
        let names = get("/schemas")?;
        let mut apart = BTreeMap::new();
        for name in names["items"].as_array().context("a list of names")? {
            let name = name.as_str().context("a name")?;
            apart.insert(
                name.to_owned(),
                closed(get(&format!("/schemas/{name}.json"))?),
            );
        }
        Ok(Self {
            agent,
            document: closed(get("/openapi.json")?),
            apart,
            answered: BTreeSet::new(),
            refused: BTreeSet::new(),
        })
    }

    /// Every operation, such as `get /v1/services`.
    pub fn operations(&self) -> BTreeSet<String> {
        let paths = self.document["paths"].as_object();
        let named = |(path, methods): (&String, &Value)| {
            let methods: Vec<String> = methods
                .as_object()
                .into_iter()
                .flat_map(|m| m.keys().cloned())
                .collect();
            methods
                .into_iter()
                .map(|method| format!("{method} {path}"))
                .collect::<Vec<_>>()
        };
        paths.into_iter().flatten().flat_map(named).collect()
    }

    /// Every verb that a change may have.
    pub fn verbs(&self) -> BTreeSet<String> {
        let variants = self.document["components"]["schemas"]["Command"]["oneOf"].as_array();
        let verb = |variant: &Value| Some(variant["required"][0].as_str()?.to_owned());
        variants.into_iter().flatten().filter_map(verb).collect()
    }

    /// Asks, and holds request and answer against the document. Gives the answer, which must have this status.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        wanted: u16,
    ) -> Result<Value> {
        let bare = path.split('?').next().unwrap_or(path);
        let template = self.template(bare)?;
        let operation = self.document["paths"][&template][method].clone();
        let what = format!("{method} {path}");
        ensure!(operation.is_object(), "{what} is not described");
        if let (Some(body), Some(schema)) = (body, json_schema(&operation["requestBody"])) {
            // What is refused may be refused for its form.
            if wanted == 200 {
                self.hold(&what, schema, body)?;
            }
        }
        let (status, text) = self.agent.request(&method.to_uppercase(), path, body)?;
        ensure!(
            status == wanted,
            "{what}: {status} instead of {wanted}: {text}"
        );
        let met = if status == 200 {
            &mut self.answered
        } else {
            &mut self.refused
        };
        met.insert(format!("{method} {template}"));
        let responses = &operation["responses"];
        let by_status = responses.get(status.to_string());
        let response = by_status
            .or_else(|| responses.get("default"))
            .context("a response")?;
        let Some(schema) = json_schema(response) else {
            ensure!(
                response["content"].get("application/yaml").is_some(),
                "{what}: {response}"
            );
            return Ok(Value::String(text));
        };
        let answer: Value =
            serde_json::from_str(&text).with_context(|| format!("{what}: {text}"))?;
        self.hold(&what, schema, &answer)?;
        Ok(answer)
    }

    /// The path as the document has it: `/v1/services/{name}`.
    fn template(&self, path: &str) -> Result<String> {
        let fits = |template: &&String| {
            let (mut of, mut is) = (template.split('/'), path.split('/'));
            loop {
                match (of.next(), is.next()) {
                    (None, None) => return true,
                    (Some("{name}"), Some(_)) => {}
                    (of, is) if of == is => {}
                    _ => return false,
                }
            }
        };
        let paths = self.document["paths"].as_object().context("paths")?;
        let found = paths.keys().find(fits);
        Ok(found
            .with_context(|| format!("{path} is not described"))?
            .clone())
    }

    fn hold(&self, what: &str, schema: &Value, value: &Value) -> Result<()> {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        fits(what, &root, value)?;
        let name = schema["$ref"]
            .as_str()
            .and_then(|name| name.strip_prefix(COMPONENTS));
        match name {
            Some(name) => fits(
                what,
                self.apart
                    .get(name)
                    .with_context(|| format!("no schema {name}"))?,
                value,
            ),
            None => Ok(()),
        }
    }
}

fn json_schema(content: &Value) -> Option<&Value> {
    content["content"]["application/json"].get("schema")
}

fn fits(what: &str, schema: &Value, value: &Value) -> Result<()> {
    let problems: Vec<String> = jsonschema::validator_for(schema)?
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    ensure!(problems.is_empty(), "{what}: {problems:#?}\n{value:#}");
    Ok(())
}

/// With every object that has properties closed: a field that is not described is none of it.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for field in fields.values_mut() {
                *field = closed(field.take());
            }
            if fields.get("properties").is_some_and(Value::is_object)
                && !fields.contains_key("additionalProperties")
            {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(elements) => {
            for element in elements {
                *element = closed(element.take());
            }
        }
        _ => {}
    }
    schema
}

#[test]
fn a_field_that_is_not_described_is_noticed() -> Result<()> {
    let schema = closed(json!({"type": "object", "properties": {"a": {"type": "integer"}}}));
    fits("a", &schema, &json!({"a": 1}))?;
    assert!(fits("a", &schema, &json!({"a": 1, "b": 1})).is_err());
    Ok(())
}
