//! What can be named as `model`: the tenant's assistants, the routes and models it may use, what embeds.

use super::refusal::{no_model, shape};
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::assistants::Assistant;
use crate::types::Ctx;
use actix_web::middleware::from_fn;
use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelView {
    /// What to send as `model`: an assistant's slug, a model's name.
    id: String,
    /// `model`.
    object: &'static str,
    /// Seconds since 1970; 0 of what the server brings along.
    created: u64,
    /// `tenant` of assistants, `docent` of what the server brings along.
    owned_by: &'static str,
    /// assistant, route, chat or embedding.
    kind: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// `list`.
    object: &'static str,
    data: Vec<ModelView>,
}

impl ModelView {
    fn assistant(row: Assistant) -> Self {
        let born = row.id.uuid().get_timestamp().map_or(0, |time| time.to_unix().0);
        Self { id: row.slug, object: "model", created: born, owned_by: "tenant", kind: "assistant" }
    }

    fn of_server(id: &str, kind: &'static str) -> Self {
        Self { id: id.to_owned(), object: "model", created: 0, owned_by: "docent", kind }
    }
}

async fn all(state: &State, ctx: Ctx) -> Result<Vec<(Uuid, ModelView)>, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let assistants = Assistant::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    let assistants: Vec<(Uuid, ModelView)> =
        assistants.into_iter().map(|row| (row.id.uuid(), ModelView::assistant(row))).collect();
    let taken = |name: &str| assistants.iter().any(|(_, view)| view.id == name);
    let listed = state.models.list(ctx.tenant).await?;
    let listed = listed.into_iter().filter(|listed| !taken(&listed.name)).map(|listed| {
        let kind = if listed.provider.is_some() { "chat" } else { "route" };
        (Uuid::nil(), ModelView::of_server(&listed.name, kind))
    });
    let space = state.vectors.space(ctx.tenant).await?;
    let embedding = ModelView::of_server(space.name(), "embedding");
    let others: Vec<(Uuid, ModelView)> = listed.chain([(Uuid::nil(), embedding)]).collect();
    Ok(assistants.into_iter().chain(others).collect())
}

/// Refuses a name that is not listed: a server without a catalogue would ask its provider for any model there is.
pub(super) async fn must_be_listed(state: &State, ctx: Ctx, name: &str) -> Result<(), Problem> {
    let listed = state.models.list(ctx.tenant).await?;
    if listed.iter().any(|listed| listed.name == name) {
        return Ok(());
    }
    let tx = state.db.tenant(ctx.tenant).await?;
    let found = Assistant::pick(&tx, ctx.tenant, Some(name)).await.map_err(DbError::from)?;
    tx.commit().await?;
    found.map(drop).ok_or_else(no_model)
}

/// What can be named as `model`.
#[utoipa::path(get, path = "/v1/models", tag = "openai", security(("bearer" = [])),
    responses((status = 200, body = ModelList)))]
#[get("/v1/models", wrap = "from_fn(shape)")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<ModelList>, Problem> {
    let data = all(&state, ctx).await?.into_iter().map(|(_, view)| view).collect();
    Ok(web::Json(ModelList { object: "list", data }))
}

/// One of them, by its name; an assistant also by its id.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", security(("bearer" = [])),
    params(("id" = String, Path)), responses((status = 200, body = ModelView), (status = 404)))]
#[get("/v1/models/{id}", wrap = "from_fn(shape)")]
pub(crate) async fn get(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<String>,
) -> Result<web::Json<ModelView>, Problem> {
    let named = Uuid::parse_str(&id).ok().filter(|id| !id.is_nil());
    let mut found = all(&state, ctx).await?.into_iter();
    let found = found.find(|(key, view)| view.id == *id || Some(*key) == named);
    found.map(|(_, view)| web::Json(view)).ok_or_else(no_model)
}
