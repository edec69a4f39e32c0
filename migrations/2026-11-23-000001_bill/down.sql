-- Back to counters by meter and prices by token. What only the newer ledger can say (corrections, cached
-- and reasoning tokens apart, stored bytes, numbers and hashes) is folded into what the older one has, or lost.

DROP VIEW billing.differences_v1, billing.periods_v1, billing.usage_v1, billing.quotas_v1, billing.ledger_v1;
DROP FUNCTION billing.differences;
DROP TRIGGER limits_changed ON plans;
ALTER TABLE usage_ledger NO FORCE ROW LEVEL SECURITY;
ALTER TABLE reservations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_ledger RENAME TO usage_ledger_after;
ALTER TABLE reservations RENAME TO reservations_after;
ALTER TABLE plan_quotas RENAME TO plan_quotas_after;
ALTER TABLE prices RENAME TO prices_after;
ALTER INDEX usage_ledger_pkey RENAME TO usage_ledger_after_pkey;
ALTER INDEX turn_reservations_pkey RENAME TO reservations_after_pkey;
ALTER INDEX plan_quotas_pkey RENAME TO plan_quotas_after_pkey;
ALTER INDEX prices_pkey RENAME TO prices_after_pkey;
DO $$
DECLARE p record;
BEGIN
  FOR p IN SELECT c.relname FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
      WHERE i.inhparent = 'usage_ledger_after'::regclass LOOP
    EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', p.relname);
  END LOOP;
END $$;

CREATE TABLE plan_quotas (
  plan text NOT NULL REFERENCES plans (name) ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  meter text NOT NULL CHECK (meter IN ('requests', 'input_tokens', 'output_tokens', 'embedding_tokens', 'pages')),
  max_amount bigint NOT NULL CHECK (max_amount >= 0),
  PRIMARY KEY (plan, scope, meter)
);

CREATE TABLE prices (
  model text NOT NULL,
  valid_from timestamptz NOT NULL,
  input_nano_usd bigint NOT NULL CHECK (input_nano_usd >= 0),
  output_nano_usd bigint NOT NULL CHECK (output_nano_usd >= 0),
  PRIMARY KEY (model, valid_from)
);

CREATE TABLE quotas (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  scope_id uuid NOT NULL,
  meter text NOT NULL CHECK (meter IN ('requests', 'input_tokens', 'output_tokens', 'embedding_tokens', 'pages')),
  period_start timestamptz NOT NULL,
  period_end timestamptz NOT NULL,
  max_amount bigint,                             -- NULL: counted, not limited
  used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
  reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
  PRIMARY KEY (tenant_id, period_start, scope, scope_id, meter)
);

CREATE TABLE reservations (
  tenant_id uuid NOT NULL,
  turn_id uuid NOT NULL,
  meter text NOT NULL,
  user_id uuid NOT NULL,
  period_start timestamptz NOT NULL,
  amount bigint NOT NULL CHECK (amount >= 0),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'settled')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, turn_id, meter),
  FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX ON reservations (tenant_id, user_id) WHERE state = 'open';

CREATE TABLE usage_ledger (
  tenant_id uuid NOT NULL REFERENCES tenants,
  event_id uuid NOT NULL,
  seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  user_id uuid NOT NULL,
  turn_id uuid,
  document_id uuid,
  step smallint NOT NULL DEFAULT 0,
  meter text NOT NULL CHECK (meter IN ('requests', 'input_tokens', 'output_tokens', 'embedding_tokens', 'pages')),
  quantity bigint NOT NULL CHECK (quantity >= 0),
  provenance text NOT NULL CHECK (provenance IN ('exact', 'estimated')),
  model text,
  price_valid_from timestamptz,
  cost_nano_usd bigint,
  period_start timestamptz NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX ON usage_ledger (tenant_id, occurred_at);
CREATE INDEX ON usage_ledger (tenant_id, turn_id);


INSERT INTO plan_quotas (plan, scope, meter, max_amount)
  SELECT plan, scope, m, max_amount FROM plan_quotas_after
  CROSS JOIN LATERAL unnest(CASE meter WHEN 'tokens' THEN ARRAY['input_tokens', 'output_tokens']
    WHEN 'requests' THEN ARRAY['requests'] WHEN 'pages' THEN ARRAY['pages'] END) m
  WHERE period = 'month';
INSERT INTO prices (model, valid_from, input_nano_usd, output_nano_usd)
  SELECT model, valid_from, input / 1000000, output / 1000000 FROM prices_after;
INSERT INTO usage_ledger (tenant_id, event_id, user_id, turn_id, document_id, step, meter, quantity, provenance,
    model, price_valid_from, cost_nano_usd, period_start, occurred_at)
  SELECT l.tenant_id, min(l.event_id::text)::uuid, l.user_id, l.turn_id, l.document_id, l.step, m.meter,
         sum(l.quantity), max(l.provenance), l.model, min(p.valid_from), sum(l.cost_nano_usd), l.period_start,
         min(l.occurred_at)
  FROM usage_ledger_after l
  CROSS JOIN LATERAL (SELECT CASE l.meter WHEN 'cached_input_tokens' THEN 'input_tokens'
    WHEN 'reasoning_tokens' THEN 'output_tokens' ELSE l.meter END) m (meter)
  LEFT JOIN prices_after p ON p.version = l.price_version
  WHERE l.kind = 'usage' AND l.meter NOT IN ('stored_bytes', 'correction')
  GROUP BY l.tenant_id, l.user_id, l.turn_id, l.document_id, l.step, m.meter, l.model, l.period_start;
INSERT INTO reservations (tenant_id, turn_id, meter, user_id, period_start, amount)
  SELECT tenant_id, turn_id, m.meter, user_id, month_start, m.amount FROM reservations_after
  CROSS JOIN LATERAL (VALUES ('requests', requests), ('input_tokens', tokens), ('output_tokens', 0)) m (meter, amount)
  WHERE state = 'open';
INSERT INTO quotas (tenant_id, scope, scope_id, meter, period_start, period_end, max_amount, used, reserved)
  SELECT s.tenant_id, s.scope, s.scope_id, s.meter, s.period_start, s.period_start + interval '1 month', q.max_amount,
         sum(s.used), sum(s.held)
  FROM (
    SELECT l.tenant_id, k.scope, k.scope_id, l.meter, l.period_start, l.quantity AS used, 0 AS held
    FROM usage_ledger l CROSS JOIN LATERAL (VALUES ('tenant', l.tenant_id), ('user', l.user_id)) k (scope, scope_id)
    UNION ALL
    SELECT r.tenant_id, k.scope, k.scope_id, r.meter, r.period_start, 0, r.amount
    FROM reservations r CROSS JOIN LATERAL (VALUES ('tenant', r.tenant_id), ('user', r.user_id)) k (scope, scope_id)) s
  JOIN tenants t ON t.tenant_id = s.tenant_id
  LEFT JOIN plan_quotas q ON q.plan = t.plan AND q.scope = s.scope AND q.meter = s.meter
  GROUP BY s.tenant_id, s.scope, s.scope_id, s.meter, s.period_start, q.max_amount;

SET CONSTRAINTS ALL IMMEDIATE;  -- tables with checks that are still to be made cannot be altered
DROP FUNCTION close_months, settle_turn, bill_now, append_usage, reserve_turn, broken_limit, share_out, share_of,
  lock_counters, open_counters, counter_keys, limits_version, quota_now, quota_limits, current_periods, price_version, price_of,
  cost_of, make_ledger_month, month_of;
DROP TABLE usage_ledger_after, reservations_after, plan_quotas_after, prices_after, tenant_prices, quota_overrides,
  quota_topups, quota_counters, ledger_batches, ledger_seals, ledger_heads, ledger_state, usage_daily, quota_alerts,
  audit_log;
DROP FUNCTION refuse_closed_periods, limits_changed, billing_now;
ALTER TABLE plans DROP COLUMN counter_slices, DROP COLUMN version;
ALTER TABLE tenants DROP COLUMN time_zone, DROP COLUMN quota_version;
DROP POLICY ledger ON tenants;
REVOKE SELECT ON tenants, plans FROM docent_ledger;
REVOKE SELECT ON plans FROM docent_billing;
REVOKE USAGE ON SCHEMA public FROM docent_ledger;
REVOKE USAGE ON SCHEMA billing FROM docent_ledger, docent_app;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['quotas', 'reservations', 'usage_ledger'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
    EXECUTE format('CREATE POLICY billing ON %I FOR SELECT TO docent_billing USING (true)', t);
  END LOOP;
END $$;
GRANT SELECT ON plan_quotas, prices TO docent_app, docent_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON quotas, reservations TO docent_app;
GRANT SELECT, INSERT ON usage_ledger TO docent_app;
GRANT SELECT ON quotas, reservations, usage_ledger TO docent_billing;

CREATE VIEW billing.ledger_v1 WITH (security_invoker = true) AS
  SELECT l.seq AS ledger_seq, t.slug AS tenant, l.tenant_id, l.user_id, l.event_id, l.turn_id, l.document_id,
         l.step, l.meter, l.quantity, l.provenance, l.model, l.cost_nano_usd, l.period_start, l.occurred_at
  FROM usage_ledger l JOIN tenants t USING (tenant_id);
COMMENT ON VIEW billing.ledger_v1 IS 'Every metered quantity, once. cost_nano_usd is NULL where the model has no price.';

CREATE VIEW billing.quotas_v1 WITH (security_invoker = true) AS
  SELECT t.slug AS tenant, q.tenant_id, q.scope, q.scope_id, q.meter, q.period_start, q.period_end,
         q.max_amount, q.used, q.reserved
  FROM quotas q JOIN tenants t USING (tenant_id);
COMMENT ON VIEW billing.quotas_v1 IS 'Limit, used and reserved per scope, meter and period; used is the sum of ledger_v1.quantity.';

CREATE VIEW billing.usage_v1 WITH (security_invoker = true) AS
  SELECT t.slug AS tenant, l.tenant_id, l.user_id, l.meter, l.model,
         date_trunc('day', l.occurred_at AT TIME ZONE 'UTC')::date AS day,
         sum(l.quantity)::bigint AS quantity, sum(l.cost_nano_usd)::bigint AS cost_nano_usd, count(*) AS events
  FROM usage_ledger l JOIN tenants t USING (tenant_id)
  GROUP BY 1, 2, 3, 4, 5, 6;
COMMENT ON VIEW billing.usage_v1 IS 'ledger_v1 by tenant, user, meter, model and UTC day.';

-- Empty when the books are right: each row is a counter that differs from what it is a projection of.
CREATE VIEW billing.differences_v1 WITH (security_invoker = true) AS
  WITH scoped AS (
    SELECT q.*,
      (SELECT coalesce(sum(l.quantity), 0) FROM usage_ledger l
        WHERE l.tenant_id = q.tenant_id AND l.meter = q.meter AND l.period_start = q.period_start
          AND (q.scope = 'tenant' OR l.user_id = q.scope_id)) AS ledger,
      (SELECT coalesce(sum(r.amount), 0) FROM reservations r
        WHERE r.tenant_id = q.tenant_id AND r.meter = q.meter AND r.period_start = q.period_start AND r.state = 'open'
          AND (q.scope = 'tenant' OR r.user_id = q.scope_id)) AS open
    FROM quotas q)
  SELECT tenant_id, scope, scope_id, meter, period_start, used, ledger::bigint, reserved, open::bigint AS open_reservations
  FROM scoped WHERE used <> ledger OR reserved <> open;

GRANT SELECT ON ALL TABLES IN SCHEMA billing TO docent_billing;
