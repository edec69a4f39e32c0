//! Uploading a file.

use super::files::FileView;
use crate::api::principal::Principal;
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::documents::{MAX_BYTES, UploadError, Uploaded};
use crate::types::collection_name;
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header;
use actix_web::{HttpResponse, post, web};
use futures_util::StreamExt;
use std::time::Duration;
use utoipa::ToSchema;

/// A file must have arrived by then.
const DEADLINE: Duration = Duration::from_secs(300);
/// A form may have this many other fields, which are skipped.
const MAX_FIELDS: usize = 20;

/// For the API description only.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the multipart form")]
pub(crate) struct UploadForm {
    /// PDF, Markdown, plain text or HTML; at most 25 MiB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// What it is filed under: 1 to 80 characters, or nothing.
    collection: Option<String>,
}

/// What a form brought.
#[derive(Default)]
struct Form {
    file: Option<(String, Vec<u8>)>,
    collection: Option<String>,
}

/// Upload a document. It is ready when its status says so; the same bytes are one document.
#[utoipa::path(post, path = "/v1/files", tag = "files", security(("bearer" = [])),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 202, body = FileView), (status = 200, body = FileView, description = "Known already"),
        (status = 413, body = Problem), (status = 415, body = Problem)))]
#[post("/v1/files")]
pub(crate) async fn upload(
    state: web::Data<State>,
    Principal(ctx): Principal,
    form: Multipart,
) -> Result<HttpResponse, Problem> {
    let form = tokio::time::timeout(DEADLINE, read(form)).await.map_err(|_late| {
        Problem::new(Code::RequestTimeout, "The file did not arrive within five minutes.")
    })??;
    let (name, bytes) = form
        .file
        .ok_or_else(|| Problem::invalid("Send the file as the multipart field `file`."))?;
    let collection = form.collection.as_deref();
    let (mut response, document) = match state.uploads.take(ctx, &name, &bytes, collection).await? {
        Uploaded::New(document) => (HttpResponse::Accepted(), document),
        Uploaded::Known(document) => (HttpResponse::Ok(), document),
    };
    Ok(response
        .insert_header((header::LOCATION, format!("/v1/files/{}", document.id)))
        .json(FileView::from(document)))
}

/// Reads the first file, and the name of its collection before or after it.
async fn read(mut form: Multipart) -> Result<Form, Problem> {
    let mut read = Form::default();
    for _ in 0..=MAX_FIELDS {
        let Some(field) = form.next().await else { break };
        let mut field = field.map_err(|error| broken(&error))?;
        match field.name() {
            Some("file") if read.file.is_none() => {
                let name = field.content_disposition().and_then(|d| d.get_filename());
                let name = name.unwrap_or("untitled").to_owned();
                read.file = Some((name, read_field(&mut field, MAX_BYTES).await?));
            }
            Some("collection") => {
                let name = read_field(&mut field, 1024).await?;
                let name = String::from_utf8_lossy(&name);
                let given = Some(name.trim()).filter(|name| !name.is_empty());
                read.collection = given.map(collection_name).transpose()?;
            }
            _ => {}
        }
    }
    Ok(read)
}

async fn read_field(field: &mut Field, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = field.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| broken(&error))?);
        if bytes.len() > most {
            return Err(UploadError::TooLarge.into());
        }
    }
    Ok(bytes)
}

fn broken(error: &MultipartError) -> Problem {
    Problem::invalid(format!("The multipart form could not be read: {error}."))
}
