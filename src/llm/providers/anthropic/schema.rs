//! JSON schemas as Anthropic takes them where it makes sure that they are followed.
//!
//! Every object has to be closed, and bounds of numbers and lengths are refused. A bound that is left
//! out is one that nobody checks: the shape of the answer is what is promised.

use serde_json::Value;

/// What constrained answers cannot hold.
const REFUSED: [&str; 8] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
];

/// `schema` with closed objects and without what is refused.
pub(super) fn strict(mut schema: Value) -> Value {
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    for key in REFUSED {
        fields.remove(key);
    }
    // More than one item cannot be asked for.
    if fields.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        fields.insert("minItems".to_owned(), 1.into());
    }
    if fields.get("type").is_some_and(|kind| kind == "object") {
        fields.insert("additionalProperties".to_owned(), false.into());
    }
    for key in ["properties", "$defs", "definitions"] {
        let named = fields.get_mut(key).and_then(Value::as_object_mut);
        named.into_iter().flat_map(|named| named.values_mut()).for_each(tighten);
    }
    for key in ["anyOf", "allOf", "oneOf"] {
        let options = fields.get_mut(key).and_then(Value::as_array_mut);
        options.into_iter().flatten().for_each(tighten);
    }
    if let Some(items) = fields.get_mut("items") {
        tighten(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_and_bounds_are_dropped_at_every_depth() {
        let schema = json!({
            "type": "object",
            "properties": {
                "minimum": {"type": "integer", "minimum": 1, "maximum": 9},
                "list": {"type": "array", "minItems": 3, "items": {"type": "object"}},
                "either": {"anyOf": [{"type": "string", "maxLength": 9}, {"$ref": "#/$defs/d"}]},
            },
            "required": ["minimum"],
            "$defs": {"d": {"type": "object", "additionalProperties": true}},
        });
        let expected = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "minimum": {"type": "integer"},
                "list": {"type": "array", "minItems": 1,
                    "items": {"type": "object", "additionalProperties": false}},
                "either": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/d"}]},
            },
            "required": ["minimum"],
            "$defs": {"d": {"type": "object", "additionalProperties": false}},
        });
        assert_eq!(strict(schema), expected);
    }
}
