//! A tenant's tool is called: one request, through the guard, with the headers that only this opens.

use super::definition::Definition;
use super::template::Template;
use super::toolbox::{Failed, Output, Toolbox};
use crate::net::Outgoing;
use crate::store::tenant_tools::TenantTool;
use crate::types::{Secret, TenantId};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most bytes of an answer that are read.
const MOST: usize = 16 * 1024;

impl Toolbox {
    /// The headers of a tool as they are kept; `None` when they cannot be.
    #[must_use]
    pub fn seal(&self, tenant: TenantId, name: &str, definition: &Definition) -> Option<Vec<u8>> {
        let headers = serde_json::to_string(definition.headers.as_ref()?).ok()?;
        self.vault.seal(tenant, &bound_to(name, &definition.url)?, &Secret::new(headers))
    }

    pub(super) async fn request(
        &self,
        tool: &TenantTool,
        mut input: Map<String, Value>,
    ) -> Result<Output, Failed> {
        if self.paces.check_key(&tool.tenant_id).is_err() {
            return Err(Failed("Too many requests were made: wait a minute.".into()));
        }
        let broken = |_| Failed("The tool is not set up well.".into());
        let mut url =
            Template::parse(&tool.url).map_err(broken)?.fill(&mut input).map_err(Failed)?;
        let method: Method = tool.method.parse().map_err(|_unknown| broken(String::new()))?;
        let mut headers = self.headers(tool)?;
        let body = if [Method::GET, Method::DELETE].contains(&method) {
            into_query(&mut url, &input);
            None
        } else {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            Some(Value::Object(input).to_string().into_bytes())
        };
        let sent = self.egress.send(Outgoing { method, url, headers, body }, MOST).await;
        let answer = sent.map_err(|error| Failed(format!("The tool did not answer: {error}.")))?;
        if !(200..300).contains(&answer.status) {
            return Err(Failed(format!("The tool answered with status {}.", answer.status)));
        }
        let text = String::from_utf8_lossy(&answer.body).replace('\0', "");
        let json = answer.content_type.contains("json");
        let body = match serde_json::from_str(&text) {
            Ok(value) if json => value,
            _ if json || answer.content_type.starts_with("text/") || text.is_empty() => {
                Value::String(text)
            }
            _ => return Err(Failed("The tool answered with neither JSON nor text.".into())),
        };
        Ok(Output::Value(match answer.cut {
            true => json!({"body": body, "cut_off": true}),
            false => json!({"body": body}),
        }))
    }

    fn headers(&self, tool: &TenantTool) -> Result<HeaderMap, Failed> {
        let Some(sealed) = &tool.headers else { return Ok(HeaderMap::new()) };
        let opened = bound_to(&tool.name, &tool.url)
            .and_then(|bound| self.vault.open(tool.tenant_id, &bound, sealed))
            .and_then(|json| serde_json::from_str::<BTreeMap<String, String>>(json.expose()).ok());
        let Some(opened) = opened else {
            tracing::error!(tool.id = %tool.id, "The headers of a tool cannot be opened");
            return Err(Failed("The tool is not set up well: give its headers again.".into()));
        };
        let pair = |(name, value): (&String, &String)| {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            Some((name.parse::<HeaderName>().ok()?, value))
        };
        Ok(opened.iter().filter_map(pair).collect())
    }
}

/// What headers are sealed for: moved to a tool of another name, or to another host, they do not open.
fn bound_to(name: &str, url: &str) -> Option<String> {
    let origin = url.split('/').take(3).collect::<Vec<_>>().join("/").to_lowercase();
    let origin: Url = origin.split(['?', '#']).next()?.parse().ok()?;
    Some(format!("tool:{name}@{}", origin.origin().ascii_serialization()))
}

fn into_query(url: &mut Url, input: &Map<String, Value>) {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    if !input.is_empty() {
        url.query_pairs_mut().extend_pairs(input.iter().map(|(name, value)| (name, text(value))));
    }
}
