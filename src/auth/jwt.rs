//! Access tokens: JWT signed with Ed25519, valid for fifteen minutes, one algorithm and no other.

use super::keys::Keys;
use crate::types::{Ctx, Role, TenantId, UserId};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

const ISSUER: &str = "docent";

/// Why a token was not taken. Deliberately one answer for every reason.
#[derive(Debug, Error)]
pub enum JwtError {
    #[error("the access token is not valid (any more): log in or refresh")]
    Invalid,
    #[error("the signing key cannot be used: {0}")]
    Key(String),
}

/// What an access token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub tid: TenantId,
    /// The login this token belongs to.
    pub sid: Uuid,
    pub role: Role,
    pub iat: u64,
    pub exp: u64,
}

impl Claims {
    /// Who is asking.
    #[must_use]
    pub fn ctx(&self) -> Ctx {
        Ctx::new(self.tid, self.sub, self.role)
    }
}

/// Signs and checks access tokens.
#[derive(Clone)]
pub struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl AccessTokens {
    /// How long a token is valid, in seconds.
    pub const TTL_SECONDS: u64 = 15 * 60;

    /// Makes the key pair.
    ///
    /// # Errors
    /// When the key cannot be encoded, which no secret causes.
    pub fn new(keys: &Keys) -> Result<Self, JwtError> {
        let key = SigningKey::from_bytes(&keys.signing_seed);
        let der = key.to_pkcs8_der().map_err(|error| JwtError::Key(error.to_string()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 5;
        Ok(Self {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
            validation,
        })
    }

    /// A token for `ctx`, as of now.
    ///
    /// # Errors
    /// When signing fails, which it does not.
    pub fn issue(&self, ctx: Ctx, session: Uuid) -> Result<String, JwtError> {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            sub: ctx.user,
            tid: ctx.tenant,
            sid: session,
            role: ctx.role,
            iat: now,
            exp: now + Self::TTL_SECONDS,
        };
        encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding)
            .map_err(|error| JwtError::Key(error.to_string()))
    }

    /// The claims of a valid token.
    ///
    /// # Errors
    /// `Invalid`, whatever is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Claims, JwtError> {
        decode::<Claims>(token, &self.decoding, &self.validation)
            .map(|data| data.claims)
            .map_err(|_why| JwtError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Secret;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::new(&Keys::derive(&Secret::new(secret))).unwrap()
    }

    fn ctx() -> Ctx {
        Ctx::new(TenantId::new(), UserId::new(), Role::Admin)
    }

    #[test]
    fn signs_and_verifies() {
        let tokens = tokens("one secret");
        let ctx = ctx();
        let claims = tokens.verify(&tokens.issue(ctx, Uuid::now_v7()).unwrap()).unwrap();
        assert_eq!((claims.tid, claims.sub, claims.role), (ctx.tenant, ctx.user, Role::Admin));
    }

    #[test]
    fn refuses_other_keys_algorithms_and_changed_claims() {
        let ours = tokens("one secret");
        let token = ours.issue(ctx(), Uuid::now_v7()).unwrap();
        assert!(tokens("another").verify(&token).is_err());
        let (head_and_body, signature) = token.rsplit_once('.').unwrap();
        let body = head_and_body.split_once('.').unwrap().1;
        let none = format!("{}.{body}.", B64.encode(r#"{"alg":"none","typ":"JWT"}"#));
        let hs = format!("{}.{body}.{signature}", B64.encode(r#"{"alg":"HS256","typ":"JWT"}"#));
        let mut json: serde_json::Value =
            serde_json::from_slice(&B64.decode(body).unwrap()).unwrap();
        json["exp"] = serde_json::json!(1e300);
        let head = head_and_body.split_once('.').unwrap().0;
        let long = format!("{head}.{}.{signature}", B64.encode(json.to_string()));
        for bad in [none, hs, long, String::new(), "a.b.c".into(), "…".into()] {
            assert!(matches!(ours.verify(&bad), Err(JwtError::Invalid)), "{bad}");
        }
    }

    #[test]
    fn refuses_what_expired_and_what_lacks_claims() {
        let ours = tokens("one secret");
        let now = jsonwebtoken::get_current_timestamp();
        let good = serde_json::json!({"iss": "docent", "aud": "docent", "sub": UserId::new(),
            "tid": TenantId::new(), "sid": Uuid::now_v7(), "role": "member", "iat": now, "exp": now + 60});
        let sign = |claims: &serde_json::Value| {
            encode(&Header::new(Algorithm::EdDSA), claims, &ours.encoding).unwrap()
        };
        assert!(ours.verify(&sign(&good)).is_ok());
        for claim in ["iss", "aud", "sub", "tid", "sid", "exp", "role"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(claim);
            assert!(ours.verify(&sign(&bad)).is_err(), "{claim} is required");
        }
        let mut expired = good;
        expired["exp"] = serde_json::json!(now - 6);
        assert!(ours.verify(&sign(&expired)).is_err(), "leeway is five seconds");
    }
}
