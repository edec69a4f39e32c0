//! For load balancers and Prometheus.

use super::problem::{Code, Problem};
use super::state::State;
use crate::cluster::Status;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use diesel_async::RunQueryDsl;
use serde_json::json;
use std::time::Duration;

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200)))]
#[get("/healthz")]
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Traffic may be sent here: not draining, and the database answers.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200), (status = 503)))]
#[get("/readyz")]
pub(super) async fn readyz(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    if state.chat.draining() {
        return Err(Problem::new(Code::Unavailable, "The server is draining."));
    }
    let ping = async {
        let mut tx = state.db.system().await?;
        diesel::sql_query("SELECT 1").execute(&mut *tx).await?;
        tx.commit().await
    };
    match tokio::time::timeout(Duration::from_secs(2), ping).await {
        Ok(Ok(())) => {
            // Without Redis a node still serves; whoever looks should know that it is away.
            let redis = match state.cluster.check().await {
                Status::Alone => "unused",
                Status::Connected => "connected",
                Status::Away => "away",
            };
            Ok(HttpResponse::Ok().json(json!({"status": "ready", "redis": redis})))
        }
        _ => Err(Problem::new(Code::Unavailable, "The database does not answer.")),
    }
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200), (status = 401)))]
#[get("/metrics")]
pub(super) async fn metrics(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    if let Some(token) = &state.settings.metrics_token {
        let sent = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let wanted = format!("Bearer {}", token.expose());
        let same = subtle::ConstantTimeEq::ct_eq(sent.unwrap_or_default(), wanted.as_bytes());
        if !bool::from(same) {
            return Err(Problem::new(Code::Unauthenticated, "Metrics need the METRICS_TOKEN."));
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(state.metrics.render()))
}
