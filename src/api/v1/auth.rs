//! Log-in by e-mail code, and sessions.

use crate::accounts::Session;
use crate::api::body::Body;
use crate::api::principal::{Principal, tenant_header};
use crate::api::problem::{Code, Problem};
use crate::api::state::State;
use crate::store::tenants::Tenant;
use crate::store::users::User;
use crate::types::{Role, TenantId, UserId};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
pub(crate) struct RequestCode {
    email: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CodeSent {
    /// Seconds.
    expires_in: i32,
    /// Only in `docent dev`.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_code: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct VerifyCode {
    email: String,
    code: String,
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Refresh {
    refresh_token: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    id: UserId,
    email: String,
    name: String,
    role: Role,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TenantView {
    id: TenantId,
    slug: String,
    name: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// Valid once; refreshing gives the next.
    refresh_token: String,
    user: UserView,
    tenant: TenantView,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    user: UserView,
    tenant: TenantView,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let role = user.role();
        Self { id: user.id, email: user.email, name: user.name, role }
    }
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        Self { id: tenant.id, slug: tenant.slug, name: tenant.name }
    }
}

impl From<Session> for SessionView {
    fn from(session: Session) -> Self {
        Self {
            access_token: session.access_token,
            token_type: "Bearer",
            expires_in: session.expires_in,
            refresh_token: session.refresh_token,
            user: session.user.into(),
            tenant: session.tenant.into(),
        }
    }
}

/// The tenant to log in to: named by header; in `dev` the demo tenant is the default.
fn tenant_of(request: &HttpRequest, state: &State) -> Result<String, Problem> {
    tenant_header(request)
        .or_else(|| state.demo.as_ref().map(|(tenant, _)| tenant.clone()))
        .ok_or_else(|| Problem::invalid("Name your tenant in the header X-Tenant-ID (slug or id)."))
}

/// Send a login code. The answer is the same whether the address is known or not.
#[utoipa::path(post, path = "/v1/auth/request-code", tag = "auth", request_body = RequestCode,
    params(("X-Tenant-ID" = Option<String>, Header, description = "Slug or id of the tenant")),
    responses((status = 202, body = CodeSent), (status = 429, body = Problem)))]
#[post("/v1/auth/request-code")]
pub(crate) async fn request_code(
    request: HttpRequest,
    state: web::Data<State>,
    Body(body): Body<RequestCode>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_of(&request, &state)?;
    let sent = state.login.request_code(&tenant, &body.email).await?;
    Ok(HttpResponse::Accepted()
        .json(CodeSent { expires_in: sent.expires_in, dev_code: sent.dev_code }))
}

/// Trade a code for a session.
#[utoipa::path(post, path = "/v1/auth/verify-code", tag = "auth", request_body = VerifyCode,
    params(("X-Tenant-ID" = Option<String>, Header, description = "Slug or id of the tenant")),
    responses((status = 200, body = SessionView), (status = 401, body = Problem)))]
#[post("/v1/auth/verify-code")]
pub(crate) async fn verify_code(
    request: HttpRequest,
    state: web::Data<State>,
    Body(body): Body<VerifyCode>,
) -> Result<web::Json<SessionView>, Problem> {
    let tenant = tenant_of(&request, &state)?;
    let session = state.login.verify_code(&tenant, &body.email, &body.code).await?;
    Ok(web::Json(session.into()))
}

/// Trade a refresh token for the next pair. A token used twice ends the whole login.
#[utoipa::path(post, path = "/v1/auth/refresh", tag = "auth", request_body = Refresh,
    responses((status = 200, body = SessionView), (status = 401, body = Problem)))]
#[post("/v1/auth/refresh")]
pub(crate) async fn refresh(
    state: web::Data<State>,
    Body(body): Body<Refresh>,
) -> Result<web::Json<SessionView>, Problem> {
    Ok(web::Json(state.sessions.refresh(&body.refresh_token).await?.into()))
}

/// End a login.
#[utoipa::path(post, path = "/v1/auth/logout", tag = "auth", request_body = Refresh,
    responses((status = 204)))]
#[post("/v1/auth/logout")]
pub(crate) async fn logout(
    state: web::Data<State>,
    Body(body): Body<Refresh>,
) -> Result<HttpResponse, Problem> {
    state.sessions.end(&body.refresh_token).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who the token is.
#[utoipa::path(get, path = "/v1/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, body = Me), (status = 401, body = Problem)))]
#[get("/v1/me")]
pub(crate) async fn me(
    state: web::Data<State>,
    Principal(ctx): Principal,
) -> Result<web::Json<Me>, Problem> {
    let found = state.sessions.whoami(ctx).await?;
    let (user, tenant) = found
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "This user does not exist any more."))?;
    Ok(web::Json(Me { user: user.into(), tenant: tenant.into() }))
}
