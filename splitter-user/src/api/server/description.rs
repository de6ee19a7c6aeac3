//! The interface described for machines: an OpenAPI document and JSON Schemas, generated from the types that travel.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::routes::{DrainQuery, ExportQuery, WhichQuery};
use crate::api::types::{
    AuditFilter, AuditList, ChangeReply, ChangeRequest, DiffRequest, DiffView, DrainView,
    ErrorBody, ExplainQuery, Explanation, FindingList, FlowFilter, FlowList, FreezeRequest,
    FreezeView, HistoryFilter, HistoryList, ServiceDocument, ServiceList, StatusView, Which,
};

/// Where schemas stand in the OpenAPI document.
const COMPONENTS: &str = "#/components/schemas/";

/// Types that say in `kind` what they are; it is their name.
const KINDS: [&str; 15] = [
    "AuditList",
    "Change",
    "ChangeList",
    "Diff",
    "Drain",
    "Error",
    "Explanation",
    "FindingList",
    "FlowList",
    "Freeze",
    "HistoryList",
    "Service",
    "ServiceList",
    "Status",
    "Which",
];

/// Makes the schema of a type, with all it needs among the components.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// What an operation answers with.
enum Reply {
    /// JSON of this schema.
    Json(Describe),
    /// YAML.
    Yaml,
    /// JSON that says little.
    Plain,
}

/// One thing that can be asked for.
struct Operation {
    method: &'static str,
    path: &'static str,
    /// The verb of the command line, or another name for programs.
    id: &'static str,
    summary: &'static str,
    query: Option<Describe>,
    body: Option<Describe>,
    reply: Reply,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The whole schema, for queries: their fields become parameters.
fn whole<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

const fn read(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    reply: Reply,
) -> Operation {
    Operation {
        method: "get",
        path,
        id,
        summary,
        query: None,
        body: None,
        reply,
    }
}

const fn write(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: Option<Describe>,
    reply: Reply,
) -> Operation {
    Operation {
        method: "post",
        path,
        id,
        summary,
        query: None,
        body,
        reply,
    }
}

fn operations() -> Vec<Operation> {
    vec![
        write(
            "/v1/changes",
            "change",
            "Carry out a change, or with dryRun say what it would do",
            Some(of::<ChangeRequest>),
            Reply::Json(of::<ChangeReply>),
        ),
        read(
            "/v1/services",
            "services",
            "All services",
            Reply::Json(of::<ServiceList>),
        ),
        read(
            "/v1/services/{name}",
            "service",
            "One service",
            Reply::Json(of::<ServiceDocument>),
        ),
        Operation {
            query: Some(whole::<DrainQuery>),
            ..read(
                "/v1/services/{name}/drain",
                "drain",
                "How a drain stands",
                Reply::Json(of::<DrainView>),
            )
        },
        Operation {
            query: Some(whole::<WhichQuery>),
            ..read(
                "/v1/services/{name}/which",
                "which",
                "The track that a client meets",
                Reply::Json(of::<Which>),
            )
        },
        Operation {
            query: Some(whole::<ExplainQuery>),
            ..read(
                "/v1/explain",
                "explain",
                "Where a packet goes, and why or why not",
                Reply::Json(of::<Explanation>),
            )
        },
        Operation {
            query: Some(whole::<FlowFilter>),
            ..read(
                "/v1/flows",
                "flows",
                "Pinned flows",
                Reply::Json(of::<FlowList>),
            )
        },
        read(
            "/v1/status",
            "status",
            "How the agent and its services stand",
            Reply::Json(of::<StatusView>),
        ),
        Operation {
            query: Some(whole::<ExportQuery>),
            ..read(
                "/v1/export",
                "export",
                "The resources in force, or the whole state",
                Reply::Yaml,
            )
        },
        write(
            "/v1/diff",
            "diff",
            "A text compared with what is in force and what was applied last",
            Some(of::<DiffRequest>),
            Reply::Json(of::<DiffView>),
        ),
        Operation {
            query: Some(whole::<HistoryFilter>),
            ..read(
                "/v1/history",
                "history",
                "Generations of services, newest first",
                Reply::Json(of::<HistoryList>),
            )
        },
        Operation {
            query: Some(whole::<AuditFilter>),
            ..read(
                "/v1/audit",
                "audit",
                "Requests to change something, newest first",
                Reply::Json(of::<AuditList>),
            )
        },
        write(
            "/v1/freeze",
            "freeze",
            "Refuse changes from now on, or no longer",
            Some(of::<FreezeRequest>),
            Reply::Json(of::<FreezeView>),
        ),
        read(
            "/v1/doctor",
            "doctor",
            "What the agent finds of itself and its host",
            Reply::Json(of::<FindingList>),
        ),
        write(
            "/v1/detach",
            "detach",
            "Remove the data plane; the agent ends",
            None,
            Reply::Plain,
        ),
        read("/openapi.json", "openapi", "This document", Reply::Plain),
        read(
            "/schemas",
            "schemas",
            "Names of all JSON Schemas",
            Reply::Plain,
        ),
        read("/schemas/{name}", "schema", "One JSON Schema", Reply::Plain),
    ]
}

/// The OpenAPI document (3.1, whose schemas are JSON Schema 2020-12).
pub fn openapi() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations() {
        let described = describe(&operation, &mut generator);
        paths
            .entry(operation.path)
            .or_default()
            .insert(operation.method.to_owned(), described);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "splitter",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON over HTTP over the agent's unix socket. Who may ask for what: docs/roles.md.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "paths": paths,
        "components": {"schemas": with_kinds(generator.take_definitions(true))},
    })
}

/// serde's tag of a struct is no field of it, so it is added here.
fn with_kinds(mut schemas: Map<String, Value>) -> Map<String, Value> {
    for kind in KINDS {
        let Some(schema) = schemas.get_mut(kind) else {
            continue;
        };
        schema["properties"]["kind"] = json!({"const": kind, "description": "What this is."});
        if let Some(required) = schema["required"].as_array_mut() {
            required.push(json!("kind"));
        }
    }
    schemas
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let parameters: Vec<Value> = operation
        .path
        .contains("{name}")
        .then(|| {
            json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .into_iter()
        .chain(
            operation
                .query
                .map(|query| parameters(query(generator)))
                .unwrap_or_default(),
        )
        .collect();
    let content = match &operation.reply {
        Reply::Json(schema) => json!({"application/json": {"schema": schema(generator)}}),
        Reply::Yaml => json!({"application/yaml": {"schema": {"type": "string"}}}),
        Reply::Plain => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let refusal = generator.subschema_for::<ErrorBody>();
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done, or found.", "content": content},
            "default": {
                "description": "Refused: 400 input, 403 policy, 404 no such thing, 409 generation, 413 too large, 504 time; or 500 failed.",
                "content": {"application/json": {"schema": refusal}},
            },
        },
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": body(generator)}},
        });
    }
    described
}

/// The fields of a query, one parameter each.
fn parameters(query: Schema) -> Vec<Value> {
    let query = query.to_value();
    let required = |name: &str| {
        let list = query["required"].as_array();
        list.is_some_and(|list| list.iter().any(|required| required == name))
    };
    let fields = query["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, schema): (String, Value)| json!({"in": "query", "required": required(&name), "name": name, "schema": schema});
    fields.into_iter().map(parameter).collect()
}

/// Every type that travels, as a JSON Schema by itself (2020-12), by name.
pub fn schemas() -> BTreeMap<String, Value> {
    let document = openapi();
    let all = document["components"]["schemas"].as_object().cloned();
    let all = all.unwrap_or_default();
    let own = |value: &Value| value.to_string().replace(COMPONENTS, "#/$defs/");
    let definitions: Map<String, Value> = all
        .iter()
        .filter_map(|(name, schema)| Some((name.clone(), serde_json::from_str(&own(schema)).ok()?)))
        .collect();
    all.keys()
        .map(|name| {
            let schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": format!("#/$defs/{name}"),
                "$defs": definitions,
            });
            (name.clone(), schema)
        })
        .collect()
}
