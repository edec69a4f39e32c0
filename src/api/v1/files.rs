//! Documents: their state, text and bytes.

use super::paging::{Page, PageQuery, bad_cursor};
use crate::api::principal::{Principal, Reader};
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::api::stream::HEARTBEAT;
use crate::documents::Deletion;
use crate::store::documents::Document;
use crate::types::{Ctx, DocumentId};
use actix_web::http::header;
use actix_web::http::header::{ContentDisposition, DispositionParam, DispositionType};
use actix_web::{HttpResponse, delete, get, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{try_unfold, unfold};
use serde::Serialize;
use std::time::Instant;
use utoipa::ToSchema;

/// Why a file is not ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileError {
    code: String,
    /// A sentence for people.
    message: String,
}

/// A document.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileView {
    id: DocumentId,
    name: String,
    media_type: String,
    bytes: i64,
    /// queued, processing, ready or failed.
    status: String,
    /// queued, extracting, chunking, embedding, indexing or done.
    stage: String,
    /// Of the whole ingestion, 0 to 1.
    progress: f32,
    pages: Option<i32>,
    chunks: Option<i32>,
    error: Option<FileError>,
    /// What it is filed under; assistants may be limited to some collections.
    collection: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A page's text.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageView {
    file_id: DocumentId,
    name: String,
    page: i32,
    pages: i32,
    text: String,
}

impl From<Document> for FileView {
    fn from(row: Document) -> Self {
        let error = row
            .error_code
            .map(|code| FileError { code, message: row.error_message.unwrap_or_default() });
        Self {
            id: row.id,
            name: row.name,
            media_type: row.media_type,
            bytes: row.bytes,
            status: row.status,
            stage: row.stage,
            progress: row.progress,
            pages: row.pages,
            chunks: row.chunks,
            error,
            collection: row.collection,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn find(state: &State, ctx: Ctx, id: DocumentId) -> Result<Document, Problem> {
    state.catalogue.find(ctx, id).await?.ok_or_else(|| Problem::not_found("file"))
}

/// The tenant's documents, newest first.
#[utoipa::path(get, path = "/v1/files", tag = "files", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = Page<FileView>)))]
#[get("/v1/files")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
    query: web::Query<PageQuery>,
) -> Result<web::Json<Page<FileView>>, Problem> {
    let before =
        query.cursor()?.map(|id| id.parse().map_err(|_not_an_id| bad_cursor())).transpose()?;
    let rows = state.catalogue.list(ctx, before, query.limit() + 1).await?;
    Ok(web::Json(query.page(rows, |row| row.id.to_string(), FileView::from)))
}

/// One document.
#[utoipa::path(get, path = "/v1/files/{id}", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path)),
    responses((status = 200, body = FileView), (status = 404, body = Problem)))]
#[get("/v1/files/{id}")]
pub(crate) async fn get(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<DocumentId>,
) -> Result<web::Json<FileView>, Problem> {
    Ok(web::Json(find(&state, ctx, *id).await?.into()))
}

/// The progress of an ingestion as server-sent events: `progress` with each change, `done` last.
#[utoipa::path(get, path = "/v1/files/{id}/events", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path), ("ticket" = Option<String>, Query, description = "Instead of the bearer")),
    responses((status = 200, content_type = "text/event-stream"), (status = 404, body = Problem)))]
#[get("/v1/files/{id}/events")]
pub(crate) async fn events(
    state: web::Data<State>,
    Reader { ctx, .. }: Reader,
    id: web::Path<DocumentId>,
) -> Result<HttpResponse, Problem> {
    let id = *id;
    let watcher = state.progress.watch(id); // before the first look: no change is missed
    let first = find(&state, ctx, id).await?;
    let state = state.get_ref().clone();
    let stream = unfold((Some(first), watcher, None), move |(next, mut watcher, shown)| {
        let state = state.clone();
        async move {
            let mut shown: Option<DateTime<Utc>> = shown;
            let mut document = next?;
            let quiet_since = Instant::now();
            while shown == Some(document.updated_at) {
                if quiet_since.elapsed() > HEARTBEAT {
                    let bytes = Bytes::from_static(b": hb\n\n");
                    return Some((Ok(bytes), (Some(document), watcher, shown)));
                }
                watcher.changed().await;
                // Gone, or the database is: the stream ends, and the client asks again.
                document = state.catalogue.find(ctx, id).await.ok().flatten()?;
            }
            shown = Some(document.updated_at);
            let done = matches!(document.status.as_str(), "ready" | "failed");
            let event = if done { "done" } else { "progress" };
            let next = (!done).then(|| document.clone());
            let json = serde_json::to_string(&FileView::from(document)).ok()?;
            let bytes = Bytes::from(format!("event: {event}\ndata: {json}\n\n"));
            Some((Ok::<_, actix_web::Error>(bytes), (next, watcher, shown)))
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(stream)))
}

/// The bytes as they were uploaded.
#[utoipa::path(get, path = "/v1/files/{id}/content", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path)),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = Problem)))]
#[get("/v1/files/{id}/content")]
pub(crate) async fn content(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<DocumentId>,
) -> Result<HttpResponse, Problem> {
    let id = *id;
    let document = find(&state, ctx, id).await?;
    let state = state.get_ref().clone();
    let pieces = try_unfold(0, move |seq| {
        let state = state.clone();
        async move {
            let piece = state.catalogue.piece(ctx, id, seq).await.map_err(Problem::from)?;
            Ok::<_, actix_web::Error>(piece.map(|bytes| (Bytes::from(bytes), seq + 1)))
        }
    });
    let disposition = ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::Filename(document.name)],
    };
    Ok(HttpResponse::Ok()
        .content_type(document.media_type)
        .insert_header(disposition)
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .streaming(Box::pin(pieces)))
}

/// The text of a page, counted from 1.
#[utoipa::path(get, path = "/v1/files/{id}/pages/{page}", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path), ("page" = i32, Path)),
    responses((status = 200, body = PageView), (status = 404, body = Problem)))]
#[get("/v1/files/{id}/pages/{page}")]
pub(crate) async fn page(
    state: web::Data<State>,
    Principal(ctx): Principal,
    path: web::Path<(DocumentId, i32)>,
) -> Result<web::Json<PageView>, Problem> {
    let (id, page) = path.into_inner();
    let found = state.catalogue.page(ctx, id, page).await?;
    let found = found.ok_or_else(|| Problem::not_found("page"))?;
    Ok(web::Json(PageView {
        file_id: id,
        name: found.document.name,
        page,
        pages: found.document.pages.unwrap_or(page),
        text: found.text,
    }))
}

/// Delete a document with everything that quotes it. Answers that cited it keep their text.
#[utoipa::path(delete, path = "/v1/files/{id}", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path)),
    responses((status = 204), (status = 403, body = Problem), (status = 404, body = Problem)))]
#[delete("/v1/files/{id}")]
pub(crate) async fn remove(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<DocumentId>,
) -> Result<HttpResponse, Problem> {
    match state.catalogue.delete(ctx, *id).await? {
        Deletion::Done(quoting) => {
            state.chat.forget(&quoting);
            state.progress.nudge(*id);
            Ok(HttpResponse::NoContent().finish())
        }
        Deletion::Forbidden => Err(Problem::new(
            Code::Forbidden,
            "Somebody else uploaded this file: only they, an admin or an owner may delete it.",
        )),
        Deletion::Missing => Err(Problem::not_found("file")),
    }
}
