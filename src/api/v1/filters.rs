//! What a tenant keeps out of questions and answers.

use crate::api::body::Body;
use crate::api::observe;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::guard::Definition;
use crate::store::filters::Filter;
use crate::store::operator::Audit;
use crate::store::{DbError, Tx};
use crate::types::{AssistantId, Ctx, FilterId};
use actix_web::{HttpResponse, delete, get, post, put, web};
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// The most filters of a tenant.
const MOST: i64 = 50;

#[derive(Serialize, ToSchema)]
pub(crate) struct FilterView {
    id: FilterId,
    name: String,
    /// input or output.
    stage: String,
    pattern: String,
    /// block or redact.
    action: String,
    text: String,
    /// Null: for all turns of the tenant.
    assistant_id: Option<AssistantId>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct FilterList {
    /// In the order in which they are applied, which is that in which they were made.
    data: Vec<FilterView>,
}

impl From<Filter> for FilterView {
    fn from(row: Filter) -> Self {
        let Filter { id, name, stage, pattern, action, text, assistant_id, created_at, .. } = row;
        Self { id, name, stage, pattern, action, text, assistant_id, created_at }
    }
}

fn manage(ctx: Ctx) -> Result<(), Problem> {
    match ctx.manages_filters() {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "Owners and admins define filters.")),
    }
}

fn row(ctx: Ctx, definition: Definition, before: Option<&Filter>) -> Result<Filter, Problem> {
    definition.check()?;
    Ok(Filter {
        tenant_id: ctx.tenant,
        id: before.map_or_else(FilterId::new, |before| before.id),
        stage: definition.stage.as_str().into(),
        action: definition.action.as_str().into(),
        text: definition.text().into(),
        name: definition.name,
        pattern: definition.pattern,
        assistant_id: definition.assistant_id,
        created_at: before.map_or_else(Utc::now, |before| before.created_at),
    })
}

/// A pattern may itself be what nobody is to read: it is not in the audit log.
async fn note(tx: &mut Tx, ctx: Ctx, action: &str, filter: &Filter) -> Result<(), Problem> {
    let audit = Audit {
        tenant_id: ctx.tenant,
        id: Uuid::now_v7(),
        actor: format!("user {}", ctx.user),
        action: format!("filter-{action}"),
        detail: json!({"filter_id": filter.id.to_string(), "name": filter.name,
            "stage": filter.stage, "action": filter.action,
            "assistant_id": filter.assistant_id.map(|id| id.to_string())}),
        request_id: Some(observe::request_id()),
    };
    audit.insert(tx).await.map_err(DbError::from)?;
    Ok(())
}

fn wrong(error: Error) -> Problem {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
            Problem::new(Code::Conflict, "There is a filter of this name already.").about("name")
        }
        Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _) => {
            Problem::invalid("There is no such assistant.").about("assistant_id")
        }
        error => DbError::from(error).into(),
    }
}

async fn locked(tx: &mut Tx, ctx: Ctx, id: FilterId) -> Result<Filter, Problem> {
    let found = Filter::lock(tx, ctx.tenant, id).await.map_err(DbError::from)?;
    let found = found.ok_or_else(|| Problem::not_found("filter"))?;
    manage(ctx)?;
    Ok(found)
}

/// What is kept out of questions and answers. For owners and admins.
#[utoipa::path(get, path = "/v1/filters", tag = "guardrails", security(("bearer" = [])),
    responses((status = 200, body = FilterList), (status = 403, body = Problem)))]
#[get("/v1/filters")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<FilterList>, Problem> {
    manage(ctx)?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let rows = Filter::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    Ok(web::Json(FilterList { data: rows.into_iter().map(FilterView::from).collect() }))
}

/// Define a filter. It holds from the next question on.
#[utoipa::path(post, path = "/v1/filters", tag = "guardrails", security(("bearer" = [])), request_body = Definition,
    responses((status = 201, body = FilterView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem)))]
#[post("/v1/filters")]
pub(crate) async fn create(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(definition): Body<Definition>,
) -> Result<HttpResponse, Problem> {
    manage(ctx)?;
    let row = row(ctx, definition, None)?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    if Filter::count(&mut tx, ctx.tenant).await.map_err(DbError::from)? >= MOST {
        let detail = format!("There are {MOST} filters already: delete one first.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    row.insert(&mut tx).await.map_err(wrong)?;
    note(&mut tx, ctx, "created", &row).await?;
    tx.commit().await?;
    state.guard.changed(ctx.tenant);
    Ok(HttpResponse::Created().json(FilterView::from(row)))
}

/// Put another definition in a filter's place.
#[utoipa::path(put, path = "/v1/filters/{id}", tag = "guardrails", security(("bearer" = [])),
    params(("id" = FilterId, Path)), request_body = Definition,
    responses((status = 200, body = FilterView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
#[put("/v1/filters/{id}")]
pub(crate) async fn replace(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<FilterId>,
    Body(body): Body<Value>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let before = locked(&mut tx, ctx, *id).await?;
    let definition: Definition = serde_json::from_value(body)
        .map_err(|error| Problem::invalid(format!("The body is not as documented: {error}.")))?;
    let row = row(ctx, definition, Some(&before))?;
    row.save(&mut tx).await.map_err(wrong)?;
    note(&mut tx, ctx, "changed", &row).await?;
    tx.commit().await?;
    state.guard.changed(ctx.tenant);
    Ok(HttpResponse::Ok().json(FilterView::from(row)))
}

/// Delete a filter.
#[utoipa::path(delete, path = "/v1/filters/{id}", tag = "guardrails", security(("bearer" = [])),
    params(("id" = FilterId, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
#[delete("/v1/filters/{id}")]
pub(crate) async fn remove(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<FilterId>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let filter = locked(&mut tx, ctx, *id).await?;
    filter.delete(&mut tx).await.map_err(DbError::from)?;
    note(&mut tx, ctx, "deleted", &filter).await?;
    tx.commit().await?;
    state.guard.changed(ctx.tenant);
    Ok(HttpResponse::NoContent().finish())
}
