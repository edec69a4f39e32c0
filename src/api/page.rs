//! The web page, embedded in the program, under a strict content security policy.

use super::problem::Problem;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/static");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self'; manifest-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'";

/// The page.
#[get("/")]
pub(super) async fn index(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, "index.html")
}

/// What the page is made of.
#[get("/static/{file:.*}")]
pub(super) async fn asset(
    request: HttpRequest,
    file: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    serve(&request, &file)
}

/// Browsers ask for it unasked.
#[get("/favicon.ico")]
pub(super) async fn favicon(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&request, "favicon.svg")
}

fn serve(request: &HttpRequest, name: &str) -> Result<HttpResponse, Problem> {
    let file = FILES.get_file(name).ok_or_else(|| Problem::not_found("page"))?;
    let digest = Sha256::digest(file.contents());
    let tag = format!("\"{:x}\"", u64::from_be_bytes(*digest.first_chunk().unwrap_or(&[0; 8])));
    let known = request.headers().get(header::IF_NONE_MATCH).map(|value| value.as_bytes());
    if known == Some(tag.as_bytes()) {
        return Ok(HttpResponse::NotModified().finish());
    }
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache")) // asks again, gets 304
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(file.contents()))
}
