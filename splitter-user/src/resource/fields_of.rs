//! A resource as a flat list of fields, for comparing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::export::Document;
use crate::model::Service;

/// The fields of a service by path, such as `spec.tracks.green.weight`. Elements of lists go by what names them, so that
/// another order is no difference.
#[must_use]
pub fn fields_of(service: &Service) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    // Plain data with text keys: it has a JSON form.
    let tree = serde_json::to_value(Document::of(service)).unwrap_or_default();
    flatten("", &tree, &mut fields);
    fields.retain(|path, _| path != "apiVersion" && path != "kind");
    fields
}

fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                flatten(&below(name), value, fields);
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                flatten(&below(&name_of(index, element)), element, fields);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(fields.insert(path.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => {
            drop(fields.insert(path.to_owned(), value.to_string()))
        }
    }
}

/// What stands for an element of a list in a path.
fn name_of(index: usize, element: &Value) -> String {
    let text = |key: &str| match element.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let name = || {
        let address = text("address").or_else(|| text("vip"))?;
        let rest = [text("port"), text("protocol")].into_iter().flatten();
        let parts: Vec<String> = std::iter::once(format!("[{address}]"))
            .chain(rest)
            .collect();
        Some(parts.join(":"))
    };
    text("name")
        .or_else(name)
        .unwrap_or_else(|| format!("[{index}]"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn paths_go_by_names_and_another_order_is_no_difference() {
        let text = |tracks: &str| {
            let yaml = format!(
                "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  listeners: [{{vip: 198.18.1.100, port: 80, \
                 protocol: tcp}}]\n  tracks: [{tracks}]\n"
            );
            fields_of(&crate::resource::parse(&yaml, "test").unwrap()[0])
        };
        let blue = "{name: blue, weight: 95%, backends: [{address: 198.18.2.11, port: 80}]}";
        let green = "{name: green, weight: 5%, backends: [{address: 198.18.2.21, port: 80}]}";
        let fields = text(&format!("{blue}, {green}"));
        assert_eq!(fields["metadata.name"], "web");
        assert_eq!(fields["spec.tracks.green.weight"], "5%");
        assert_eq!(
            fields["spec.tracks.blue.backends.[198.18.2.11]:80.weight"],
            "1"
        );
        assert_eq!(fields["spec.listeners.[198.18.1.100]:80:tcp.port"], "80");
        assert_eq!(fields, text(&format!("{green}, {blue}")));
    }
}
