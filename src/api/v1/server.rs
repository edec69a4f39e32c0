//! What a client may know before it logs in.

use crate::api::state::State;
use crate::documents::MAX_BYTES;
use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

/// About this server.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerInfo {
    name: &'static str,
    version: &'static str,
    /// `dev` or `serve`.
    mode: &'static str,
    /// The tenant to log in to, in `dev`.
    default_tenant: Option<String>,
    demo_email: Option<String>,
    upload: UploadInfo,
}

/// What may be uploaded.
#[derive(Serialize, ToSchema)]
struct UploadInfo {
    accept: [&'static str; 6],
    max_bytes: usize,
}

/// About this server.
#[utoipa::path(get, path = "/v1/server", tag = "operations", responses((status = 200, body = ServerInfo)))]
#[get("/v1/server")]
pub(crate) async fn server(state: web::Data<State>) -> web::Json<ServerInfo> {
    let (default_tenant, demo_email) = state.demo.clone().unzip();
    web::Json(ServerInfo {
        name: "docent",
        version: env!("CARGO_PKG_VERSION"),
        mode: if state.dev { "dev" } else { "serve" },
        default_tenant,
        demo_email,
        upload: UploadInfo {
            accept: [".pdf", ".md", ".markdown", ".txt", ".html", ".htm"],
            max_bytes: MAX_BYTES,
        },
    })
}
