//! Where one stands is said by the reservation itself, and is what the quotas say after it.

use crate::metering_properties::Office;
use crate::support::Database;
use docent::metering::{self, Ask, Bill, Grant, Item, Prices, Source, StepBill};
use docent::store::quotas::Quota;
use docent::store::reservations::Limit;
use docent::types::{Ctx, Meter, NodeId, Role, TurnId, UserId};

/// Plans, each made of the one before it.
const PLANS: [(&str, &str); 7] = [
    ("no limit at all", "DELETE FROM plan_quotas WHERE plan = 'tiny'"),
    (
        "limits of all kinds, in one slice",
        "UPDATE plans SET counter_slices = 1;
         INSERT INTO plan_quotas (plan, scope, period, meter, max_amount, hard) VALUES
           ('tiny', 'tenant', 'month', 'requests', 1000, true), ('tiny', 'user', 'day', 'requests', 3, false),
           ('tiny', 'tenant', 'day', 'tokens', 90000, true), ('tiny', 'user', 'month', 'tokens', 900, false),
           ('tiny', 'user', 'month', 'cost_nano_usd', 900000000, true),
           ('tiny', 'tenant', 'month', 'pages', 5, true), ('tiny', 'tenant', 'total', 'stored_bytes', 9, true)",
    ),
    ("the same in four slices", "UPDATE plans SET counter_slices = 4"),
    (
        "one user without a limit, and one with more",
        "INSERT INTO quota_overrides (tenant_id, scope, scope_id, period, meter, max_amount, hard)
           SELECT tenant_id, 'user', id, 'day', 'requests', NULL, true FROM users WHERE name = 'anna'
           UNION ALL SELECT tenant_id, 'user', id, 'day', 'requests', 500, true FROM users WHERE name = 'ben'",
    ),
    (
        "more of a month",
        "INSERT INTO quota_topups (tenant_id, id, scope, scope_id, period, period_start, meter, amount)
           SELECT tenant_id, gen_random_uuid(), 'tenant', tenant_id, 'month', month_start, 'requests', 7
           FROM tenants, current_periods(tenant_id) WHERE slug = 'acme'",
    ),
    ("fewer slices than there were", "UPDATE plans SET counter_slices = 2"),
    ("another plan", "UPDATE tenants SET plan = 'pro'"),
];

/// What the quotas say that a turn counts against, in an order.
async fn quotas(office: &Office, user: UserId) -> Vec<Limit> {
    let tx = office.db.tenant(office.tenant).await.unwrap();
    let rows = Quota::load(&tx, office.tenant, user).await.unwrap();
    let counts = |row: &Quota| !["pages", "stored_bytes"].contains(&row.meter.as_str());
    sorted(rows.into_iter().filter(counts).filter_map(Quota::limit).collect())
}

fn sorted(mut limits: Vec<Limit>) -> Vec<Limit> {
    limits.sort_by_key(|it| (it.scope.clone(), it.period.clone(), it.meter.clone()));
    limits
}

fn ask(models: &[String]) -> Ask<'_> {
    Ask {
        assistant: None,
        models,
        embedding_model: "none",
        input: 100,
        output: 200,
        least_output: 10,
        embedding: 0,
    }
}

async fn reserve(office: &Office, user: UserId, turn: TurnId, ask: Ask<'_>) -> Grant {
    let ctx = Ctx { tenant: office.tenant, user, role: Role::Member, key: None };
    let tx = office.db.tenant(office.tenant).await.unwrap();
    let grant = metering::reserve(&tx, ctx, turn, NodeId::new(), ask).await.unwrap();
    tx.commit().await.unwrap();
    grant
}

/// One more step.
async fn extend(office: &Office, turn: TurnId, ask: Ask<'_>) {
    let mut tx = office.db.tenant(office.tenant).await.unwrap();
    metering::extend(&mut tx, office.tenant, turn, ask).await.unwrap();
    tx.commit().await.unwrap();
}

async fn settle(office: &Office, user: UserId, turn: TurnId) {
    let items = vec![Item::exact(Meter::Requests, 1), Item::exact(Meter::InputTokens, 70)];
    let bill = Bill {
        tenant: office.tenant,
        user,
        assistant: None,
        source: Source::Turn(turn),
        embedding_model: None,
        prices: Prices::default(),
        first_step: 0,
        steps: vec![StepBill { model: None, items }],
    };
    let tx = office.db.tenant(office.tenant).await.unwrap();
    metering::settle_turn(&tx, turn, &bill).await.unwrap();
    tx.commit().await.unwrap();
}

/// The turns of these tests have no rows of their own.
async fn without_turns(database: &Database) {
    database.run("ALTER TABLE reservations DROP CONSTRAINT reservations_turn").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_says_what_the_quotas_say_after_it() {
    let office = Office::open().await;
    without_turns(&office.database).await;
    let models = ["gpt-4o-mini".to_owned()];
    let mut over = 0;
    for (plan, change) in PLANS {
        office.database.run(change).await;
        // Turns come into slices by their ids.
        for n in 0..8 {
            let (turn, user) = (TurnId::new(), office.people[n % 2]);
            let grant = reserve(&office, user, turn, ask(&models)).await;
            over += i32::from(grant.over_quota);
            let said = sorted(grant.standing);
            assert_eq!(said, quotas(&office, user).await, "{plan}, turn {n}");
            assert_eq!(said.is_empty(), plan == "no limit at all");
            extend(&office, turn, ask(&models)).await;
            if n % 3 > 0 {
                settle(&office, user, turn).await;
            }
        }
    }
    assert!(over > 0, "soft limits were passed");
    office.database.check_books().await;
}
