//! The WebSocket's description (`AsyncAPI` 3), generated from the frames.

use super::stream::{ClientFrame, ServerFrame};
use crate::chat::ConversationEvent;
use actix_web::{HttpResponse, get};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

/// Their schemas, and those of all that is in them.
#[derive(OpenApi)]
#[openapi(components(schemas(ClientFrame, ServerFrame<'static>, ConversationEvent)))]
struct Frames;

/// The description. Frames of a client are what the server receives.
#[must_use]
pub fn document() -> Value {
    let mut schemas = serde_json::to_value(Frames::openapi().components).unwrap_or_default();
    let mut schemas = schemas.get_mut("schemas").map(Value::take).unwrap_or_default();
    let mut take = |name: &str| schemas.as_object_mut().and_then(|all| all.remove(name));
    let received = messages(take("ClientFrame"));
    let mut sent = messages(take("ServerFrame"));
    let event = json!({"$ref": "#/components/schemas/ConversationEvent"});
    let tag = json!({"type": "object", "required": ["type"], "properties": {"type": {"type": "string", "enum": ["conversation"]}}});
    sent.insert(
        "conversation".into(),
        json!({"payload": {"allOf": [tag, event]}, "summary": "What happens in the user's conversations."}),
    );
    let operation = |action: &str, of: &Map<String, Value>| {
        let refer = |name: &String| json!({"$ref": format!("#/channels/chat/messages/{name}")});
        json!({"action": action, "channel": {"$ref": "#/channels/chat"},
            "messages": of.keys().map(refer).collect::<Vec<_>>()})
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "docent",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Chat over a WebSocket, subprotocol `docent.v1`. How it is opened, resumed and closed is in \
                docs/websocket.md. Clients skip parts and events that they do not know.",
        },
        "defaultContentType": "application/json",
        "operations": {"receive": operation("receive", &received), "send": operation("send", &sent)},
        "channels": {"chat": {
            "address": "/ws/chat",
            "description": "Text frames, one JSON object each. A ticket is offered as the subprotocol `ticket.<ticket>` \
                beside `docent.v1`; without one the first frame is `auth`.",
            "bindings": {"ws": {"method": "GET"}},
            "messages": received.into_iter().chain(sent).collect::<Map<_, _>>(),
        }},
        "components": {"schemas": schemas},
    })
}

/// A message of each variant of an enum of frames, by its `type`.
fn messages(frames: Option<Value>) -> Map<String, Value> {
    let mut frames = frames.unwrap_or_default();
    let variants = frames.get_mut("oneOf").map(Value::take).unwrap_or_default();
    let variants = if let Value::Array(variants) = variants { variants } else { Vec::new() };
    let message = |mut payload: Value| {
        let name = tag(&payload)?.to_owned();
        let said = payload.as_object_mut().and_then(|payload| payload.remove("description"));
        Some((name, json!({"summary": said, "payload": payload})))
    };
    variants.into_iter().filter_map(message).collect()
}

/// The `type` that a schema demands.
fn tag(schema: &Value) -> Option<&str> {
    let own = schema.pointer("/properties/type/enum/0").and_then(Value::as_str);
    own.or_else(|| schema.get("allOf")?.as_array()?.iter().find_map(tag))
}

#[get("/asyncapi.json")]
pub(super) async fn json() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_a_message() {
        let document = document();
        let names = |operation: &str| {
            let messages = document["operations"][operation]["messages"].as_array().unwrap();
            let message = |of: &Value| of["$ref"].as_str().unwrap().replacen('#', "", 1);
            let pointers: Vec<String> = messages.iter().map(message).collect();
            assert!(pointers.iter().all(|pointer| document.pointer(pointer).is_some()));
            pointers.join(" ").replace("/channels/chat/messages/", "")
        };
        assert_eq!(names("receive"), "attach auth ping send stop");
        assert_eq!(names("send"), "accepted conversation error part pong ready");
        assert!(document["components"]["schemas"]["Problem"].is_object());
    }
}
