//! A ledger with sealed rows to export.

use crate::support::Database;

/// The ledger of two tenants, `acme` and `globex`.
pub struct Ledger {
    pub database: Database,
}

impl Ledger {
    /// An empty one.
    pub async fn open() -> Self {
        let database = Database::fresh().await;
        database
            .run(
                "INSERT INTO tenants (tenant_id, slug, name)
                 SELECT gen_random_uuid(), slug, slug FROM unnest(ARRAY['acme', 'globex']) slug",
            )
            .await;
        Self { database }
    }

    /// `n` rows more: of both tenants and several meters, some of them zero or corrections. They have
    /// their numbers, as if the sealer had been there.
    pub async fn grow(&self, n: usize) {
        let rows = format!(
            "CREATE TEMP TABLE fresh ON COMMIT DROP AS
               SELECT tenant_id, gen_random_uuid() AS event_id, i,
                 i + 1 + coalesce((SELECT max(ledger_seq) FROM ledger_seals), 0) AS seq,
                 date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month
               FROM generate_series(0, {n} - 1) i
               JOIN tenants ON slug = CASE WHEN i % 3 = 0 THEN 'globex' ELSE 'acme' END;
             INSERT INTO usage_ledger (tenant_id, event_id, month, kind, turn_id, meter, quantity, provenance,
                 cost_nano_usd, period_start, day_start)
               SELECT tenant_id, event_id, month, CASE WHEN i % 10 = 9 THEN 'adjustment' ELSE 'usage' END,
                 gen_random_uuid(), (ARRAY['requests', 'input_tokens', 'output_tokens', 'pages'])[i % 4 + 1],
                 CASE WHEN i % 10 = 9 THEN -3 WHEN i % 10 = 8 THEN 0 ELSE i * 7 + 1 END, 'exact',
                 CASE WHEN i % 3 > 0 THEN i * 1234567 END, month, month
               FROM fresh;
             INSERT INTO ledger_seals (tenant_id, tenant_seq, month, event_id, ledger_seq, hash, day)
               SELECT tenant_id, seq, month, event_id, seq, '', month FROM fresh"
        );
        self.database.run(&format!("BEGIN; {rows}; COMMIT")).await;
    }

    /// What a tenant is called at a vendor.
    pub async fn name(&self, exporter: &str, tenant: &str, external_id: &str) {
        let named = format!(
            "INSERT INTO export_customers
             SELECT tenant_id, '{exporter}', '{external_id}' FROM tenants WHERE slug = '{tenant}'"
        );
        self.database.run(&named).await;
    }

    /// Sums by customer and meter, as a vendor should have them.
    pub async fn sums(&self, exporter: &str) -> Vec<String> {
        let mut sums = self
            .database
            .texts(&format!(
                "SELECT coalesce(c.external_id, l.tenant) || ' ' || l.meter || ' ' || sum(l.quantity) AS t
                 FROM billing.ledger_v1 l
                 LEFT JOIN export_customers c ON c.tenant_id = l.tenant_id AND c.exporter = '{exporter}'
                 GROUP BY coalesce(c.external_id, l.tenant), l.meter HAVING sum(l.quantity) <> 0"
            ))
            .await;
        sums.sort();
        sums
    }

    /// The id of a row.
    pub async fn event(&self, seq: i64) -> String {
        let sql =
            format!("SELECT event_id::text AS t FROM billing.ledger_v1 WHERE ledger_seq = {seq}");
        self.database.texts(&sql).await.remove(0)
    }

    /// Where a cursor is.
    pub async fn cursor(&self, exporter: &str) -> i64 {
        let sql =
            format!("SELECT ledger_seq AS n FROM export_cursors WHERE exporter = '{exporter}'");
        self.database.number(&sql).await
    }

    /// What is parked: number and reason.
    pub async fn parked(&self, exporter: &str) -> Vec<String> {
        let sql = format!(
            "SELECT ledger_seq || ' ' || error AS t FROM export_parked WHERE exporter = '{exporter}'
             ORDER BY ledger_seq"
        );
        self.database.texts(&sql).await
    }

    /// A minute passes: the lease of a node that died has run out.
    pub async fn a_minute_passes(&self) {
        self.database.run("UPDATE export_cursors SET lease_until = now() - interval '1 s'").await;
    }
}
