//! What a plan allows: so much a minute, so much a month; and what of it ends up on the bill.

mod bills;
mod calendar;
mod concurrency;
mod headers;
mod operator;
mod pages;
mod prices;
mod quotas;
mod rates;
mod standing;
mod turns;

use crate::support::{Database, World, WorldOptions};

/// A plan made for one test: requests per minute of a tenant and of a user, and monthly limits by
/// scope and meter.
struct Plan {
    tenant_rate: u32,
    user_rate: u32,
    monthly: Vec<(&'static str, &'static str, i64)>,
}

impl Plan {
    /// No rate that a test could reach.
    fn monthly(monthly: &[(&'static str, &'static str, i64)]) -> Self {
        Self { tenant_rate: 10_000, user_rate: 10_000, monthly: monthly.to_vec() }
    }

    /// No monthly limits.
    fn rates(tenant_rate: u32, user_rate: u32) -> Self {
        Self { tenant_rate, user_rate, monthly: Vec::new() }
    }

    /// A world whose tenants are on it.
    async fn world(self) -> World {
        self.world_with(WorldOptions { plan: "tiny", ..WorldOptions::default() }).await
    }

    /// The same with other options, which have the plan.
    async fn world_with(self, options: WorldOptions) -> World {
        let world = World::with(options).await;
        let Self { tenant_rate, user_rate, monthly } = self;
        world
            .database
            .run(&format!(
                "INSERT INTO plans
                 VALUES ('tiny', {tenant_rate}, {user_rate}, 10000000, 10000000, 1000, 1000)"
            ))
            .await;
        for (scope, meter, limit) in monthly {
            let row = format!("('tiny', '{scope}', 'month', '{meter}', {limit})");
            world.database.run(&format!("INSERT INTO plan_quotas VALUES {row}")).await;
        }
        world
    }
}

/// The ledger as `meter quantity provenance`, in order.
async fn ledger(database: &Database) -> Vec<String> {
    let sql = "SELECT meter || ' ' || quantity || ' ' || provenance AS t FROM usage_ledger
               WHERE meter <> 'embedding_tokens' ORDER BY occurred_at";
    database.texts(sql).await
}

/// What open turns hold, over all scopes and meters.
async fn reserved(database: &Database) -> i64 {
    database.number("SELECT coalesce(sum(reserved), 0)::bigint AS n FROM billing.quotas_v1").await
}
