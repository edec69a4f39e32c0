//! Who answers.

use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::assistants::Assistant;
use crate::types::AssistantId;
use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct AssistantView {
    id: AssistantId,
    slug: String,
    name: String,
    description: String,
    greeting: String,
    model: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AssistantList {
    data: Vec<AssistantView>,
}

/// The tenant's assistants; the first is the default.
#[utoipa::path(get, path = "/v1/assistants", tag = "assistants", security(("bearer" = [])),
    responses((status = 200, body = AssistantList), (status = 401, body = Problem)))]
#[get("/v1/assistants")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<AssistantList>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = Assistant::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    let view = |assistant: Assistant| AssistantView {
        id: assistant.id,
        slug: assistant.slug,
        name: assistant.name,
        description: assistant.description,
        greeting: assistant.greeting,
        model: assistant.model.unwrap_or_else(|| state.default_model.clone()),
    };
    Ok(web::Json(AssistantList { data: found.into_iter().map(view).collect() }))
}
