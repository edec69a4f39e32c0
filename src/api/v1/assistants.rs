//! Who answers: what everybody sees of assistants, and what their editors see.

use super::assistant_edits::manage;
use crate::api::principal::Principal;
use crate::api::problem::Problem;
use crate::api::state::State;
use crate::store::DbError;
use crate::store::assistant_drafts::Draft;
use crate::store::assistants::Assistant;
use crate::types::{AssistantId, Persona};
use actix_web::http::header;
use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An assistant that can be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct AssistantView {
    id: AssistantId,
    slug: String,
    name: String,
    description: String,
    greeting: String,
    model: String,
    /// A BCP 47 tag; null: the language of the question.
    language: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AssistantList {
    data: Vec<AssistantView>,
}

/// An assistant as its editors see it.
#[derive(Serialize, ToSchema)]
pub(crate) struct DraftView {
    id: AssistantId,
    slug: String,
    /// Counts every change; also the `ETag`.
    revision: i32,
    /// What is published; null: nothing yet.
    version: Option<i32>,
    /// The draft is not what is published.
    changed: bool,
    archived_at: Option<DateTime<Utc>>,
    draft: Persona,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DraftList {
    data: Vec<DraftView>,
}

/// What everybody sees, or with `drafts` what editors see.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Assistants {
    Published(AssistantList),
    Drafts(DraftList),
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// True: all with their drafts, unpublished and archived ones too, for owners and admins.
    #[serde(default)]
    drafts: bool,
}

impl From<Draft> for DraftView {
    fn from(row: Draft) -> Self {
        Self {
            id: row.id,
            slug: row.slug,
            revision: row.revision,
            version: row.version,
            changed: row.changed,
            archived_at: row.archived_at,
            draft: row.draft,
        }
    }
}

impl DraftView {
    /// With the revision, which a change may name in `If-Match`.
    pub(super) fn respond(self, response: &mut actix_web::HttpResponseBuilder) -> HttpResponse {
        response.insert_header((header::ETAG, format!("\"{}\"", self.revision))).json(self)
    }
}

/// The assistants that can be asked; the first is the default.
#[utoipa::path(get, path = "/v1/assistants", tag = "assistants", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Assistants), (status = 401, body = Problem),
        (status = 403, body = Problem)))]
#[get("/v1/assistants")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    if query.drafts {
        manage(ctx)?;
        let found = Draft::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
        tx.commit().await?;
        let data = found.into_iter().map(DraftView::from).collect();
        return Ok(HttpResponse::Ok().json(Assistants::Drafts(DraftList { data })));
    }
    let found = Assistant::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    let usual = state.models.default_in(&mut tx, ctx.tenant).await?;
    tx.commit().await?;
    let view = |assistant: Assistant| AssistantView {
        id: assistant.id,
        slug: assistant.slug,
        name: assistant.name,
        description: assistant.description,
        greeting: assistant.greeting,
        model: assistant.model.unwrap_or_else(|| usual.clone()),
        language: assistant.language,
    };
    let data = found.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(Assistants::Published(AssistantList { data })))
}

/// One assistant with its draft. For owners and admins.
#[utoipa::path(get, path = "/v1/assistants/{id}", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path)),
    responses((status = 200, body = DraftView), (status = 403, body = Problem), (status = 404, body = Problem)))]
#[get("/v1/assistants/{id}")]
pub(crate) async fn get(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let found = Draft::find(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Problem::not_found("assistant"))?;
    manage(ctx)?;
    Ok(DraftView::from(found).respond(&mut HttpResponse::Ok()))
}
