//! The API's description, generated from the handlers, and a page to read it.

use super::ai_sdk::chat as ai_sdk;
use super::legacy::chat as legacy;
use super::openai::{self, completions, embeddings};
use super::problem::Problem;
use super::v1::{
    approvals, assistant_edits, assistant_versions, assistants, attempts, auth, billing, chat,
    collections, conversations, estimate, files, filters, keys, messages, models, operator, quota,
    receipt, server, tenant_embeddings, tenant_models, tickets, tools, turns, upload, usage,
    usage_csv,
};
use super::{health, stream};
use actix_web::{HttpResponse, get};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "docent",
        description = "Chat that answers from a tenant's own documents. Errors are RFC 9457 problem \
            documents with a stable `code`. The WebSocket is described at `/asyncapi.json`."
    ),
    paths(
        health::healthz, health::readyz, health::metrics, server::server,
        auth::request_code, auth::verify_code, auth::refresh, auth::logout, auth::me, tickets::of_socket,
        tickets::of_turn, tickets::of_file,
        assistants::list, assistants::get, assistant_edits::create, assistant_edits::edit, assistant_edits::publish,
        assistant_edits::roll_back, assistant_edits::remove, assistant_versions::list,
        assistant_versions::try_draft, collections::list, collections::file_under,
        upload::upload, files::list, files::get, files::events, files::content, files::page, files::remove,
        chat::stream, chat::send, estimate::estimate, turns::stream, turns::stop, attempts::attempts, receipt::receipt,
        stream::websocket::ws_chat,
        conversations::list, conversations::get, conversations::rename, conversations::remove,
        messages::list, messages::turn_to, quota::quota, usage::usage, usage_csv::usage_csv, billing::ledger,
        billing::periods, operator::correct, operator::set_limit, operator::top_up, operator::read_audit,
        operator::change_tenant, legacy::send, legacy::stream,
        models::list, models::put_model, models::put_route, models::remove_route, models::allow_plan, models::log,
        tenant_models::list, tenant_models::allow, tenant_models::put_route, tenant_models::remove_route,
        tenant_models::put_key, tenant_models::remove_key, tenant_models::resolve,
        ai_sdk::ask, ai_sdk::stream, ai_sdk::stop,
        tenant_embeddings::status, tenant_embeddings::start, tenant_embeddings::cancel,
        approvals::decide, tools::list, tools::create, tools::replace, tools::remove,
        filters::list, filters::create, filters::replace, filters::remove,
        keys::list, keys::create, keys::rotate, keys::revoke,
        openai::models::list, openai::models::get, embeddings::embeddings, completions::completions,
    ),
    components(schemas(Problem)),
    modifiers(&Bearer)
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components.get_or_insert_default().add_security_scheme("bearer", scheme);
    }
}

/// The description.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[get("/openapi.json")]
pub(super) async fn json() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

pub(super) fn docs() -> SwaggerUi {
    SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json"))
}
