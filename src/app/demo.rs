//! What `docent dev` has after its first start: a tenant, a person, a document.

use super::error::AppError;
use crate::accounts::{self, AccountError, Directory, NewTenant};
use crate::documents::{Progress, Uploads};
use crate::jobs::Queue;
use crate::store::users::User;
use crate::store::{Db, nodes};
use crate::types::{Ctx, NodeId, Role};

/// Slug of the demo tenant.
pub const DEMO_TENANT: &str = "demo";
/// Address of the demo user.
pub const DEMO_EMAIL: &str = "demo@example.com";

const SAMPLE_NAME: &str = "welcome-to-docent.md";
const SAMPLE: &str = include_str!("welcome-to-docent.md");

/// Makes what is missing; a sample that was deleted stays deleted.
pub(super) async fn seed(db: &Db) -> Result<(), AppError> {
    let directory = Directory::new(db.clone());
    match directory.find(DEMO_TENANT).await {
        Ok(_) => return Ok(()),
        Err(AccountError::NoTenant(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let tenant = NewTenant {
        slug: DEMO_TENANT.into(),
        name: "Demo".into(),
        plan: "pro".into(),
        allow_signup: true,
        time_zone: "UTC".into(),
    };
    let tenant = accounts::create_tenant(db, tenant).await?;
    let user: User = accounts::add_user(db, &tenant, DEMO_EMAIL, "Demo", Role::Owner).await?;
    let queue = Queue::new(db.clone(), NodeId::new());
    let uploads = Uploads::new(db.clone(), queue, Progress::default());
    let ctx = Ctx::new(tenant.id, user.id, Role::Owner);
    if let Err(error) = uploads.take(ctx, SAMPLE_NAME, SAMPLE.as_bytes(), None).await {
        tracing::warn!(%error, "The sample document could not be stored");
    }
    Ok(())
}

/// In `dev` no other node lives: what was running belongs to a server that died, and need not wait
/// for its lease.
pub(super) async fn take_over(db: &Db) -> Result<(), AppError> {
    let mut tx = db.system().await?;
    nodes::expire_all(&mut tx).await?;
    crate::store::jobs::expire_all_leases(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
