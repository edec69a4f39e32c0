//! What owners and admins do to assistants. Every change and its record are one transaction, and one that
//! was made to an older revision than the newest is refused.

use super::assistants::DraftView;
use crate::api::body::Body;
use crate::api::observe;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::llm::router::RouteError;
use crate::store::assistant_drafts::{self as drafts, Draft};
use crate::store::assistant_versions::{self as versions, NewVersion};
use crate::store::operator::Audit;
use crate::store::{DbError, Tx};
use crate::types::{AssistantId, Ctx, Persona, slug};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, patch, post, web};
use diesel::result::{DatabaseErrorKind, Error};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// For the API description: any of these fields, as they shall be.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(crate) struct AssistantBody {
    /// The name in an address: a-z, 0-9 and -. It is changed at once, without publishing.
    slug: Option<String>,
    #[serde(flatten)]
    persona: Persona,
}

#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct PublishBody {
    /// What is new; at most 500 characters.
    #[serde(default)]
    note: String,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct RollbackBody {
    /// The number of an older version.
    version: i32,
    /// At most 500 characters.
    #[serde(default)]
    note: String,
}

/// Only owners and admins go on.
pub(super) fn manage(ctx: Ctx) -> Result<(), Problem> {
    match ctx.manages_assistants() {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "Owners and admins edit assistants.")),
    }
}

/// An assistant that is being changed: locked until the change is done.
struct Change {
    ctx: Ctx,
    tx: Tx,
    assistant: Draft,
}

impl Change {
    async fn begin(
        state: &State,
        ctx: Ctx,
        id: AssistantId,
        request: &HttpRequest,
    ) -> Result<Self, Problem> {
        let mut tx = state.db.tenant(ctx.tenant).await?;
        let found = Draft::lock(&mut tx, ctx.tenant, id).await.map_err(DbError::from)?;
        let assistant = found.ok_or_else(|| Problem::not_found("assistant"))?;
        manage(ctx)?;
        is_newest(request, assistant.revision)?;
        Ok(Self { ctx, tx, assistant })
    }

    async fn note(&mut self, action: &str, detail: Value) -> Result<(), Problem> {
        note(&mut self.tx, self.ctx, self.assistant.id, action, detail).await
    }

    /// Publishes a persona as the next version.
    async fn publish(
        &mut self,
        state: &State,
        body: &Persona,
        words: &str,
    ) -> Result<i32, Problem> {
        let note: String = words.chars().filter(|c| !c.is_control()).collect();
        if note.chars().count() > 500 {
            return Err(Problem::invalid("`note` has more than 500 characters.").about("note"));
        }
        let (tenant, id) = (self.ctx.tenant, self.assistant.id);
        if let Some(model) = &body.model {
            let found = state.models.resolve_in(&mut self.tx, tenant, Some(model)).await;
            found.map_err(no_model)?;
        }
        let newest = versions::list(&mut self.tx, tenant, id, None, 1).await;
        let number = newest.map_err(DbError::from)?.first().map_or(1, |version| version.number + 1);
        let version = NewVersion {
            tenant_id: tenant,
            assistant_id: id,
            number,
            body,
            user_id: Some(self.ctx.user),
            note: note.trim(),
        };
        self.assistant.publish(&mut self.tx, &version).await.map_err(DbError::from)?;
        Ok(number)
    }

    async fn done(mut self) -> Result<HttpResponse, Problem> {
        let (tenant, id) = (self.ctx.tenant, self.assistant.id);
        let changed = Draft::find(&mut self.tx, tenant, id).await.map_err(DbError::from)?;
        self.tx.commit().await?;
        let changed = changed.ok_or_else(|| Problem::not_found("assistant"))?;
        Ok(DraftView::from(changed).respond(&mut HttpResponse::Ok()))
    }
}

/// Who asked would be refused.
fn no_model(error: RouteError) -> Problem {
    match error {
        RouteError::Db(error) => error.into(),
        error => Problem::new(Code::ModelNotAllowed, format!("{error}.")).about("model"),
    }
}

/// Without `If-Match` any revision will do.
fn is_newest(request: &HttpRequest, revision: i32) -> Result<(), Problem> {
    let Some(wanted) = request.headers().get(header::IF_MATCH) else { return Ok(()) };
    let newest = format!("\"{revision}\"");
    let tags = wanted.to_str().unwrap_or_default().split(',').map(str::trim);
    if tags.into_iter().any(|tag| tag == "*" || tag == newest) {
        return Ok(());
    }
    let detail = "Somebody changed this assistant in the meantime: read it again.";
    let mut problem = Problem::new(Code::Stale, detail);
    problem.more.insert("revision".into(), revision.into());
    Err(problem)
}

async fn note(
    tx: &mut Tx,
    ctx: Ctx,
    id: AssistantId,
    action: &str,
    mut detail: Value,
) -> Result<(), Problem> {
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("assistant_id".into(), id.to_string().into());
    }
    let audit = Audit {
        tenant_id: ctx.tenant,
        id: Uuid::now_v7(),
        actor: format!("user {}", ctx.user),
        action: format!("assistant-{action}"),
        detail,
        request_id: Some(observe::request_id()),
    };
    audit.insert(tx).await.map_err(DbError::from)?;
    Ok(())
}

/// The persona with the given fields in place of its own; and which of them are new.
fn edited(
    persona: &Persona,
    fields: &Map<String, Value>,
) -> Result<(Persona, Vec<String>), Problem> {
    let misread = |name: &str, error: serde_json::Error| {
        Problem::invalid(format!("`{name}` is not as documented: {error}.")).about(name)
    };
    let whole = serde_json::to_value(persona).map_err(|error| misread("draft", error))?;
    let (mut whole, mut new, mut edited) = (whole, Vec::new(), persona.clone());
    for (name, value) in fields {
        let Some(old) = whole.get_mut(name) else { continue }; // not a field: others skip those, too
        if old != value {
            *old = value.clone();
            new.push(name.clone());
            edited = serde_json::from_value(whole.clone()).map_err(|error| misread(name, error))?;
        }
    }
    Ok((edited.checked()?, new))
}

fn slug_of(fields: &Map<String, Value>) -> Result<Option<String>, Problem> {
    let given = fields.get("slug");
    Ok(given.map(|value| slug(value.as_str().unwrap_or_default())).transpose()?)
}

fn taken(error: Error, slug: &str) -> Problem {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
            let detail =
                format!("There is an assistant `{slug}` already, perhaps an archived one.");
            Problem::new(Code::Conflict, detail).about("slug")
        }
        error => DbError::from(error).into(),
    }
}

/// Make an assistant. It is a draft until it is published.
#[utoipa::path(post, path = "/v1/assistants", tag = "assistants", security(("bearer" = [])),
    request_body = AssistantBody,
    responses((status = 201, body = DraftView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem)))]
#[post("/v1/assistants")]
pub(crate) async fn create(
    state: web::Data<State>,
    Principal(ctx): Principal,
    Body(fields): Body<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    manage(ctx)?;
    let slug = slug_of(&fields)?.unwrap_or_default();
    let slug = crate::types::slug(&slug)?;
    let (persona, _) = edited(&Persona::default(), &fields)?;
    let id = AssistantId::new();
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let made = drafts::create(&mut tx, ctx.tenant, id, &slug, &persona).await;
    made.map_err(|error| taken(error, &slug))?;
    note(&mut tx, ctx, id, "created", json!({"slug": slug})).await?;
    let found = Draft::find(&mut tx, ctx.tenant, id).await.map_err(DbError::from)?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Problem::not_found("assistant"))?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/v1/assistants/{id}")));
    Ok(DraftView::from(found).respond(&mut response))
}

/// Change an assistant's draft. Fields that are left out stay as they are.
#[utoipa::path(patch, path = "/v1/assistants/{id}", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), ("If-Match" = Option<String>, Header)), request_body = AssistantBody,
    responses((status = 200, body = DraftView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
#[patch("/v1/assistants/{id}")]
pub(crate) async fn edit(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
    Body(fields): Body<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, ctx, *id, &request).await?;
    let (draft, mut new) = edited(&change.assistant.draft, &fields)?;
    let slug = slug_of(&fields)?.unwrap_or_else(|| change.assistant.slug.clone());
    if slug != change.assistant.slug {
        new.push("slug".into());
    }
    if !new.is_empty() {
        (change.assistant.draft, change.assistant.slug) = (draft, slug.clone());
        let saved = change.assistant.save(&mut change.tx, ctx.tenant).await;
        saved.map_err(|error| taken(error, &slug))?;
        change.note("edited", json!({"fields": new})).await?;
    }
    change.done().await
}

/// Publish the draft as a new version: from the next question on. What is published already stays as it is.
#[utoipa::path(post, path = "/v1/assistants/{id}/publish", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), ("If-Match" = Option<String>, Header)), request_body = PublishBody,
    responses((status = 200, body = DraftView), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem)))]
#[post("/v1/assistants/{id}/publish")]
pub(crate) async fn publish(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
    Body(body): Body<PublishBody>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, ctx, *id, &request).await?;
    if change.assistant.changed || change.assistant.archived_at.is_some() {
        let draft = change.assistant.draft.clone();
        let version = change.publish(&state, &draft, &body.note).await?;
        change.note("published", json!({"version": version})).await?;
    }
    change.done().await
}

/// Publish an older version once more, as a new one. The draft follows, unless it has changes of its own.
#[utoipa::path(post, path = "/v1/assistants/{id}/rollback", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), ("If-Match" = Option<String>, Header)), request_body = RollbackBody,
    responses((status = 200, body = DraftView), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem)))]
#[post("/v1/assistants/{id}/rollback")]
pub(crate) async fn roll_back(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
    Body(body): Body<RollbackBody>,
) -> Result<HttpResponse, Problem> {
    let mut change = Change::begin(&state, ctx, *id, &request).await?;
    let old = versions::body(&mut change.tx, ctx.tenant, *id, body.version).await;
    let old = old.map_err(DbError::from)?.ok_or_else(|| Problem::not_found("version"))?;
    let version = change.publish(&state, &old, &body.note).await?;
    if !change.assistant.changed {
        change.assistant.draft = old;
        change.assistant.save(&mut change.tx, ctx.tenant).await.map_err(DbError::from)?;
    }
    change.note("rolled-back", json!({"to": body.version, "version": version})).await?;
    change.done().await
}

/// Delete an assistant; one that was ever asked is archived instead: its conversations go on, new ones do
/// not begin with it, and publishing brings it back.
#[utoipa::path(delete, path = "/v1/assistants/{id}", tag = "assistants", security(("bearer" = [])),
    params(("id" = AssistantId, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 412, body = Problem)))]
#[delete("/v1/assistants/{id}")]
pub(crate) async fn remove(
    request: HttpRequest,
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<AssistantId>,
) -> Result<HttpResponse, Problem> {
    // In the order in which everybody locks them.
    let mut tx = state.db.tenant(ctx.tenant).await?;
    let published = drafts::lock_published(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    let found = Draft::lock(&mut tx, ctx.tenant, *id).await.map_err(DbError::from)?;
    let assistant = found.ok_or_else(|| Problem::not_found("assistant"))?;
    manage(ctx)?;
    is_newest(&request, assistant.revision)?;
    if assistant.version.is_some() && assistant.archived_at.is_none() && published < 2 {
        let detail = "This is the last assistant that can be asked: publish another one first.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let used = assistant.is_used(&mut tx, ctx.tenant).await.map_err(DbError::from)?;
    let action = if used { "archived" } else { "deleted" };
    match (used, assistant.archived_at) {
        (true, Some(_)) => return Ok(HttpResponse::NoContent().finish()),
        (true, None) => assistant.archive(&mut tx, ctx.tenant).await.map_err(DbError::from)?,
        (false, _) => assistant.delete(&mut tx, ctx.tenant).await.map_err(DbError::from)?,
    }
    note(&mut tx, ctx, *id, action, json!({"slug": assistant.slug})).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
