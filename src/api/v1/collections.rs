//! Collections: what documents are filed under.

use super::files::FileView;
use crate::api::body::Body;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::documents::Filing;
use crate::types::{DocumentId, collection_name};
use actix_web::{get, patch, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionView {
    name: String,
    files: i64,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CollectionList {
    data: Vec<CollectionView>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct FileUnder {
    /// 1 to 80 characters; null takes it out of its collection.
    #[serde(deserialize_with = "Option::deserialize")]
    collection: Option<String>,
}

/// The collections that have documents.
#[utoipa::path(get, path = "/v1/collections", tag = "files", security(("bearer" = [])),
    responses((status = 200, body = CollectionList), (status = 401, body = Problem)))]
#[get("/v1/collections")]
pub(crate) async fn list(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<CollectionList>, Problem> {
    let found = state.catalogue.collections(ctx).await?;
    let data = found.into_iter().map(|(name, files)| CollectionView { name, files }).collect();
    Ok(web::Json(CollectionList { data }))
}

/// Put a document into a collection, or into none.
#[utoipa::path(patch, path = "/v1/files/{id}", tag = "files", security(("bearer" = [])),
    params(("id" = DocumentId, Path)), request_body = FileUnder,
    responses((status = 200, body = FileView), (status = 400, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem)))]
#[patch("/v1/files/{id}")]
pub(crate) async fn file_under(
    state: web::Data<State>,
    Principal(ctx): Principal,
    id: web::Path<DocumentId>,
    Body(body): Body<FileUnder>,
) -> Result<web::Json<FileView>, Problem> {
    let name = body.collection.as_deref().map(collection_name).transpose()?;
    match state.catalogue.file_under(ctx, *id, name.as_deref()).await? {
        Filing::Done(document) => Ok(web::Json(FileView::from(*document))),
        Filing::Forbidden => Err(Problem::new(
            Code::Forbidden,
            "Somebody else uploaded this file: only they, an admin or an owner may file it.",
        )),
        Filing::Missing => Err(Problem::not_found("file")),
    }
}
