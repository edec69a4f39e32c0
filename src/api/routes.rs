//! The whole URL table.

use super::ai_sdk;
use super::body::MAX_BYTES;
use super::legacy::chat as legacy;
use super::openai::{self, completions, embeddings};
use super::problem::{Code, Problem};
use super::state::State;
use super::stream::ws_chat;
use super::v1::{
    approvals, assistant_edits, assistant_versions, assistants, attempts, auth, billing, chat,
    collections, conversations, estimate, files, filters, keys, messages, models, operator, quota,
    receipt, server, tenant_embeddings, tenant_models, tickets, tools, turns, upload, usage,
    usage_csv,
};
use super::{asyncapi, health, openapi, page};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

/// The routes that need no log-in; all others answer 401 without one (a test walks them).
pub const PUBLIC: &[(&str, &str)] = &[
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/v1/server"),
    ("post", "/v1/auth/request-code"),
    ("post", "/v1/auth/verify-code"),
    ("post", "/v1/auth/refresh"),
    ("post", "/v1/auth/logout"),
    ("get", "/ws/chat"),
];

/// Registers every route.
pub fn configure(state: State) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(web::Data::new(state))
            .app_data(web::PayloadConfig::new(MAX_BYTES))
            // A path that cannot be parsed names nothing.
            .app_data(
                web::PathConfig::default()
                    .error_handler(|_, _| Problem::not_found("resource").into()),
            )
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                Problem::invalid(format!("The query is not as documented: {error}.")).into()
            }));
        config
            .service(health::healthz)
            .service(health::readyz)
            .service(health::metrics)
            .service(openapi::json)
            .service(asyncapi::json)
            .service(openapi::docs())
            .service(web::redirect("/docs", "/docs/"))
            .service(page::index)
            .service(page::asset)
            .service(page::favicon)
            .service(ws_chat);
        config
            .configure(specialists)
            .service(server::server)
            .service(auth::request_code)
            .service(auth::verify_code)
            .service(auth::refresh)
            .service(auth::logout)
            .service(auth::me)
            .configure(tickets)
            .service(upload::upload)
            .service(files::list)
            .service(files::get)
            .service(files::events)
            .service(files::content)
            .service(files::page)
            .service(files::remove)
            .service(chat::stream)
            .service(chat::send)
            .service(estimate::estimate)
            .service(turns::stream)
            .service(turns::stop)
            .service(conversations::list)
            .service(conversations::get)
            .service(conversations::rename)
            .service(conversations::remove)
            .service(messages::list)
            .service(messages::turn_to)
            .service(quota::quota)
            .service(receipt::receipt)
            .service(usage::usage)
            .service(billing::ledger)
            .service(billing::periods)
            .service(openai::models::list)
            .service(openai::models::get)
            .service(embeddings::embeddings)
            .service(completions::completions)
            .service(ai_sdk::chat::ask)
            .service(ai_sdk::chat::stream)
            .service(ai_sdk::chat::stop)
            .service(keys::list)
            .service(keys::create)
            .service(keys::rotate)
            .service(keys::revoke)
            .service(usage_csv::usage_csv)
            .default_service(web::to(nothing_here));
        config.configure(for_tools).configure(for_the_operator);
    }
}

fn tickets(config: &mut web::ServiceConfig) {
    config.service(tickets::of_socket).service(tickets::of_turn).service(tickets::of_file);
}

fn for_tools(config: &mut web::ServiceConfig) {
    config
        .service(tools::list)
        .service(tools::create)
        .service(tools::replace)
        .service(tools::remove)
        .service(approvals::decide)
        .service(filters::list)
        .service(filters::create)
        .service(filters::replace)
        .service(filters::remove);
}

fn for_the_operator(config: &mut web::ServiceConfig) {
    config
        .service(operator::correct)
        .service(operator::set_limit)
        .service(operator::top_up)
        .service(operator::read_audit)
        .service(operator::change_tenant)
        .service(models::list)
        .service(models::put_model)
        .service(models::put_route)
        .service(models::remove_route)
        .service(models::allow_plan)
        .service(models::log)
        .service(tenant_models::list)
        .service(tenant_models::allow)
        .service(tenant_models::put_route)
        .service(tenant_models::remove_route)
        .service(tenant_models::put_key)
        .service(tenant_models::remove_key)
        .service(tenant_models::resolve)
        .service(tenant_embeddings::status)
        .service(tenant_embeddings::start)
        .service(tenant_embeddings::cancel);
}

/// Who answers, from what; and the older way to ask.
fn specialists(config: &mut web::ServiceConfig) {
    config
        .service(assistants::list)
        .service(assistants::get)
        .service(attempts::attempts)
        .service(assistant_edits::create)
        .service(assistant_edits::edit)
        .service(assistant_edits::publish)
        .service(assistant_edits::roll_back)
        .service(assistant_edits::remove)
        .service(assistant_versions::list)
        .service(assistant_versions::try_draft)
        .service(collections::list)
        .service(collections::file_under)
        .service(legacy::send)
        .service(legacy::stream);
}

/// No route has this path; or one has it with other methods.
async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path();
    let methods: Vec<String> = table()
        .into_iter()
        .filter(|(_, pattern)| fits(pattern, path))
        .map(|(method, _)| method.to_uppercase())
        .collect();
    if methods.is_empty() {
        return Err(Problem::new(Code::NotFound, "There is nothing at this address; see /docs."));
    }
    let allow = methods.join(", ");
    let problem = Problem::new(Code::MethodNotAllowed, format!("This address takes {allow}."));
    let mut response = actix_web::ResponseError::error_response(&problem);
    if let Ok(value) = header::HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    Ok(response)
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(wanted, there)| wanted.starts_with('{') || wanted == there)
}

/// Method and path of every documented route, from the API description.
#[must_use]
pub fn table() -> Vec<(String, String)> {
    let document = serde_json::to_value(openapi::document()).unwrap_or_default();
    let paths = document.get("paths").and_then(|paths| paths.as_object()).cloned();
    paths
        .into_iter()
        .flatten()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().cloned().unwrap_or_default();
            methods.into_iter().map(move |(method, _)| (method, path.clone()))
        })
        .collect()
}
