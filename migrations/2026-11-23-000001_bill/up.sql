-- The bill: versioned prices, plans with quotas by day and month, counters that a hot tenant does not
-- queue for, a ledger by month whose rows are numbered and chained, and a summary of it by day.
--
--   docent_ledger   numbers, chains and sums the ledger across tenants; reads no text
--
-- Who may write what: a tenant's own transactions (docent_app) append to usage_ledger and say so in
-- ledger_batches; the sealer (docent_ledger) takes the batches in turn, gives each row the next number
-- and a hash over the row and the hash before it (ledger_seals), and adds it up (usage_daily). Neither
-- can change a row that is there.

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'docent_ledger') THEN
    BEGIN
      CREATE ROLE docent_ledger NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;
      EXECUTE format('GRANT docent_ledger TO CURRENT_USER');
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration
    END;
  END IF;
  IF NOT pg_has_role(current_user, 'docent_ledger', 'MEMBER') THEN
    RAISE EXCEPTION 'the role docent_ledger exists in this cluster already; as a superuser: GRANT docent_ledger TO %',
      current_user;
  END IF;
END $$;
GRANT USAGE ON SCHEMA public TO docent_ledger;

-- The clock of the bill. A session may be put at another time (docent.now): that is how tests begin a
-- new month; production never sets it.
CREATE FUNCTION billing_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT coalesce(NULLIF(current_setting('docent.now', true), '')::timestamptz, now()) $$;

------------------------------------------------------------------------------------------ plans

ALTER TABLE tenants
  ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC',
  -- Moved by whatever changes what the tenant may use: counters made before that are shared out anew.
  ADD COLUMN quota_version bigint NOT NULL DEFAULT 1;
ALTER TABLE plans
  -- How many rows a tenant's counter is spread over. Turns that begin at once wait for each other only
  -- within one of them.
  ADD COLUMN counter_slices smallint NOT NULL DEFAULT 1 CHECK (counter_slices BETWEEN 1 AND 64),
  ADD COLUMN version bigint NOT NULL DEFAULT 1;
UPDATE plans SET counter_slices = CASE name WHEN 'enterprise' THEN 16 WHEN 'pro' THEN 4 ELSE 1 END;

-- What may be limited: requests; tokens (everything the chat model read and wrote); cost; pages
-- ingested; bytes stored (a level, not a flow: its period is `total`).
ALTER TABLE plan_quotas RENAME TO plan_quotas_before;
ALTER INDEX plan_quotas_pkey RENAME TO plan_quotas_before_pkey;
CREATE TABLE plan_quotas (
  plan text NOT NULL REFERENCES plans (name) ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  period text NOT NULL CHECK (period IN ('day', 'month', 'total')),
  meter text NOT NULL CHECK (meter IN ('requests', 'tokens', 'cost_nano_usd', 'pages', 'stored_bytes')),
  max_amount bigint NOT NULL CHECK (max_amount >= 0),
  -- A soft limit admits what is over it, says so, and warns.
  hard boolean NOT NULL DEFAULT true,
  PRIMARY KEY (plan, scope, period, meter),
  CONSTRAINT stored_bytes_is_a_level CHECK ((meter = 'stored_bytes') = (period = 'total')),
  CONSTRAINT documents_are_the_tenants CHECK (scope = 'tenant' OR meter NOT IN ('pages', 'stored_bytes'))
);
INSERT INTO plan_quotas (plan, scope, period, meter, max_amount)
  SELECT plan, scope, 'month', CASE WHEN meter LIKE '%put_tokens' THEN 'tokens' ELSE meter END, sum(max_amount)
  FROM plan_quotas_before
  WHERE meter IN ('requests', 'input_tokens', 'output_tokens') OR (meter = 'pages' AND scope = 'tenant')
  GROUP BY 1, 2, 4;
INSERT INTO plan_quotas (plan, scope, period, meter, max_amount)
  SELECT plan, 'tenant', 'total', 'stored_bytes', bytes
  FROM (VALUES ('free', 1073741824), ('pro', 53687091200)) AS s (plan, bytes) JOIN plans ON name = plan;
DROP TABLE plan_quotas_before;

-- A limit of a tenant's, or of one user's, own instead of the plan's; NULL is no limit.
CREATE TABLE quota_overrides (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  scope_id uuid NOT NULL,
  period text NOT NULL CHECK (period IN ('day', 'month', 'total')),
  meter text NOT NULL CHECK (meter IN ('requests', 'tokens', 'cost_nano_usd', 'pages', 'stored_bytes')),
  max_amount bigint CHECK (max_amount >= 0),
  hard boolean NOT NULL DEFAULT true,
  PRIMARY KEY (tenant_id, scope, scope_id, period, meter),
  CHECK ((meter = 'stored_bytes') = (period = 'total')),
  CHECK (scope = 'tenant' OR meter NOT IN ('pages', 'stored_bytes')),
  CHECK (scope = 'user' OR scope_id = tenant_id)
);

-- More of a meter in one period, on top of the limit.
CREATE TABLE quota_topups (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  scope_id uuid NOT NULL,
  period text NOT NULL CHECK (period IN ('day', 'month')),
  period_start timestamptz NOT NULL,
  meter text NOT NULL CHECK (meter IN ('requests', 'tokens', 'cost_nano_usd', 'pages')),
  amount bigint NOT NULL CHECK (amount > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX ON quota_topups (tenant_id, scope_id, period_start);

CREATE FUNCTION limits_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'plans' THEN
    NEW.version := OLD.version + 1;
    RETURN NEW;
  ELSIF TG_TABLE_NAME = 'plan_quotas' THEN
    UPDATE plans SET version = version WHERE name = coalesce(NEW.plan, OLD.plan);
  ELSE
    UPDATE tenants SET quota_version = quota_version + 1
      WHERE tenant_id = coalesce(NEW.tenant_id, OLD.tenant_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER limits_changed BEFORE UPDATE ON plans FOR EACH ROW EXECUTE FUNCTION limits_changed();
CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE ON plan_quotas
  FOR EACH ROW EXECUTE FUNCTION limits_changed();
CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE ON quota_overrides
  FOR EACH ROW EXECUTE FUNCTION limits_changed();
CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE ON quota_topups
  FOR EACH ROW EXECUTE FUNCTION limits_changed();

----------------------------------------------------------------------------------------- prices
-- Nano-dollars (10^-9 USD) for a million units. The newest row of a model that is not in the future is
-- in force, a tenant's own before the list's. A version is never changed: a new price is a new row.
-- A model without a row has no price: its cost is NULL ("unpriced"), never 0.

ALTER TABLE prices RENAME TO prices_before;
ALTER INDEX prices_pkey RENAME TO prices_before_pkey;
CREATE TABLE prices (
  version text PRIMARY KEY,                     -- model@date, as every bill names it
  model text NOT NULL,
  valid_from timestamptz NOT NULL,
  input bigint NOT NULL CHECK (input >= 0),     -- for an embedding model: what it embeds
  cached_input bigint CHECK (cached_input >= 0),  -- NULL: as input
  output bigint NOT NULL DEFAULT 0 CHECK (output >= 0),
  reasoning bigint CHECK (reasoning >= 0),      -- NULL: as output
  request bigint CHECK (request >= 0),          -- NULL: requests have no price of their own
  UNIQUE (model, valid_from)
);
INSERT INTO prices (version, model, valid_from, input, output)
  SELECT model || '@' || to_char(valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD'), model, valid_from,
         input_nano_usd * 1000000, output_nano_usd * 1000000
  FROM prices_before ON CONFLICT DO NOTHING;
DROP TABLE prices_before;
CREATE TABLE tenant_prices (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  version text NOT NULL,                        -- model@date/own
  model text NOT NULL,
  valid_from timestamptz NOT NULL,
  input bigint NOT NULL CHECK (input >= 0),
  cached_input bigint CHECK (cached_input >= 0),
  output bigint NOT NULL DEFAULT 0 CHECK (output >= 0),
  reasoning bigint CHECK (reasoning >= 0),
  request bigint CHECK (request >= 0),
  PRIMARY KEY (tenant_id, version),
  UNIQUE (tenant_id, model, valid_from)
);

-- The price of a model for a tenant; every column NULL when it has none.
CREATE FUNCTION price_of(p_tenant uuid, p_model text) RETURNS prices LANGUAGE sql STABLE AS $$
  SELECT version, model, valid_from, input, cached_input, output, reasoning, request FROM (
    SELECT version, model, valid_from, input, cached_input, output, reasoning, request, 0 AS rank
      FROM tenant_prices WHERE tenant_id = p_tenant AND model = p_model AND valid_from <= billing_now()
    UNION ALL
    SELECT version, model, valid_from, input, cached_input, output, reasoning, request, 1
      FROM prices WHERE model = p_model AND valid_from <= billing_now()
  ) p ORDER BY rank, valid_from DESC LIMIT 1
$$;

-- A price version by its name, for what was quoted with it.
CREATE FUNCTION price_version(p_tenant uuid, p_version text) RETURNS prices LANGUAGE sql STABLE AS $$
  SELECT version, model, valid_from, input, cached_input, output, reasoning, request
    FROM tenant_prices WHERE tenant_id = p_tenant AND version = p_version
  UNION ALL
  SELECT * FROM prices WHERE version = p_version LIMIT 1
$$;

-- What a quantity costs: rounded up to a whole nano-dollar, row by row. At 2^60 (a thousand
-- million dollars) it stays. Unknown times anything is unknown.
CREATE FUNCTION cost_of(quantity bigint, per_million bigint) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT least(ceil(quantity::numeric * per_million / 1000000), 1152921504606846976)::bigint
$$;

---------------------------------------------------------------------------------------- counters
-- What a scope has used and holds in a period, in one row; of a tenant in `counter_slices` rows, each
-- with a share of what is left of the limit (NULL: no limit). For every row used + reserved <= share,
-- and the shares add up to the limit, so nothing is ever over it, whoever reserves where.
-- A projection: used is the sum of the ledger's rows, reserved of the open reservations, moved in the
-- same transactions.

CREATE TABLE quota_counters (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  scope_id uuid NOT NULL,
  period text NOT NULL CHECK (period IN ('day', 'month', 'total')),
  period_start timestamptz NOT NULL,
  slice smallint NOT NULL DEFAULT 0,
  period_end timestamptz NOT NULL,
  closed_at timestamptz,                        -- of a tenant's month: nothing is added any more
  limits text NOT NULL DEFAULT '',              -- the plan's and the tenant's version the shares are of
  requests_share bigint, requests_used bigint NOT NULL DEFAULT 0, requests_reserved bigint NOT NULL DEFAULT 0,
  tokens_share bigint, tokens_used bigint NOT NULL DEFAULT 0, tokens_reserved bigint NOT NULL DEFAULT 0,
  cost_share bigint, cost_used bigint NOT NULL DEFAULT 0, cost_reserved bigint NOT NULL DEFAULT 0,
  pages_used bigint NOT NULL DEFAULT 0,
  stored_bytes_used bigint NOT NULL DEFAULT 0,
  CHECK (requests_reserved >= 0 AND tokens_reserved >= 0 AND cost_reserved >= 0),
  PRIMARY KEY (tenant_id, scope, scope_id, period, period_start, slice)
) WITH (fillfactor = 40);                       -- room on the page for the next version of a row

-- What a running turn holds. Whoever closes it settles, once. The node that runs the turn is its owner;
-- what is open after its time is settled by the sweeper.
CREATE TABLE turn_reservations (
  tenant_id uuid NOT NULL,
  turn_id uuid NOT NULL,
  user_id uuid NOT NULL,
  assistant_id uuid,
  month_start timestamptz NOT NULL,
  day_start timestamptz NOT NULL,
  slice smallint NOT NULL,
  requests bigint NOT NULL DEFAULT 1,
  tokens bigint NOT NULL CHECK (tokens >= 0),
  cost_nano_usd bigint NOT NULL CHECK (cost_nano_usd >= 0),
  price_version text,                           -- what the turn was quoted; NULL: unpriced
  embedding_price_version text,
  over_quota boolean NOT NULL DEFAULT false,    -- admitted over a soft limit
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'settled')),
  owner uuid NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, turn_id),
  CONSTRAINT reservations_turn
    FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) WITH (fillfactor = 80);
CREATE INDEX ON turn_reservations (tenant_id, user_id) WHERE state = 'open';
CREATE INDEX ON turn_reservations (expires_at) WHERE state = 'open';

------------------------------------------------------------------------------------------ ledger
-- Append-only. event_id is derived from what was consumed (turn or document, step, meter), so a second
-- settlement of the same thing is a conflict; `month` is derived from the same id (when the turn or
-- the document began, UTC), so both would lie in the same partition. `period_start` and `day_start`
-- say in which periods of the tenant's calendar it counts.
-- It outlives the conversation and the document it was for: no foreign keys to either.

ALTER TABLE usage_ledger RENAME TO usage_ledger_before;
ALTER INDEX usage_ledger_pkey RENAME TO usage_ledger_before_pkey;
CREATE TABLE usage_ledger (
  tenant_id uuid NOT NULL REFERENCES tenants,
  event_id uuid NOT NULL,
  month date NOT NULL,
  kind text NOT NULL DEFAULT 'usage' CHECK (kind IN ('usage', 'adjustment', 'credit', 'refund')),
  user_id uuid,                                 -- NULL: a correction of the tenant's bill
  assistant_id uuid,
  turn_id uuid,
  document_id uuid,
  step smallint NOT NULL DEFAULT 0,
  meter text NOT NULL CHECK (meter IN ('requests', 'input_tokens', 'cached_input_tokens', 'output_tokens',
    'reasoning_tokens', 'embedding_tokens', 'pages', 'stored_bytes', 'correction')),
  quantity bigint NOT NULL,
  provenance text NOT NULL CHECK (provenance IN ('exact', 'estimated')),
  model text,
  price_version text,                           -- NULL: unpriced
  cost_nano_usd bigint,
  period_start timestamptz NOT NULL,
  day_start timestamptz NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (quantity >= 0 OR kind <> 'usage' OR meter = 'stored_bytes'),
  PRIMARY KEY (tenant_id, event_id, month)
) PARTITION BY RANGE (month);
CREATE INDEX ON usage_ledger (tenant_id, turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX ON usage_ledger (tenant_id, document_id) WHERE document_id IS NOT NULL;
CREATE INDEX ON usage_ledger (tenant_id, period_start);
-- Months that were not made ahead; the sealer makes them, so this stays empty.
CREATE TABLE usage_ledger_other PARTITION OF usage_ledger DEFAULT;

-- One row per append, until the sealer took it.
CREATE TABLE ledger_batches (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL,
  month date NOT NULL,
  event_ids uuid[] NOT NULL
);

-- The row's number among all tenants' (in the order in which rows became visible: who reads on from a
-- number misses nothing) and among the tenant's, and hash = SHA-256(hash before || row), as
-- docs/ledger.md spells the row. `day` is the row of usage_daily it was added to.
CREATE TABLE ledger_seals (
  tenant_id uuid NOT NULL,
  tenant_seq bigint NOT NULL,
  month date NOT NULL,
  event_id uuid NOT NULL,
  ledger_seq bigint NOT NULL,
  day date NOT NULL,
  hash bytea NOT NULL,
  sealed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, tenant_seq, month),
  UNIQUE (tenant_id, event_id, month)
) PARTITION BY RANGE (month);
CREATE INDEX ON ledger_seals (ledger_seq);
CREATE TABLE ledger_seals_other PARTITION OF ledger_seals DEFAULT;

-- Where a tenant's chain ends, and where what is kept of it begins.
CREATE TABLE ledger_heads (
  tenant_id uuid PRIMARY KEY REFERENCES tenants,
  tenant_seq bigint NOT NULL,
  hash bytea NOT NULL,
  base_seq bigint NOT NULL DEFAULT 0,
  base_hash bytea NOT NULL,
  base_stored_bytes bigint NOT NULL DEFAULT 0   -- the level that rows no longer kept add up to
);

-- One row: the last number given, and until when nothing can come any more. `mark_*` are the next
-- watermark: it holds as soon as every transaction that ran at that moment has ended. Months that are
-- no longer kept leave two traces: from when on every day is whole, and the last number that may be
-- missing. `verified_*`: how far the chain was checked, and when.
CREATE TABLE ledger_state (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  ledger_seq bigint NOT NULL DEFAULT 0,
  complete_through timestamptz NOT NULL DEFAULT '-infinity',
  mark_at timestamptz,
  mark_xid xid8,
  kept_from timestamptz NOT NULL DEFAULT '-infinity',
  base_seq bigint NOT NULL DEFAULT 0,
  verified_seq bigint NOT NULL DEFAULT 0,
  verified_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO ledger_state DEFAULT VALUES;

-- What is sealed, by day of the tenant's calendar; '' and the nil UUID stand for "none" in the key.
CREATE TABLE usage_daily (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  day date NOT NULL,
  user_id uuid NOT NULL,
  assistant_id uuid NOT NULL,
  model text NOT NULL,
  meter text NOT NULL,
  quantity bigint NOT NULL,
  unpriced bigint NOT NULL,                     -- the part of quantity that has no price
  cost_nano_usd bigint NOT NULL,
  events bigint NOT NULL,
  PRIMARY KEY (tenant_id, day, user_id, assistant_id, model, meter)
);

-- Warnings that were given: each once.
CREATE TABLE quota_alerts (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  scope text NOT NULL,
  scope_id uuid NOT NULL,
  period text NOT NULL,
  period_start timestamptz NOT NULL,
  meter text NOT NULL,
  percent smallint NOT NULL CHECK (percent IN (80, 100)),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, scope, scope_id, period, period_start, meter, percent)
);

-- Who changed something of a tenant from outside, and why. Append-only.
CREATE TABLE audit_log (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  actor text NOT NULL,
  action text NOT NULL,
  detail jsonb NOT NULL,
  request_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

-- The UTC month of a UUIDv7.
CREATE FUNCTION month_of(id uuid) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT date_trunc('month', to_timestamp(
    ('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 1000.0) AT TIME ZONE 'UTC')::date
$$;

-- A month's partitions, walled like their parents. Needs the owner.
CREATE FUNCTION make_ledger_month(p_month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  parent text;
  part text;
BEGIN
  IF to_regclass(format('public.usage_ledger_%s', to_char(p_month, 'YYYY_MM'))) IS NOT NULL THEN
    RETURN false;
  END IF;
  FOREACH parent IN ARRAY ARRAY['usage_ledger', 'ledger_seals'] LOOP
    part := format('%s_%s', parent, to_char(p_month, 'YYYY_MM'));
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', part, parent,
      p_month, (p_month + interval '1 month')::date);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app USING (tenant_id = (SELECT current_tenant()))
      WITH CHECK (tenant_id = (SELECT current_tenant()))', part);
    EXECUTE format('CREATE POLICY billing ON %I FOR SELECT TO docent_billing USING (true)', part);
    EXECUTE format('CREATE POLICY ledger ON %I TO docent_ledger USING (true) WITH CHECK (true)', part);
  END LOOP;
  RETURN true;
END $$;
SELECT make_ledger_month((date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month')::date)
  FROM generate_series(0, 2) n;

---------------------------------------------------------------------------- what was there before

-- The owner, too, is under row-level security.
ALTER TABLE usage_ledger_before NO FORCE ROW LEVEL SECURITY;
ALTER TABLE reservations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE turns NO FORCE ROW LEVEL SECURITY;
ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY;
ALTER TABLE documents NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE m date;
BEGIN
  FOR m IN SELECT DISTINCT date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date FROM usage_ledger_before LOOP
    PERFORM make_ledger_month(m);
  END LOOP;
END $$;
INSERT INTO usage_ledger (tenant_id, event_id, month, user_id, assistant_id, turn_id, document_id, step, meter,
    quantity, provenance, model, price_version, cost_nano_usd, period_start, day_start, occurred_at)
  SELECT l.tenant_id, l.event_id,
         coalesce(month_of(coalesce(l.turn_id, l.document_id)), date_trunc('month', l.occurred_at AT TIME ZONE 'UTC')::date),
         l.user_id, c.assistant_id,
         l.turn_id, l.document_id, l.step, l.meter, l.quantity, l.provenance, l.model,
         l.model || '@' || to_char(l.price_valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD'), l.cost_nano_usd,
         l.period_start, date_trunc('day', l.occurred_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', l.occurred_at
  FROM usage_ledger_before l
  LEFT JOIN turns t ON t.tenant_id = l.tenant_id AND t.id = l.turn_id
  LEFT JOIN conversations c ON c.tenant_id = t.tenant_id AND c.id = t.conversation_id;
-- What is stored today was not metered when it came.
INSERT INTO usage_ledger (tenant_id, event_id, month, user_id, document_id, step, meter, quantity, provenance,
    period_start, day_start)
  SELECT tenant_id, md5('stored' || id::text)::uuid, month_of(id), user_id, id, 0, 'stored_bytes', bytes, 'exact',
         date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',
         date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
  FROM documents WHERE status = 'ready';
INSERT INTO ledger_batches (tenant_id, month, event_ids)
  SELECT tenant_id, month, array_agg(event_id ORDER BY occurred_at, event_id) FROM usage_ledger
  GROUP BY tenant_id, month, coalesce(turn_id, document_id, event_id) ORDER BY min(occurred_at);

INSERT INTO turn_reservations (tenant_id, turn_id, user_id, month_start, day_start, slice, requests, tokens,
    cost_nano_usd, price_version, owner, expires_at)
  SELECT r.tenant_id, r.turn_id, r.user_id, r.period_start,
         date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', 0,
         coalesce(sum(r.amount) FILTER (WHERE r.meter = 'requests'), 0),
         coalesce(sum(r.amount) FILTER (WHERE r.meter <> 'requests'), 0), 0,
         (SELECT version FROM prices p WHERE p.model = t.model ORDER BY valid_from DESC LIMIT 1), t.owner, now()
  FROM reservations r JOIN turns t ON t.tenant_id = r.tenant_id AND t.id = r.turn_id
  WHERE r.state = 'open' GROUP BY r.tenant_id, r.turn_id, r.user_id, r.period_start, t.model, t.owner;

WITH sums AS (
    SELECT tenant_id, user_id, period_start, day_start,
           sum(quantity) FILTER (WHERE meter = 'requests') AS requests,
           sum(quantity) FILTER (WHERE meter IN ('input_tokens', 'output_tokens')) AS tokens,
           sum(cost_nano_usd) AS cost, sum(quantity) FILTER (WHERE meter = 'pages') AS pages,
           sum(quantity) FILTER (WHERE meter = 'stored_bytes') AS stored,
           0::numeric AS r_requests, 0::numeric AS r_tokens
    FROM usage_ledger GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT tenant_id, user_id, month_start, day_start, 0, 0, 0, 0, 0, sum(requests), sum(tokens)
    FROM turn_reservations GROUP BY 1, 2, 3, 4),
  scoped AS (
    SELECT k.*, s.requests, s.tokens, s.cost, s.pages, s.stored, s.r_requests, s.r_tokens, s.tenant_id
    FROM sums s CROSS JOIN LATERAL (VALUES
      ('tenant', s.tenant_id, 'month', s.period_start, s.period_start + interval '1 month'),
      ('user', s.user_id, 'month', s.period_start, s.period_start + interval '1 month'),
      ('tenant', s.tenant_id, 'day', s.day_start, s.day_start + interval '1 day'),
      ('user', s.user_id, 'day', s.day_start, s.day_start + interval '1 day'),
      ('tenant', s.tenant_id, 'total', 'epoch'::timestamptz, 'infinity'::timestamptz))
      k (scope, scope_id, period, start, period_end))
INSERT INTO quota_counters (tenant_id, scope, scope_id, period, period_start, period_end, requests_used, tokens_used,
    cost_used, pages_used, stored_bytes_used, requests_reserved, tokens_reserved)
  SELECT tenant_id, scope, scope_id, period, start, max(period_end),
         coalesce(sum(requests) FILTER (WHERE period <> 'total'), 0), coalesce(sum(tokens) FILTER (WHERE period <> 'total'), 0),
         coalesce(sum(cost) FILTER (WHERE period <> 'total'), 0), coalesce(sum(pages) FILTER (WHERE period <> 'total'), 0),
         coalesce(sum(stored) FILTER (WHERE period = 'total'), 0),
         coalesce(sum(r_requests) FILTER (WHERE period <> 'total'), 0), coalesce(sum(r_tokens) FILTER (WHERE period <> 'total'), 0)
  FROM scoped GROUP BY 1, 2, 3, 4, 5;
SET CONSTRAINTS ALL IMMEDIATE;  -- tables with checks that are still to be made cannot be altered
ALTER TABLE turns FORCE ROW LEVEL SECURITY;
ALTER TABLE conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE documents FORCE ROW LEVEL SECURITY;
DROP VIEW billing.differences_v1, billing.usage_v1, billing.quotas_v1, billing.ledger_v1;
DROP TABLE usage_ledger_before, reservations, quotas;
ALTER TABLE turn_reservations RENAME TO reservations;

--------------------------------------------------------------------------------- reserve, settle, bill
-- Each is one statement for the server: one round trip, and its locks are held for no longer than the
-- rest of the transaction. Locks are always taken in one order: a tenant's counters before a user's,
-- then by period and slice.

-- The month and the day that the tenant is in, in its time zone. A period that has begun goes on to
-- its end even when the zone is changed; the next one begins where it ends.
CREATE FUNCTION current_periods(p_tenant uuid, OUT month_start timestamptz, OUT month_end timestamptz,
    OUT day_start timestamptz, OUT day_end timestamptz) LANGUAGE plpgsql STABLE AS $$
DECLARE
  at timestamptz := billing_now();
  zone text := (SELECT time_zone FROM tenants WHERE tenant_id = p_tenant);
  last record;
  kind text;
  first timestamptz;
  until timestamptz;
BEGIN
  FOREACH kind IN ARRAY ARRAY['month', 'day'] LOOP
    SELECT period_start, period_end INTO last FROM quota_counters
      WHERE tenant_id = p_tenant AND scope = 'tenant' AND scope_id = p_tenant AND period = kind
        AND slice = 0 AND period_start <= at
      ORDER BY period_start DESC LIMIT 1;
    IF FOUND AND last.period_end > at THEN
      first := last.period_start;
      until := last.period_end;
    ELSE
      first := greatest(date_trunc(kind, at AT TIME ZONE zone) AT TIME ZONE zone, last.period_end);
      until := (date_trunc(kind, at AT TIME ZONE zone) + ('1 ' || kind)::interval) AT TIME ZONE zone;
    END IF;
    IF kind = 'month' THEN
      month_start := first;
      month_end := until;
    ELSE
      day_start := first;
      day_end := until;
    END IF;
  END LOOP;
END $$;

-- The limits that hold for a scope in a period: its own or the plan's, and what was added to them.
CREATE FUNCTION quota_limits(p_tenant uuid, p_scope text, p_scope_id uuid, p_period text, p_start timestamptz)
  RETURNS TABLE (meter text, max_amount bigint, hard boolean) LANGUAGE sql STABLE AS $$
  SELECT m.meter,
         CASE WHEN o.meter IS NULL THEN p.max_amount ELSE o.max_amount END + coalesce(
           (SELECT sum(amount)::bigint FROM quota_topups t
             WHERE t.tenant_id = p_tenant AND t.scope_id = p_scope_id AND t.scope = p_scope AND t.period = p_period
               AND t.period_start = p_start AND t.meter = m.meter), 0),
         coalesce(o.hard, p.hard, true)
  FROM (VALUES ('requests'), ('tokens'), ('cost_nano_usd'), ('pages'), ('stored_bytes')) m (meter)
  LEFT JOIN plan_quotas p ON p.plan = (SELECT plan FROM tenants WHERE tenant_id = p_tenant)
    AND p.scope = p_scope AND p.period = p_period AND p.meter = m.meter
  LEFT JOIN quota_overrides o ON o.tenant_id = p_tenant AND o.scope = p_scope AND o.scope_id = p_scope_id
    AND o.period = p_period AND o.meter = m.meter
  WHERE p.meter IS NOT NULL OR o.meter IS NOT NULL
$$;

-- What the shares of counters are of.
CREATE FUNCTION limits_version(p_tenant uuid, OUT version text, OUT slices int) LANGUAGE sql STABLE AS $$
  SELECT p.name || ' ' || p.version || ' ' || t.quota_version, p.counter_slices::int
  FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.tenant_id = p_tenant
$$;

-- The keys of a tenant's and a user's counters in these periods. Counters are always found by their
-- whole key: a tenant has as many of them as it has had users and days.
CREATE FUNCTION counter_keys(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz)
  RETURNS TABLE (scope text, scope_id uuid, period text, period_start timestamptz) LANGUAGE sql IMMUTABLE AS $$
  VALUES ('tenant', p_tenant, 'day', p_day), ('tenant', p_tenant, 'month', p_month),
         ('user', p_user, 'day', p_day), ('user', p_user, 'month', p_month)
$$;

-- Makes the rows of the current periods, where they are missing. It waits for nobody who waits for it:
-- rows are made before any is locked, always in the same order.
CREATE FUNCTION open_counters(p_tenant uuid, p_user uuid, p_slices int, p record) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM counter_keys(p_tenant, p_user, p.month_start, p.day_start) k
       JOIN quota_counters c ON c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
         AND c.period = k.period AND c.period_start = k.period_start
       WHERE c.slice < p_slices)
     < 2 * p_slices + 2 * num_nonnulls(p_user) THEN
    INSERT INTO quota_counters (tenant_id, scope, scope_id, period, period_start, slice, period_end)
      SELECT p_tenant, s.scope, s.scope_id, k.period, k.start, n, k.until
      FROM (VALUES ('tenant', p_tenant, p_slices), ('user', p_user, 1)) s (scope, scope_id, slices),
           (VALUES ('day', p.day_start, p.day_end), ('month', p.month_start, p.month_end),
                   ('total', 'epoch', 'infinity')) k (period, start, until),
           generate_series(0, CASE WHEN k.period = 'total' THEN 0 ELSE s.slices - 1 END) n
      WHERE s.scope_id IS NOT NULL AND (k.period <> 'total' OR s.scope = 'tenant')
      ORDER BY s.scope, k.period, n
      ON CONFLICT DO NOTHING;
  END IF;
END $$;

-- Locks a tenant's and a user's rows of these periods: one slice of the tenant's, or all (NULL).
CREATE FUNCTION lock_counters(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz, p_slice int)
  RETURNS SETOF quota_counters LANGUAGE sql AS $$
  SELECT c.* FROM counter_keys(p_tenant, p_user, p_month, p_day) k
  JOIN quota_counters c ON c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
    AND c.period = k.period AND c.period_start = k.period_start
  WHERE c.scope = 'user' OR p_slice IS NULL OR c.slice = p_slice
  ORDER BY c.scope, c.scope_id, c.period, c.period_start, c.slice FOR UPDATE OF c
$$;

-- A slice's share: what it used and holds, and its part of what is left.
CREATE FUNCTION share_of(p_max bigint, taken numeric, own bigint, p_slice int, slices int) RETURNS bigint
  LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_max IS NULL THEN NULL WHEN p_slice >= slices THEN own
    ELSE own + (div(greatest(p_max - taken, 0), slices)
              + CASE WHEN p_slice = 0 THEN mod(greatest(p_max - taken, 0), slices) ELSE 0 END)::bigint END
$$;

-- Shares what is left of the limits out anew among rows that are all locked, `p_*` being taken already.
CREATE FUNCTION share_out(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz, p_slices int,
    p_version text, p_requests bigint, p_tokens bigint, p_cost bigint) RETURNS void LANGUAGE sql AS $$
  WITH rows AS MATERIALIZED (
    SELECT c.* FROM counter_keys(p_tenant, p_user, p_month, p_day) k
    JOIN quota_counters c ON c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
      AND c.period = k.period AND c.period_start = k.period_start),
  sums AS (
    SELECT scope, scope_id, period, period_start,
      sum(requests_used + requests_reserved) + p_requests AS requests,
      sum(tokens_used + tokens_reserved) + p_tokens AS tokens,
      sum(cost_used + cost_reserved) + p_cost AS cost
    FROM rows GROUP BY 1, 2, 3, 4),
  limited AS (
    SELECT s.*,
      (SELECT jsonb_object_agg(l.meter, l.max_amount)
        FROM quota_limits(p_tenant, s.scope, s.scope_id, s.period, s.period_start) l) AS most
    FROM sums s)
  UPDATE quota_counters q SET limits = p_version,
    requests_share = share_of((l.most ->> 'requests')::bigint, l.requests, q.requests_used + q.requests_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END),
    tokens_share = share_of((l.most ->> 'tokens')::bigint, l.tokens, q.tokens_used + q.tokens_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END),
    cost_share = share_of((l.most ->> 'cost_nano_usd')::bigint, l.cost, q.cost_used + q.cost_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END)
  FROM limited l
  WHERE q.tenant_id = p_tenant AND q.scope = l.scope AND q.scope_id = l.scope_id AND q.period = l.period
    AND q.period_start = l.period_start
$$;

-- What of a limit would be left after `need`; used by both that may refuse. The first that is broken.
CREATE FUNCTION broken_limit(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz,
    p_requests bigint, p_tokens bigint, p_cost bigint, p_pages bigint, p_stored bigint)
  RETURNS TABLE (scope text, period text, meter text, max_amount bigint, used bigint, reserved bigint,
    resets_at timestamptz, hard boolean, need bigint) LANGUAGE sql STABLE AS $$
  WITH sums AS (
    SELECT c.scope, c.scope_id, c.period, c.period_start, max(c.period_end) AS period_end,
      sum(requests_used) AS requests, sum(requests_reserved) AS r_requests, sum(tokens_used) AS tokens,
      sum(tokens_reserved) AS r_tokens, sum(cost_used) AS cost, sum(cost_reserved) AS r_cost,
      sum(pages_used) AS pages, sum(stored_bytes_used) AS stored
    FROM (SELECT * FROM counter_keys(p_tenant, p_user, p_month, p_day)
          UNION ALL SELECT 'tenant', p_tenant, 'total', 'epoch') k
    JOIN quota_counters c ON c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
      AND c.period = k.period AND c.period_start = k.period_start
    GROUP BY 1, 2, 3, 4)
  SELECT s.scope, s.period, l.meter, l.max_amount, m.used::bigint, m.held::bigint,
    NULLIF(s.period_end, 'infinity'), l.hard, m.need
  FROM sums s
  CROSS JOIN LATERAL quota_limits(p_tenant, s.scope, s.scope_id, s.period, s.period_start) l
  JOIN LATERAL (VALUES
    ('requests', s.requests, s.r_requests, p_requests), ('tokens', s.tokens, s.r_tokens, p_tokens),
    ('cost_nano_usd', s.cost, s.r_cost, p_cost), ('pages', s.pages, 0, p_pages),
    ('stored_bytes', s.stored, 0, p_stored)) m (meter, used, held, need) ON m.meter = l.meter
  WHERE l.max_amount IS NOT NULL
  -- A person's own limit is named before the organisation's.
  ORDER BY s.scope DESC, s.period, array_position(ARRAY['requests', 'tokens', 'cost_nano_usd'], l.meter)
$$;

-- Reserves the most a turn can use, of the tenant's and of the user's limits, all or nothing, and
-- quotes its price. An answer is shortened to what is left; with less than `p_least` left the turn is
-- refused, and the limit is named. A model without a price is refused where cost has a hard limit
-- (meter `unpriced`).
CREATE FUNCTION reserve_turn(p_tenant uuid, p_user uuid, p_assistant uuid, p_turn uuid, p_owner uuid, p_lasts interval, p_model text,
    p_embedding_model text, p_input bigint, p_output bigint, p_least bigint, p_embedding bigint, p_keep boolean,
    OUT granted bigint, OUT over_quota boolean, OUT cost bigint, OUT price prices, OUT embedding_price prices,
    OUT scope text, OUT period text, OUT meter text, OUT max_amount bigint, OUT used bigint, OUT reserved bigint,
    OUT resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  p record;
  v record;
  b record;
  picked int;
  fitting int;
  moved int;
  fixed bigint;     -- the cost of everything but the answer
  rate bigint;
BEGIN
  SELECT * INTO p FROM current_periods(p_tenant);
  SELECT * INTO v FROM limits_version(p_tenant);
  price := price_of(p_tenant, p_model);
  embedding_price := price_of(p_tenant, p_embedding_model);
  -- Every row of the bill is rounded up: four nano-dollars more than the sum.
  rate := greatest(price.output, price.reasoning);
  fixed := cost_of(p_input, greatest(price.input, price.cached_input)) + coalesce(price.request, 0)
    + coalesce(cost_of(p_embedding, embedding_price.input), 0) + 4;
  granted := p_output;
  over_quota := false;
  cost := fixed + cost_of(granted, rate);
  picked := (hashtext(p_turn::text) & 2147483647) % v.slices;
  PERFORM open_counters(p_tenant, p_user, v.slices, p);

  -- Mostly it fits into one slice, whose locks are let go again when it does not.
  BEGIN
    SELECT count(*) INTO fitting FROM lock_counters(p_tenant, p_user, p.month_start, p.day_start, picked) c
      WHERE c.limits = v.version
        AND (c.requests_share IS NULL OR c.requests_used + c.requests_reserved + 1 <= c.requests_share)
        AND (c.tokens_share IS NULL OR c.tokens_used + c.tokens_reserved + p_input + granted <= c.tokens_share)
        AND (c.cost_share IS NULL OR c.cost_used + c.cost_reserved + cost <= c.cost_share);
    IF fitting < 4 THEN
      RAISE EXCEPTION USING ERRCODE = 'DC001';
    END IF;
  EXCEPTION WHEN SQLSTATE 'DC001' THEN
    NULL;
  END;
  IF fitting < 4 THEN
    PERFORM lock_counters(p_tenant, p_user, p.month_start, p.day_start, NULL);
    FOR b IN SELECT * FROM broken_limit(p_tenant, p_user, p.month_start, p.day_start, 1, p_input + p_least,
        fixed + cost_of(p_least, rate), NULL, NULL) x WHERE x.meter IN ('requests', 'tokens', 'cost_nano_usd') LOOP
      IF b.need IS NULL OR b.used + b.reserved + b.need > b.max_amount THEN
        IF b.hard THEN
          granted := NULL;
          cost := NULL;
          scope := b.scope;
          period := b.period;
          meter := CASE WHEN b.need IS NULL THEN 'unpriced' ELSE b.meter END;
          max_amount := b.max_amount;
          used := b.used;
          reserved := b.reserved;
          resets_at := b.resets_at;
          RETURN;
        END IF;
        over_quota := true;
      ELSIF b.hard AND b.meter = 'tokens' THEN
        granted := least(granted, b.max_amount - b.used - b.reserved - p_input);
      ELSIF b.hard AND b.meter = 'cost_nano_usd' AND rate > 0 THEN
        granted := least(granted, floor((b.max_amount - b.used - b.reserved - fixed)::numeric * 1000000 / rate));
      END IF;
    END LOOP;
    cost := fixed + cost_of(granted, rate);
    IF NOT p_keep THEN
      RETURN;
    END IF;
    PERFORM share_out(p_tenant, p_user, p.month_start, p.day_start, v.slices, v.version, 1, p_input + granted,
      coalesce(cost, 0));
  ELSIF NOT p_keep THEN
    RETURN;
  END IF;
  UPDATE quota_counters c SET
      requests_reserved = c.requests_reserved + 1,
      tokens_reserved = c.tokens_reserved + p_input + granted,
      cost_reserved = c.cost_reserved + coalesce(reserve_turn.cost, 0),
      requests_share = CASE WHEN fitting < 4 THEN c.requests_share + 1 ELSE c.requests_share END,
      tokens_share = CASE WHEN fitting < 4 THEN c.tokens_share + p_input + granted ELSE c.tokens_share END,
      cost_share = CASE WHEN fitting < 4 THEN c.cost_share + coalesce(reserve_turn.cost, 0) ELSE c.cost_share END
    FROM counter_keys(p_tenant, p_user, p.month_start, p.day_start) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = CASE c.scope WHEN 'tenant' THEN picked ELSE 0 END;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 4, 'a counter is missing';
  INSERT INTO reservations (tenant_id, turn_id, user_id, assistant_id, month_start, day_start, slice, tokens,
      cost_nano_usd, price_version, embedding_price_version, over_quota, owner, expires_at)
    VALUES (p_tenant, p_turn, p_user, p_assistant, p.month_start, p.day_start, picked, p_input + granted, coalesce(cost, 0),
      price.version, embedding_price.version, over_quota, p_owner, now() + p_lasts);
END $$;

-- Appends rows to the ledger and returns the sums of those that were not there yet. Adding to a period
-- that is closed is refused by a trigger.
CREATE FUNCTION append_usage(p_tenant uuid, p_user uuid, p_assistant uuid, p_source uuid, p_month_start timestamptz,
    p_day_start timestamptz, p_rows jsonb, OUT requests bigint, OUT tokens bigint, OUT cost bigint, OUT pages bigint,
    OUT stored bigint, OUT appended bigint) LANGUAGE sql AS $$
  WITH inserted AS (
    INSERT INTO usage_ledger (tenant_id, event_id, month, kind, user_id, assistant_id, turn_id, document_id, step,
        meter, quantity, provenance, model, price_version, cost_nano_usd, period_start, day_start)
      SELECT p_tenant, r.event_id, month_of(p_source), r.kind, p_user, p_assistant, r.turn_id, r.document_id,
             r.step, r.meter, r.quantity, r.provenance, r.model, r.price_version, r.cost_nano_usd, p_month_start,
             p_day_start
      FROM jsonb_to_recordset(p_rows) AS r (event_id uuid, kind text, turn_id uuid,
        document_id uuid, step smallint, meter text, quantity bigint, provenance text, model text,
        price_version text, cost_nano_usd bigint)
      ON CONFLICT DO NOTHING
      RETURNING event_id, month, meter, quantity, cost_nano_usd),
  batch AS (
    INSERT INTO ledger_batches (tenant_id, month, event_ids)
      SELECT p_tenant, month, array_agg(event_id) FROM inserted GROUP BY month)
  SELECT coalesce(sum(quantity) FILTER (WHERE meter = 'requests'), 0)::bigint,
         coalesce(sum(quantity) FILTER (WHERE meter IN
           ('input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens')), 0)::bigint,
         coalesce(sum(cost_nano_usd), 0)::bigint,
         coalesce(sum(quantity) FILTER (WHERE meter = 'pages'), 0)::bigint,
         coalesce(sum(quantity) FILTER (WHERE meter = 'stored_bytes'), 0)::bigint,
         count(*)
  FROM inserted
$$;

-- Settles a turn: closes its reservation, appends what it used, moves the counters. False when it was
-- settled before.
CREATE FUNCTION settle_turn(p_tenant uuid, p_turn uuid, p_rows jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  r record;
  s record;
  moved int;
BEGIN
  UPDATE reservations SET state = 'settled' WHERE tenant_id = p_tenant AND turn_id = p_turn AND state = 'open'
    RETURNING * INTO r;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  SELECT * INTO s FROM append_usage(p_tenant, r.user_id, r.assistant_id, p_turn, r.month_start, r.day_start, p_rows);
  PERFORM lock_counters(p_tenant, r.user_id, r.month_start, r.day_start, r.slice);
  UPDATE quota_counters c SET
      requests_used = c.requests_used + s.requests, requests_reserved = c.requests_reserved - r.requests,
      tokens_used = c.tokens_used + s.tokens, tokens_reserved = c.tokens_reserved - r.tokens,
      cost_used = c.cost_used + s.cost, cost_reserved = c.cost_reserved - r.cost_nano_usd
    FROM counter_keys(p_tenant, r.user_id, r.month_start, r.day_start) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = CASE c.scope WHEN 'tenant' THEN r.slice ELSE 0 END;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 4, 'a counter is missing';
  RETURN true;
END $$;

-- Bills in one step what nobody could reserve: a document, whose size is known when it is read, late
-- usage, a correction. In the periods that are open now. With `p_checked`, a hard limit that would be
-- broken refuses it and is named; nothing is billed then.
CREATE FUNCTION bill_now(p_tenant uuid, p_user uuid, p_assistant uuid, p_source uuid, p_rows jsonb, p_checked boolean,
    OUT appended bigint, OUT scope text, OUT period text, OUT meter text, OUT max_amount bigint, OUT used bigint,
    OUT reserved bigint, OUT resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  p record;
  v record;
  s record;
  b record;
  moved int;
BEGIN
  SELECT * INTO p FROM current_periods(p_tenant);
  SELECT * INTO v FROM limits_version(p_tenant);
  PERFORM open_counters(p_tenant, p_user, v.slices, p);
  PERFORM lock_counters(p_tenant, p_user, p.month_start, p.day_start, NULL);
  SELECT * INTO s FROM append_usage(p_tenant, p_user, p_assistant, p_source, p.month_start, p.day_start, p_rows);
  appended := s.appended;
  IF p_checked THEN
    SELECT * INTO b FROM broken_limit(p_tenant, p_user, p.month_start, p.day_start, s.requests, s.tokens, s.cost,
        s.pages, s.stored) x
      WHERE x.hard AND x.need > 0 AND x.used + x.reserved + x.need > x.max_amount LIMIT 1;
    IF FOUND THEN
      appended := NULL;
      scope := b.scope;
      period := b.period;
      meter := b.meter;
      max_amount := b.max_amount;
      used := b.used;
      reserved := b.reserved;
      resets_at := b.resets_at;
      RETURN;
    END IF;
  END IF;
  UPDATE quota_counters c SET
      requests_used = c.requests_used + s.requests, tokens_used = c.tokens_used + s.tokens,
      cost_used = c.cost_used + s.cost, pages_used = c.pages_used + s.pages
    FROM counter_keys(p_tenant, p_user, p.month_start, p.day_start) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = 0;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 2 + 2 * num_nonnulls(p_user), 'a counter is missing';
  UPDATE quota_counters c SET stored_bytes_used = c.stored_bytes_used + s.stored
    WHERE c.tenant_id = p_tenant AND c.scope = 'tenant' AND c.scope_id = p_tenant AND c.period = 'total' AND s.stored <> 0;
  PERFORM share_out(p_tenant, p_user, p.month_start, p.day_start, v.slices, v.version, 0, 0, 0);
END $$;

-- Where a user and their tenant stand in the current periods, whether or not anything was used in them.
CREATE FUNCTION quota_now(p_tenant uuid, p_user uuid) RETURNS TABLE (scope text, period text, meter text,
    max_amount bigint, hard boolean, used bigint, reserved bigint, period_start timestamptz, period_end timestamptz)
  LANGUAGE sql STABLE AS $$
  SELECT k.scope, k.period, m.meter, l.max_amount, coalesce(l.hard, true), coalesce(m.used, 0)::bigint,
         coalesce(m.reserved, 0)::bigint, k.start, k.until
  FROM current_periods(p_tenant) p
  CROSS JOIN LATERAL (VALUES
    ('user', p_user, 'day', p.day_start, p.day_end), ('user', p_user, 'month', p.month_start, p.month_end),
    ('tenant', p_tenant, 'day', p.day_start, p.day_end), ('tenant', p_tenant, 'month', p.month_start, p.month_end),
    ('tenant', p_tenant, 'total', 'epoch', NULL)) k (scope, scope_id, period, start, until)
  CROSS JOIN LATERAL (
    SELECT sum(requests_used) AS requests, sum(requests_reserved) AS r_requests, sum(tokens_used) AS tokens,
      sum(tokens_reserved) AS r_tokens, sum(cost_used) AS cost, sum(cost_reserved) AS r_cost,
      sum(pages_used) AS pages, sum(stored_bytes_used) AS stored
    FROM quota_counters c WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
      AND c.period = k.period AND c.period_start = k.start) q
  CROSS JOIN LATERAL (VALUES
    (1, 'requests', q.requests, q.r_requests), (2, 'tokens', q.tokens, q.r_tokens),
    (3, 'cost_nano_usd', q.cost, q.r_cost), (4, 'pages', q.pages, 0), (5, 'stored_bytes', q.stored, 0))
    m (place, meter, used, reserved)
  LEFT JOIN LATERAL quota_limits(p_tenant, k.scope, k.scope_id, k.period, k.start) l ON l.meter = m.meter
  WHERE (m.meter = 'stored_bytes') = (k.period = 'total') AND (k.scope = 'tenant' OR m.meter NOT IN ('pages', 'stored_bytes'))
  ORDER BY k.scope DESC, k.period DESC, m.place
$$;

-- Closes months that are over and in which nothing is held any more.
CREATE FUNCTION close_months(p_grace interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  m record;
  closed bigint := 0;
BEGIN
  FOR m IN SELECT tenant_id, period_start FROM quota_counters
    WHERE period = 'month' AND scope = 'tenant' AND slice = 0 AND closed_at IS NULL
      AND period_end < billing_now() - p_grace LOOP
    PERFORM FROM quota_counters c WHERE c.tenant_id = m.tenant_id AND c.scope = 'tenant' AND c.scope_id = m.tenant_id
      AND c.period = 'month' AND c.period_start = m.period_start ORDER BY c.slice FOR UPDATE;
    IF NOT EXISTS (SELECT FROM quota_counters c WHERE c.tenant_id = m.tenant_id AND c.scope = 'tenant'
        AND c.scope_id = m.tenant_id AND c.period = 'month' AND c.period_start = m.period_start
        AND (c.requests_reserved > 0 OR c.tokens_reserved > 0 OR c.cost_reserved > 0)) THEN
      UPDATE quota_counters c SET closed_at = clock_timestamp() WHERE c.tenant_id = m.tenant_id AND c.scope = 'tenant'
        AND c.scope_id = m.tenant_id AND c.period = 'month' AND c.period_start = m.period_start AND c.closed_at IS NULL;
      closed := closed + 1;
    END IF;
  END LOOP;
  RETURN closed;
END $$;

CREATE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM fresh f JOIN quota_counters c ON c.tenant_id = f.tenant_id AND c.scope = 'tenant'
      AND c.scope_id = f.tenant_id AND c.period = 'month' AND c.period_start = f.period_start
      WHERE c.closed_at IS NOT NULL) THEN
    RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'DC002';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER refuse_closed_periods AFTER INSERT ON usage_ledger REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_periods();

---------------------------------------------------------------------------- row-level security

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenant_prices', 'quota_overrides', 'quota_topups', 'quota_counters', 'reservations',
      'usage_ledger', 'usage_ledger_other', 'ledger_batches', 'ledger_seals', 'ledger_seals_other', 'ledger_heads',
      'usage_daily', 'quota_alerts', 'audit_log'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
    EXECUTE format('CREATE POLICY ledger ON %I TO docent_ledger USING (true) WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY billing ON %I FOR SELECT TO docent_billing USING (true)', t);
  END LOOP;
  EXECUTE 'CREATE POLICY ledger ON tenants FOR SELECT TO docent_ledger USING (true)';
END $$;

GRANT SELECT ON plan_quotas, prices TO docent_app, docent_system, docent_ledger, docent_billing;
GRANT SELECT ON plans TO docent_ledger, docent_billing;
GRANT SELECT ON tenants TO docent_ledger;
GRANT SELECT, INSERT, DELETE ON tenant_prices TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON quota_overrides TO docent_app;
GRANT SELECT, INSERT ON quota_topups, audit_log, usage_ledger, ledger_batches TO docent_app;
GRANT SELECT, INSERT, UPDATE ON quota_counters, reservations TO docent_app;
GRANT SELECT ON ledger_seals, ledger_heads, usage_daily, quota_alerts, ledger_state TO docent_app;
GRANT SELECT ON usage_ledger, quota_counters, reservations, quota_overrides, quota_topups, tenant_prices TO docent_ledger;
GRANT UPDATE (closed_at) ON quota_counters TO docent_ledger;
GRANT SELECT, DELETE ON ledger_batches TO docent_ledger;
GRANT SELECT, INSERT ON ledger_seals, quota_alerts TO docent_ledger;
GRANT SELECT, INSERT, UPDATE ON ledger_heads, usage_daily TO docent_ledger;
GRANT SELECT, UPDATE ON ledger_state TO docent_ledger;
GRANT SELECT ON tenant_prices, quota_overrides, quota_topups, quota_counters, reservations, usage_ledger,
  ledger_seals, ledger_heads, ledger_state, usage_daily, quota_alerts TO docent_billing;

----------------------------------------------------------------------------------- for billing

GRANT USAGE ON SCHEMA billing TO docent_ledger, docent_app;

-- Every seal has its row. The join is an outer one all the same: then the planner knows that it gives a
-- row for each, and reads the next thousand by the index instead of joining everything.
CREATE VIEW billing.ledger_v1 WITH (security_invoker = true) AS
  SELECT s.ledger_seq, t.slug AS tenant, s.tenant_id, s.tenant_seq, l.user_id, l.event_id, l.kind, l.turn_id,
         l.document_id, l.assistant_id, l.step, l.meter, l.quantity, l.provenance, l.model, l.price_version,
         l.cost_nano_usd, l.period_start, l.day_start, l.occurred_at, s.hash
  FROM ledger_seals s
  LEFT JOIN usage_ledger l ON l.tenant_id = s.tenant_id AND l.event_id = s.event_id AND l.month = s.month
  JOIN tenants t ON t.tenant_id = s.tenant_id;
COMMENT ON VIEW billing.ledger_v1 IS 'Every metered quantity, once, as soon as it has a number (about a second). cost_nano_usd is NULL where the model has no price.';
COMMENT ON COLUMN billing.ledger_v1.ledger_seq IS 'Grows without gaps, in the order in which rows become visible here: read on from the last one.';
COMMENT ON COLUMN billing.ledger_v1.tenant_seq IS 'The same for one tenant alone; the place in its hash chain.';
COMMENT ON COLUMN billing.ledger_v1.event_id IS 'Derived from what was consumed: the same consumption always has the same id.';
COMMENT ON COLUMN billing.ledger_v1.kind IS 'usage; adjustment (usage that became known late); credit and refund (corrections).';
COMMENT ON COLUMN billing.ledger_v1.provenance IS 'exact: counted, or reported by the provider; estimated: counted with our tokenizer.';
COMMENT ON COLUMN billing.ledger_v1.price_version IS 'The price the turn was quoted, model@date; NULL: unpriced.';
COMMENT ON COLUMN billing.ledger_v1.period_start IS 'The month of the tenant''s calendar in which it counts.';

CREATE VIEW billing.quotas_v1 WITH (security_invoker = true) AS
  SELECT t.slug AS tenant, q.tenant_id, q.scope, q.scope_id, m.meter, q.period_start,
         NULLIF(q.period_end, 'infinity') AS period_end, l.max_amount, m.used::bigint AS used, m.reserved::bigint AS reserved, q.period, coalesce(l.hard, true) AS hard
  FROM (SELECT tenant_id, scope, scope_id, period, period_start, max(period_end) AS period_end,
          sum(requests_used) AS requests, sum(requests_reserved) AS r_requests, sum(tokens_used) AS tokens,
          sum(tokens_reserved) AS r_tokens, sum(cost_used) AS cost, sum(cost_reserved) AS r_cost,
          sum(pages_used) AS pages, sum(stored_bytes_used) AS stored
        FROM quota_counters GROUP BY 1, 2, 3, 4, 5) q
  JOIN tenants t ON t.tenant_id = q.tenant_id
  CROSS JOIN LATERAL (VALUES
    ('requests', q.requests, q.r_requests), ('tokens', q.tokens, q.r_tokens),
    ('cost_nano_usd', q.cost, q.r_cost), ('pages', q.pages, 0), ('stored_bytes', q.stored, 0)) m (meter, used, reserved)
  LEFT JOIN LATERAL quota_limits(q.tenant_id, q.scope, q.scope_id, q.period, q.period_start) l ON l.meter = m.meter
  WHERE (m.meter = 'stored_bytes') = (q.period = 'total') AND (q.scope = 'tenant' OR m.meter NOT IN ('pages', 'stored_bytes'));
COMMENT ON VIEW billing.quotas_v1 IS 'Limit (NULL: none), used and reserved per scope, period and meter. tokens: what the chat model read and wrote.';

CREATE VIEW billing.usage_v1 WITH (security_invoker = true) AS
  SELECT t.slug AS tenant, u.tenant_id, NULLIF(u.user_id, '00000000-0000-0000-0000-000000000000') AS user_id,
         u.meter, NULLIF(u.model, '') AS model, u.day, u.quantity,
         CASE WHEN u.unpriced = u.quantity THEN NULL ELSE u.cost_nano_usd END AS cost_nano_usd, u.events,
         NULLIF(u.assistant_id, '00000000-0000-0000-0000-000000000000') AS assistant_id, u.unpriced
  FROM usage_daily u JOIN tenants t USING (tenant_id);
COMMENT ON VIEW billing.usage_v1 IS 'ledger_v1 by tenant, user, assistant, meter, model and day of the tenant''s calendar.';

CREATE VIEW billing.periods_v1 WITH (security_invoker = true) AS
  SELECT t.slug AS tenant, q.tenant_id, q.period_start, q.period_end, t.time_zone,
         CASE WHEN q.closed_at IS NOT NULL THEN 'closed' WHEN q.period_end <= billing_now() THEN 'ending' ELSE 'open' END AS state,
         q.closed_at, q.closed_at IS NOT NULL AND q.closed_at <= s.complete_through AS complete, s.complete_through
  FROM quota_counters q JOIN tenants t USING (tenant_id) CROSS JOIN ledger_state s
  WHERE q.scope = 'tenant' AND q.period = 'month' AND q.slice = 0;
COMMENT ON VIEW billing.periods_v1 IS 'The months of each tenant. A closed one does not change any more; complete: all its rows are in ledger_v1.';
COMMENT ON COLUMN billing.periods_v1.complete_through IS 'Everything that occurred until then is in ledger_v1.';

-- Counters that differ from what they are a projection of, of one tenant or all (NULL), in periods that
-- began at `p_since` or later. It adds the ledger up once, however many counters there are.
CREATE FUNCTION billing.differences(p_tenant uuid, p_since timestamptz) RETURNS TABLE (tenant_id uuid, scope text,
    scope_id uuid, meter text, period_start timestamptz, used bigint, ledger bigint, reserved bigint,
    open_reservations bigint, period text) LANGUAGE sql STABLE AS $$
  WITH sums AS (
    SELECT l.tenant_id, l.user_id, l.period_start AS month_start, l.day_start,
           sum(quantity) FILTER (WHERE l.meter = 'requests') AS requests,
           sum(quantity) FILTER (WHERE l.meter IN
             ('input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens')) AS tokens,
           sum(cost_nano_usd) AS cost, sum(quantity) FILTER (WHERE l.meter = 'pages') AS pages,
           sum(quantity) FILTER (WHERE l.meter = 'stored_bytes') AS stored,
           0::numeric AS r_requests, 0::numeric AS r_tokens, 0::numeric AS r_cost
    FROM usage_ledger l
    WHERE (p_tenant IS NULL OR l.tenant_id = p_tenant) AND l.day_start >= p_since
      AND l.period_start >= p_since - interval '32 days'  -- implied; it has an index
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT r.tenant_id, r.user_id, r.month_start, r.day_start, 0, 0, 0, 0, 0,
           sum(r.requests), sum(r.tokens), sum(r.cost_nano_usd)
    FROM reservations r
    WHERE (p_tenant IS NULL OR r.tenant_id = p_tenant) AND r.state = 'open' AND r.day_start >= p_since
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT h.tenant_id, NULL, NULL, NULL, 0, 0, 0, 0, h.base_stored_bytes, 0, 0, 0
    FROM ledger_heads h WHERE p_tenant IS NULL OR h.tenant_id = p_tenant),
  booked AS (
    SELECT s.tenant_id, k.scope, k.scope_id, k.period, k.period_start,
           sum(requests) AS requests, sum(tokens) AS tokens, sum(cost) AS cost, sum(pages) AS pages,
           sum(stored) AS stored, sum(r_requests) AS r_requests, sum(r_tokens) AS r_tokens, sum(r_cost) AS r_cost
    FROM sums s CROSS JOIN LATERAL (VALUES
      ('tenant', s.tenant_id, 'month', s.month_start), ('user', s.user_id, 'month', s.month_start),
      ('tenant', s.tenant_id, 'day', s.day_start), ('user', s.user_id, 'day', s.day_start),
      ('tenant', s.tenant_id, 'total', 'epoch'::timestamptz)) k (scope, scope_id, period, period_start)
    WHERE k.scope_id IS NOT NULL AND k.period_start >= p_since GROUP BY 1, 2, 3, 4, 5),
  counted AS (
    SELECT c.tenant_id, c.scope, c.scope_id, c.period, c.period_start,
           sum(requests_used) AS requests, sum(tokens_used) AS tokens, sum(cost_used) AS cost,
           sum(pages_used) AS pages, sum(stored_bytes_used) AS stored,
           sum(requests_reserved) AS r_requests, sum(tokens_reserved) AS r_tokens, sum(cost_reserved) AS r_cost
    FROM quota_counters c
    WHERE (p_tenant IS NULL OR c.tenant_id = p_tenant) AND c.period_start >= p_since GROUP BY 1, 2, 3, 4, 5)
  SELECT tenant_id, scope, scope_id, m.meter, period_start, m.used::bigint, m.ledger::bigint, m.reserved::bigint,
         m.open::bigint, period
  FROM counted c FULL JOIN booked b USING (tenant_id, scope, scope_id, period, period_start)
  CROSS JOIN LATERAL (
    SELECT x.meter, coalesce(x.used, 0), coalesce(x.ledger, 0), coalesce(x.reserved, 0), coalesce(x.open, 0)
    FROM (VALUES ('requests', c.requests, b.requests, c.r_requests, b.r_requests),
      ('tokens', c.tokens, b.tokens, c.r_tokens, b.r_tokens), ('cost_nano_usd', c.cost, b.cost, c.r_cost, b.r_cost),
      ('pages', c.pages, b.pages, 0, 0), ('stored_bytes', c.stored, b.stored, 0, 0))
      x (meter, used, ledger, reserved, open)) m (meter, used, ledger, reserved, open)
  WHERE (m.used <> m.ledger OR m.reserved <> m.open)
    AND (m.meter = 'stored_bytes') = (period = 'total') AND (scope = 'tenant' OR m.meter NOT IN ('pages', 'stored_bytes'))
    AND (period = 'total' OR period_start >= (SELECT kept_from FROM ledger_state))
$$;
CREATE VIEW billing.differences_v1 WITH (security_invoker = true) AS
  SELECT * FROM billing.differences(NULL, '-infinity');
COMMENT ON VIEW billing.differences_v1 IS 'Empty when the books are right: each row is a counter that differs from what it is a projection of.';

GRANT SELECT ON ALL TABLES IN SCHEMA billing TO docent_billing, docent_ledger;
GRANT SELECT ON billing.ledger_v1, billing.periods_v1 TO docent_app;  -- of their own tenant, as everywhere
