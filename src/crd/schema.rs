//! Pieces of OpenAPI schema that schemars does not derive.

use k8s_openapi::{
    api::core::v1::{Affinity, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The rule of a URL: "http://" or "https://", a host, and if need be a port of 1 to 65535 and a path.
pub const IS_URL: &str = r"self.matches('^https?://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?(/[-A-Za-z0-9._~]+)*/?$')";

/// A map from a resource's name to its quantity, which Kubernetes takes as an integer or a string.
pub fn quantities(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "maxLength": 32,
            "pattern": r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$",
            "x-kubernetes-int-or-string": true
        }
    });
    limited("a list of resources", 1024, schema)
}

/// A map of labels, whose values Kubernetes bounds.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
        }
    });
    limited("labels", 2048, schema)
}

/// A map of annotations.
pub fn annotations(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096}
    });
    limited("annotations", 4096, schema)
}

/// Kubernetes' own conditions: one entry a type.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316,
                    "description": "What the condition is about: Ready sums up; Reconciling is True while something is under way; Stalled is True when a person must act."
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "Whether the condition holds."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "Generation of the spec that the condition is about."
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status changed last."
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 128,
                    "description": "Why, as one word for machines."
                },
                "message": {
                    "type": "string", "maxLength": 1024,
                    "description": "Why, and what to do about it."
                }
            }
        }
    })
}

/// Gateways that a route attaches to.
pub fn parent_references(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {
                    "type": "string", "minLength": 1, "maxLength": 253,
                    "description": "Name of the Gateway."
                },
                "namespace": {
                    "type": "string", "minLength": 1, "maxLength": 63,
                    "description": "Namespace of the Gateway; this one when absent. The Gateway must allow routes from here."
                },
                "sectionName": {
                    "type": "string", "minLength": 1, "maxLength": 253,
                    "description": "One listener of the Gateway; all when absent."
                },
                "port": {
                    "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535,
                    "description": "Listeners on this port only."
                }
            }
        }
    });
    limited("gateway.parentRefs", 2048, schema)
}

/// Host names of a route; the first label may be `*`.
pub fn hostnames(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
        }
    });
    limited("gateway.hostnames", 2048, schema)
}

/// Projects of a Sentry, as "organization/project".
pub fn available_projects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 100,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 201, "pattern": "^[-_.a-zA-Z0-9]+/[-_.a-zA-Z0-9]+$"}
    })
}

/// Secrets by name. The admission policy of the chart has a line for each.
pub fn secret_references(_: &mut SchemaGenerator) -> Schema {
    let schema = json!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {
                    "type": "string", "minLength": 1, "maxLength": 253,
                    "description": "Name of the Secret."
                }
            }
        }
    });
    limited("podTemplate.imagePullSecrets", 1024, schema)
}

/// A selector of namespaces, with the rules that Kubernetes has for one.
pub fn namespace_selector(generator: &mut SchemaGenerator) -> Schema {
    let mut selector = of_kubernetes::<LabelSelector>(generator);
    let operators = json!(["In", "NotIn", "Exists", "DoesNotExist"]);
    selector["properties"]["matchExpressions"]["items"]["properties"]["operator"]["enum"] = operators;
    let mut schema = limited("allowedNamespaces.selector", 2048, selector);
    let rules = schema.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut);
    if let Some(rules) = rules {
        rules.push(json!({
            "rule": "!has(self.matchExpressions) || self.matchExpressions.all(a, (a.operator in ['In', 'NotIn']) == (has(a.values) && a.values.size() > 0))",
            "message": "allowedNamespaces.selector needs values with In and NotIn, and takes none with Exists and DoesNotExist",
        }));
    }
    schema
}

pub fn affinity(generator: &mut SchemaGenerator) -> Schema {
    limited("podTemplate.affinity", 6144, of_kubernetes::<Affinity>(generator))
}

pub fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    limited("podTemplate.tolerations", 2048, of_kubernetes::<Vec<Toleration>>(generator))
}

pub fn topology_spread_constraints(generator: &mut SchemaGenerator) -> Schema {
    let constraints = of_kubernetes::<Vec<TopologySpreadConstraint>>(generator);
    limited("podTemplate.topologySpreadConstraints", 4096, constraints)
}

/// Kubernetes' own type, whose schema bounds nothing.
fn of_kubernetes<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = generator.subschema_for::<T>().to_value();
    bound(&mut schema);
    schema
}

/// The schema with a rule about all keys and texts in it together: many that are each within their own bound can be
/// more than the API server should hand to everybody who watches.
fn limited(what: &str, bytes: u32, mut schema: Value) -> Schema {
    schema["x-kubernetes-validations"] = json!([{
        "rule": format!("{} <= {bytes}", size(&schema, "self", 0)),
        "message": format!(
            "{what} may hold at most {bytes} bytes all together, keys included: take some out, or shorten them"
        ),
    }]);
    Schema::try_from(schema).unwrap_or_default()
}

/// A CEL expression for the bytes of all keys and texts of the value at `path`.
fn size(schema: &Value, path: &str, depth: u8) -> String {
    // Of its own for each level: a, b, c.
    let item = char::from(b'a' + depth);
    if let Some(values) = schema.get("additionalProperties") {
        let value = size(values, &format!("{path}[{item}]"), depth + 1);
        return format!("{path}.map({item}, bytes({item}).size() + {value}).sum()");
    }
    if let Some(items) = schema.get("items") {
        return format!("{path}.map({item}, {}).sum()", size(items, &item.to_string(), depth + 1));
    }
    if let Some(Value::Object(fields)) = schema.get("properties") {
        let required = |name: &str| {
            let names = schema["required"].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).any(|required| required == name)
        };
        let sizes = fields.iter().filter(|(_, field)| !is_number(field)).map(|(name, field)| {
            // A word of the language.
            let name = if name == "namespace" { "__namespace__" } else { name };
            let at = format!("{path}.{name}");
            let size = size(field, &at, depth);
            if required(name) { size } else { format!("(has({at}) ? {size} : 0)") }
        });
        return sizes.collect::<Vec<_>>().join(" + ");
    }
    match schema.get("maxLength") {
        // A quantity can be an integer, which has no length.
        Some(longest) if schema.get("type").is_none() => longest.to_string(),
        _ => format!("bytes({path}).size()"),
    }
}

fn is_number(schema: &Value) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number" | "boolean"))
}

/// Longest name in a pod template: a label's key, which is a domain, a slash and 63 characters.
const LONGEST_NAME: u32 = 253 + 1 + 63;

/// Bounds every string, list and map, and keeps the first sentence of a description: six times the same pages
/// would be most of the definition.
fn bound(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let limits: &[(&str, u32)] = match fields.get("type").and_then(Value::as_str) {
                Some("string") => &[("maxLength", LONGEST_NAME)],
                Some("array") => &[("maxItems", 16)],
                Some("object") if fields.contains_key("additionalProperties") => &[("maxProperties", 16)],
                _ => &[],
            };
            for (name, limit) in limits {
                fields.insert((*name).into(), json!(limit));
            }
            if fields.get("type").and_then(Value::as_str) == Some("array") {
                fields.insert("x-kubernetes-list-type".into(), json!("atomic"));
            }
            if let Some(Value::String(description)) = fields.get_mut("description")
                && let Some(end) = description.find(". ")
            {
                description.truncate(end + 1);
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}
