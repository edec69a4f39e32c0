//! Tools that a tenant's assistants may call: those that come along, and the tenant's own.

use crate::api::body::Body;
use crate::api::observe;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::store::operator::Audit;
use crate::store::tenant_tools::TenantTool;
use crate::store::{DbError, Tx};
use crate::tools::{Builtin, Definition};
use crate::types::{Ctx, ToolId};
use actix_web::{HttpResponse, delete, get, post, put, web};
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// The most tools of a tenant's own.
const MOST: i64 = 100;

#[derive(Serialize, ToSchema)]
pub(crate) struct ToolView {
    id: ToolId,
    name: String,
    description: String,
    parameters: Value,
    method: String,
    url: String,
    /// The names of its headers; their values are never shown.
    headers: Vec<String>,
    needs_approval: bool,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct BuiltinView {
    name: &'static str,
    description: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ToolList {
    data: Vec<ToolView>,
    /// Those that come along.
    builtin: Vec<BuiltinView>,
}

impl From<TenantTool> for ToolView {
    fn from(row: TenantTool) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            parameters: row.parameters,
            method: row.method,
            url: row.url,
            headers: row.header_names.into_iter().flatten().collect(),
            needs_approval: row.needs_approval,
            created_at: row.created_at,
        }
    }
}

fn manage(ctx: Ctx) -> Result<(), Problem> {
    match ctx.manages_tools() {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "Owners and admins define tools.")),
    }
}

/// A row of a definition. Headers that were left out stay, unless the tool is another one now: a secret is
/// for one tool and one host.
fn row(
    state: &State,
    ctx: Ctx,
    definition: Definition,
    before: Option<&TenantTool>,
) -> Result<TenantTool, Problem> {
    definition.check()?;
    let (names, sealed) = match (&definition.headers, before) {
        (Some(headers), _) if headers.is_empty() => (Vec::new(), None),
        (Some(headers), _) => {
            let sealed = state.toolbox.seal(ctx.tenant, &definition.name, &definition);
            let sealed = sealed.ok_or_else(|| Problem::invalid("`headers` cannot be kept."))?;
            (headers.keys().cloned().map(Some).collect(), Some(sealed))
        }
        (None, Some(before)) if before.headers.is_some() => {
            let same = before.name == definition.name && before.url == definition.url;
            if !same {
                let detail = "The tool has another name or address now: give its headers again.";
                return Err(Problem::invalid(detail).about("headers"));
            }
            (before.header_names.clone(), before.headers.clone())
        }
        (None, _) => (Vec::new(), None),
    };
    Ok(TenantTool {
        tenant_id: ctx.tenant,
        id: before.map_or_else(ToolId::new, |before| before.id),
        name: definition.name,
        description: definition.description.trim().to_owned(),
        parameters: definition.parameters,
        method: definition.method,
        url: definition.url,
        header_names: names,
        headers: sealed,
        needs_approval: definition.needs_approval.unwrap_or(true),
        created_at: before.map_or_else(Utc::now, |before| before.created_at),
    })
}

async fn note(tx: &mut Tx, ctx: Ctx, action: &str, tool: &TenantTool) -> Result<(), Problem> {
    let host = tool.url.split('/').nth(2);
    let audit = Audit {
        tenant_id: ctx.tenant,
        id: Uuid::now_v7(),
        actor: format!("user {}", ctx.user),
        action: format!("tool-{action}"),
        detail: json!({"tool_id": tool.id.to_string(), "name": tool.name, "host": host,
            "needs_approval": tool.needs_approval}),
        request_id: Some(observe::request_id()),
    };
    audit.insert(tx).await.map_err(DbError::from)?;
    Ok(())
}

fn taken(error: Error) -> Problem {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
            Problem::new(Code::Conflict, "There is a tool of this name already.").about("name")
        }
        error => DbError::from(error).into(),
    }
}

async fn locked(tx: &mut Tx, ctx: Ctx, id: ToolId) -> Result<TenantTool, Problem> {
    let found = TenantTool::lock(tx, ctx.tenant, id).await.map_err(DbError::from)?;
    let found = found.ok_or_else(|| Problem::not_found("tool"))?;
    manage(ctx)?;
    Ok(found)
}

/// The tools that assistants may name. For owners and admins.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", security(("bearer" = [])),
    responses((status = 200, body = ToolList), (status = 403, body = Problem)))]
#[get("/v1/tools")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<ToolList>, Problem> {
    manage(ctx)?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let rows = TenantTool::list(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    tx.commit().await?;
    let builtin = Builtin::ALL.into_iter();
    Ok(web::Json(ToolList {
        data: rows.into_iter().map(ToolView::from).collect(),
        builtin: builtin
            .map(|tool| BuiltinView { name: tool.name(), description: tool.description() })
            .collect(),
    }))
}

/// Define a tool: a request that assistants may have made.
#[utoipa::path(post, path = "/v1/tools", tag = "tools", security(("bearer" = [])), request_body = Definition,
    responses((status = 201, body = ToolView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem)))]
#[post("/v1/tools")]
pub(crate) async fn create(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(definition): Body<Definition>,
) -> Result<HttpResponse, Problem> {
    manage(ctx)?;
    let row = row(&state, ctx, definition, None)?;
    let mut tx = state.db.tenant(ctx.tenant).await?;
    if TenantTool::count(&mut tx, ctx.tenant).await.map_err(DbError::from)? >= MOST {
        let detail = format!("There are {MOST} tools already: delete one first.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    row.insert(&mut tx).await.map_err(taken)?;
    note(&mut tx, ctx, "created", &row).await?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(ToolView::from(row)))
}

/// Put another definition in a tool's place. Headers that are left out stay as they are, as long as name and
/// address do.
#[utoipa::path(put, path = "/v1/tools/{id}", tag = "tools", security(("bearer" = [])),
    params(("id" = ToolId, Path)), request_body = Definition,
    responses((status = 200, body = ToolView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
#[put("/v1/tools/{id}")]
pub(crate) async fn replace(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ToolId>,
    Body(body): Body<Value>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let before = locked(&mut tx, ctx, *id).await?;
    let definition: Definition = serde_json::from_value(body)
        .map_err(|error| Problem::invalid(format!("The body is not as documented: {error}.")))?;
    let row = row(&state, ctx, definition, Some(&before))?;
    row.save(&mut tx).await.map_err(taken)?;
    note(&mut tx, ctx, "changed", &row).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(ToolView::from(row)))
}

/// Delete a tool. Assistants that name it go on without it.
#[utoipa::path(delete, path = "/v1/tools/{id}", tag = "tools", security(("bearer" = [])),
    params(("id" = ToolId, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
#[delete("/v1/tools/{id}")]
pub(crate) async fn remove(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<ToolId>,
) -> Result<HttpResponse, Problem> {
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let tool = locked(&mut tx, ctx, *id).await?;
    tool.delete(&mut tx).await.map_err(DbError::from)?;
    note(&mut tx, ctx, "deleted", &tool).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
