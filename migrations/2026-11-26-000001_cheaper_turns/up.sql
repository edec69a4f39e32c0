-- What a turn asks of the database is done in about half the time. Inside of a function it is not the rows that cost,
-- but each statement, each table and expression in it, and most of all a plan that is made anew. So the functions of
-- a turn have few and small statements, planned once for each connection (`plan_cache_mode`), and what is seldom
-- needed is a statement of its own. And a reservation says where one stands after it, so that nobody has to ask.

-- The limits that a counter's shares are of; NULL: none.
ALTER TABLE quota_counters
  ADD COLUMN requests_max bigint,
  ADD COLUMN tokens_max bigint,
  ADD COLUMN cost_max bigint;

-- What the shares of counters are of. It is written in another way than before: shares are out of date once, and
-- whoever shares out anew writes down the limits.
CREATE OR REPLACE FUNCTION limits_version(p_tenant uuid, OUT version text, OUT slices int) LANGUAGE sql STABLE AS $$
  SELECT p.name || '/' || p.version || '/' || t.quota_version, p.counter_slices::int
  FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.tenant_id = p_tenant
$$;

-- Shares what is left of the limits out anew among rows that are all locked, `p_*` being taken already.
CREATE OR REPLACE FUNCTION share_out(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz, p_slices int,
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
    SELECT s.*, l.*
    FROM sums s CROSS JOIN LATERAL (
      SELECT max(l.max_amount) FILTER (WHERE l.meter = 'requests') AS most_requests,
        max(l.max_amount) FILTER (WHERE l.meter = 'tokens') AS most_tokens,
        max(l.max_amount) FILTER (WHERE l.meter = 'cost_nano_usd') AS most_cost
      FROM quota_limits(p_tenant, s.scope, s.scope_id, s.period, s.period_start) l) l)
  UPDATE quota_counters q SET limits = p_version,
    requests_max = l.most_requests, tokens_max = l.most_tokens, cost_max = l.most_cost,
    requests_share = share_of(l.most_requests, l.requests, q.requests_used + q.requests_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END),
    tokens_share = share_of(l.most_tokens, l.tokens, q.tokens_used + q.tokens_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END),
    cost_share = share_of(l.most_cost, l.cost, q.cost_used + q.cost_reserved,
      q.slice, CASE q.scope WHEN 'user' THEN 1 ELSE p_slices END)
  FROM limited l
  WHERE q.tenant_id = p_tenant AND q.scope = l.scope AND q.scope_id = l.scope_id AND q.period = l.period
    AND q.period_start = l.period_start
$$;

-- The four counters of a turn, in the order in which counters are locked; the planner takes it into the statement. Who
-- moves them locks them by moving them, so the order must be that of the join: where everything but nested loops and
-- indexes is turned off (SET, below), it follows either these rows or the counters' only index, and both are in it.
CREATE FUNCTION turn_counters(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz, p_slice int)
  RETURNS TABLE (place int, scope text, scope_id uuid, period text, period_start timestamptz, slice int)
  LANGUAGE sql IMMUTABLE AS $$
  VALUES (1, 'tenant', p_tenant, 'day', p_day, p_slice), (2, 'tenant', p_tenant, 'month', p_month, p_slice),
         (3, 'user', p_user, 'day', p_day, 0), (4, 'user', p_user, 'month', p_month, 0)
$$;

-- What `quota_now` says of the limits that a turn counts against, when counters have just been reserved from and
-- know their limits; NULL when there are none.
CREATE FUNCTION standing(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz) RETURNS jsonb
  LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
    SELECT jsonb_agg(jsonb_build_object('scope', m.scope, 'period', m.period, 'meter', m.meter,
      'max_amount', m.most, 'used', m.used, 'reserved', m.held, 'resets_at', m.period_end))
    FROM (
      SELECT q.scope, q.period, q.period_end, m.*
      FROM (
        SELECT c.scope, c.period, min(c.period_end) AS period_end, max(c.requests_max) AS most_requests,
          max(c.tokens_max) AS most_tokens, max(c.cost_max) AS most_cost, sum(c.requests_used) AS requests,
          sum(c.requests_reserved) AS r_requests, sum(c.tokens_used) AS tokens, sum(c.tokens_reserved) AS r_tokens,
          sum(c.cost_used) AS cost, sum(c.cost_reserved) AS r_cost
        FROM counter_keys(p_tenant, p_user, p_month, p_day) k
        JOIN quota_counters c ON c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id
          AND c.period = k.period AND c.period_start = k.period_start
        GROUP BY 1, 2) q
      CROSS JOIN LATERAL (VALUES
        ('requests', q.most_requests, q.requests, q.r_requests), ('tokens', q.most_tokens, q.tokens, q.r_tokens),
        ('cost_nano_usd', q.most_cost, q.cost, q.r_cost)) m (meter, most, used, held)
      WHERE m.most IS NOT NULL) m);
END $$;

-- The prices of models that may answer, and of the dearest: what must be reserved. One without a price
-- makes the rates unknown (NULL). And the price of what embeds.
DROP FUNCTION dearest;
CREATE FUNCTION dearest(p_tenant uuid, p_models text[], p_embedding_model text, OUT quoted jsonb, OUT versions jsonb,
    OUT input bigint, OUT output bigint, OUT request bigint, OUT embedding prices) LANGUAGE plpgsql STABLE AS $$
DECLARE
  at timestamptz := billing_now();
  x record;
  name text;
BEGIN
  quoted := '{}';
  versions := '{}';
  request := 0;
  FOR x IN SELECT DISTINCT ON (p.model) p.* FROM (
      SELECT t.version, t.model, t.valid_from, t.input, t.cached_input, t.output, t.reasoning, t.request, 0 AS rank
        FROM tenant_prices t
        WHERE t.tenant_id = p_tenant AND t.model = ANY (p_models || p_embedding_model) AND t.valid_from <= at
      UNION ALL
      SELECT t.version, t.model, t.valid_from, t.input, t.cached_input, t.output, t.reasoning, t.request, 1
        FROM prices t WHERE t.model = ANY (p_models || p_embedding_model) AND t.valid_from <= at) p
    ORDER BY p.model, p.rank, p.valid_from DESC
  LOOP
    IF x.model = p_embedding_model THEN
      embedding := ROW(x.version, x.model, x.valid_from, x.input, x.cached_input, x.output, x.reasoning, x.request);
    END IF;
    IF x.model = ANY (p_models) THEN
      quoted := quoted || jsonb_build_object(x.model, jsonb_build_object('version', x.version, 'input', x.input,
        'cached_input', x.cached_input, 'output', x.output, 'reasoning', x.reasoning, 'request', x.request));
      versions := versions || jsonb_build_object(x.model, x.version);
      input := greatest(input, x.input, x.cached_input);
      output := greatest(output, x.output, x.reasoning);
      request := greatest(request, x.request);
    END IF;
  END LOOP;
  FOREACH name IN ARRAY p_models LOOP
    IF NOT versions ? name THEN
      quoted := quoted || jsonb_build_object(name, NULL);
      versions := versions || jsonb_build_object(name, NULL);
      input := NULL;
      output := NULL;
    END IF;
  END LOOP;
END $$;

-- Holds amounts of a tenant's and a user's limits in these periods, all or nothing. An answer is shortened to
-- what is left; with less than `p_least` left it is refused, and the limit is named. `p_fixed` is the
-- cost of everything but the answer, `p_rate` a million tokens of that; NULL: unknown, and refused where
-- cost has a hard limit (meter `unpriced`). With `p_keep` false it only says what would be granted. `p` are the
-- periods, and the version and slices of the limits; without their ends the periods' counters are there.
DROP FUNCTION hold;
CREATE FUNCTION hold(p_tenant uuid, p_user uuid, p record, p_slice int, p_requests bigint, p_input bigint,
    p_output bigint, p_least bigint, p_fixed bigint, p_rate bigint, p_keep boolean, OUT granted bigint,
    OUT over_quota boolean, OUT cost bigint, OUT limited boolean, OUT scope text, OUT period text, OUT meter text,
    OUT max_amount bigint, OUT used bigint, OUT reserved bigint, OUT resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  b record;
  moved int;
BEGIN
  granted := p_output;
  over_quota := false;
  cost := p_fixed + cost_of(granted, p_rate);

  -- Mostly it fits into one slice. Where it does not, or is not kept, nothing remains of this, and the locks are let
  -- go again.
  BEGIN
    WITH moved AS (
      UPDATE quota_counters c SET
          requests_reserved = c.requests_reserved + p_requests,
          tokens_reserved = c.tokens_reserved + p_input + granted,
          cost_reserved = c.cost_reserved + coalesce(hold.cost, 0)
        FROM turn_counters(p_tenant, p_user, p.month_start, p.day_start, p_slice) k
        WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
          AND c.period_start = k.period_start AND c.slice = k.slice AND c.limits = p.version
          AND (c.requests_share IS NULL OR c.requests_used + c.requests_reserved + p_requests <= c.requests_share)
          AND (c.tokens_share IS NULL OR c.tokens_used + c.tokens_reserved + p_input + granted <= c.tokens_share)
          AND (c.cost_share IS NULL OR c.cost_used + c.cost_reserved + hold.cost <= c.cost_share)
        RETURNING num_nonnulls(c.requests_max, c.tokens_max, c.cost_max) AS limits)
    SELECT count(*), coalesce(sum(limits) > 0, false) INTO moved, limited FROM moved;
    IF moved < 4 OR NOT p_keep THEN
      RAISE EXCEPTION USING ERRCODE = 'DC001';
    END IF;
    RETURN;
  EXCEPTION WHEN SQLSTATE 'DC001' THEN
    NULL;
  END;
  IF moved = 4 THEN
    RETURN;
  END IF;
  limited := true;
  IF p.day_end IS NOT NULL THEN
    PERFORM open_counters(p_tenant, p_user, p.slices, p);
  END IF;
  PERFORM lock_counters(p_tenant, p_user, p.month_start, p.day_start, NULL);
  FOR b IN SELECT * FROM broken_limit(p_tenant, p_user, p.month_start, p.day_start, p_requests, p_input + p_least,
      p_fixed + cost_of(p_least, p_rate), NULL, NULL) x WHERE x.meter IN ('requests', 'tokens', 'cost_nano_usd') LOOP
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
    ELSIF b.hard AND b.meter = 'cost_nano_usd' AND p_rate > 0 THEN
      granted := least(granted, floor((b.max_amount - b.used - b.reserved - p_fixed)::numeric * 1000000 / p_rate));
    END IF;
  END LOOP;
  cost := p_fixed + cost_of(granted, p_rate);
  IF NOT p_keep THEN
    RETURN;
  END IF;
  PERFORM share_out(p_tenant, p_user, p.month_start, p.day_start, p.slices, p.version, p_requests, p_input + granted,
    coalesce(cost, 0));
  UPDATE quota_counters c SET
      requests_reserved = c.requests_reserved + p_requests,
      tokens_reserved = c.tokens_reserved + p_input + granted,
      cost_reserved = c.cost_reserved + coalesce(hold.cost, 0),
      requests_share = c.requests_share + p_requests,
      tokens_share = c.tokens_share + p_input + granted,
      cost_share = c.cost_share + coalesce(hold.cost, 0)
    FROM turn_counters(p_tenant, p_user, p.month_start, p.day_start, p_slice) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = k.slice;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 4, 'a counter is missing';
END $$;

-- Reserves the most the first step of a turn can use, whichever of `p_models` answers, and quotes their
-- prices. `standing`: as the function of that name.
DROP FUNCTION reserve_turn(uuid, uuid, uuid, uuid, uuid, interval, text[], text, bigint, bigint, bigint, bigint, boolean);
CREATE FUNCTION reserve_turn(p_tenant uuid, p_user uuid, p_assistant uuid, p_turn uuid, p_owner uuid, p_lasts interval,
    p_models text[], p_embedding_model text, p_input bigint, p_output bigint, p_least bigint, p_embedding bigint,
    p_keep boolean, OUT granted bigint, OUT over_quota boolean, OUT cost bigint, OUT quoted jsonb,
    OUT embedding_price prices, OUT scope text, OUT period text, OUT meter text, OUT max_amount bigint,
    OUT used bigint, OUT reserved bigint, OUT resets_at timestamptz, OUT standing jsonb) LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  at timestamptz := billing_now();
  p record;
  d record;
  h record;
  picked int;
BEGIN
  -- As `limits_version` and, where both have begun, as `current_periods`.
  SELECT l.name || '/' || l.version || '/' || t.quota_version AS version, l.counter_slices::int AS slices,
      m.period_start AS month_start, m.period_end AS month_end, y.period_start AS day_start, y.period_end AS day_end
    INTO p
    FROM tenants t JOIN plans l ON l.name = t.plan
    LEFT JOIN LATERAL (SELECT c.period_start, c.period_end FROM quota_counters c
      WHERE c.tenant_id = p_tenant AND c.scope = 'tenant' AND c.scope_id = p_tenant AND c.period = 'month'
        AND c.slice = 0 AND c.period_start <= at ORDER BY c.period_start DESC LIMIT 1) m ON true
    LEFT JOIN LATERAL (SELECT c.period_start, c.period_end FROM quota_counters c
      WHERE c.tenant_id = p_tenant AND c.scope = 'tenant' AND c.scope_id = p_tenant AND c.period = 'day'
        AND c.slice = 0 AND c.period_start <= at ORDER BY c.period_start DESC LIMIT 1) y ON true
    WHERE t.tenant_id = p_tenant;
  IF (p.month_end > at AND p.day_end > at) IS NOT TRUE THEN
    SELECT p.version, p.slices, c.* INTO p FROM current_periods(p_tenant) c;
  END IF;
  d := dearest(p_tenant, p_models, p_embedding_model);
  quoted := d.quoted;
  embedding_price := d.embedding;
  picked := (hashtext(p_turn::text) & 2147483647) % p.slices;
  -- Every row of the bill is rounded up: four nano-dollars more than the sum.
  h := hold(p_tenant, p_user, p, picked, 1, p_input, p_output, p_least, cost_of(p_input, d.input) + d.request
    + coalesce(cost_of(p_embedding, embedding_price.input), 0) + 4, d.output, p_keep);
  granted := h.granted;
  over_quota := h.over_quota;
  cost := h.cost;
  IF granted IS NULL THEN
    scope := h.scope;
    period := h.period;
    meter := h.meter;
    max_amount := h.max_amount;
    used := h.used;
    reserved := h.reserved;
    resets_at := h.resets_at;
    RETURN;
  END IF;
  IF NOT p_keep THEN
    RETURN;
  END IF;
  INSERT INTO reservations (tenant_id, turn_id, user_id, assistant_id, month_start, day_start, slice, tokens,
      cost_nano_usd, price_version, embedding_price_version, quoted, over_quota, owner, expires_at)
    VALUES (p_tenant, p_turn, p_user, p_assistant, p.month_start, p.day_start, picked, p_input + granted, coalesce(cost, 0),
      d.versions ->> p_models[1], embedding_price.version, d.versions, over_quota, p_owner, now() + p_lasts);
  IF h.limited THEN
    standing := standing(p_tenant, p_user, p.month_start, p.day_start);
  END IF;
END $$;

-- Adds to an open reservation what one more step of the turn can use, in the periods in which the turn
-- began. No row when there is none that is open.
CREATE OR REPLACE FUNCTION extend_turn(p_tenant uuid, p_turn uuid, p_models text[], p_input bigint, p_output bigint,
    p_least bigint, p_embedding bigint DEFAULT 0)
  RETURNS TABLE (granted bigint, over_quota boolean, cost bigint, quoted jsonb, scope text, period text, meter text,
    max_amount bigint, used bigint, reserved bigint, resets_at timestamptz) LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  r record;
  p record;
  d record;
  h record;
  embedding_price prices;
BEGIN
  SELECT * INTO r FROM reservations x WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn AND x.state = 'open' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT v.version, v.slices, r.month_start, r.day_start, NULL::timestamptz AS day_end INTO p FROM limits_version(p_tenant) v;
  d := dearest(p_tenant, p_models, NULL);
  embedding_price := price_version(p_tenant, r.embedding_price_version);
  h := hold(p_tenant, r.user_id, p, r.slice, 0, p_input, p_output, p_least,
    cost_of(p_input, d.input) + coalesce(cost_of(p_embedding, embedding_price.input), 0) + 4, d.output, true);
  IF h.granted IS NOT NULL THEN
    -- What was quoted before stays as it was quoted.
    UPDATE reservations x SET tokens = x.tokens + p_input + h.granted, cost_nano_usd = x.cost_nano_usd + coalesce(h.cost, 0),
        over_quota = x.over_quota OR h.over_quota, quoted = d.versions || x.quoted
      WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn;
  END IF;
  RETURN QUERY SELECT h.granted, h.over_quota, h.cost, d.quoted, h.scope, h.period, h.meter, h.max_amount, h.used,
    h.reserved, h.resets_at;
END $$;

-- Appends rows to the ledger and returns the sums of those that were not there yet. Adding to a period
-- that is closed is refused by a trigger.
DROP FUNCTION append_usage;
CREATE FUNCTION append_usage(p_tenant uuid, p_user uuid, p_assistant uuid, p_source uuid, p_month_start timestamptz,
    p_day_start timestamptz, p_rows jsonb, OUT requests bigint, OUT tokens bigint, OUT cost bigint, OUT pages bigint,
    OUT stored bigint, OUT appended bigint) LANGUAGE plpgsql AS $$
DECLARE
  began date := month_of(p_source);
BEGIN
  WITH inserted AS (
    INSERT INTO usage_ledger AS l (tenant_id, event_id, month, kind, user_id, assistant_id, turn_id, document_id, step,
        meter, quantity, provenance, model, price_version, cost_nano_usd, period_start, day_start)
      SELECT p_tenant, r.event_id, began, r.kind, p_user, p_assistant, r.turn_id, r.document_id,
             r.step, r.meter, r.quantity, r.provenance, r.model, r.price_version, r.cost_nano_usd, p_month_start,
             p_day_start
      FROM jsonb_to_recordset(p_rows) AS r (event_id uuid, kind text, turn_id uuid,
        document_id uuid, step smallint, meter text, quantity bigint, provenance text, model text,
        price_version text, cost_nano_usd bigint)
      ON CONFLICT DO NOTHING
      RETURNING l.event_id, l.meter, l.quantity, l.cost_nano_usd),
  batch AS (
    INSERT INTO ledger_batches (tenant_id, month, event_ids)
      SELECT p_tenant, began, array_agg(i.event_id) FROM inserted i HAVING count(*) > 0)
  SELECT coalesce(sum(i.quantity) FILTER (WHERE i.meter = 'requests'), 0),
         coalesce(sum(i.quantity) FILTER (WHERE i.meter IN
           ('input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens')), 0),
         coalesce(sum(i.cost_nano_usd), 0),
         coalesce(sum(i.quantity) FILTER (WHERE i.meter = 'pages'), 0),
         coalesce(sum(i.quantity) FILTER (WHERE i.meter = 'stored_bytes'), 0),
         count(*)
    INTO requests, tokens, cost, pages, stored, appended
  FROM inserted i;
END $$;

-- A tenant's month is closed in all its slices at once, and the first is always there.
CREATE OR REPLACE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM (SELECT DISTINCT tenant_id, period_start FROM fresh) f
      JOIN quota_counters c ON c.tenant_id = f.tenant_id AND c.scope = 'tenant' AND c.scope_id = f.tenant_id
        AND c.period = 'month' AND c.period_start = f.period_start AND c.slice = 0
      WHERE c.closed_at IS NOT NULL) THEN
    RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'DC002';
  END IF;
  RETURN NULL;
END $$;

-- Settles a turn: closes its reservation, appends what it used, moves the counters. False when it was
-- settled before.
CREATE OR REPLACE FUNCTION settle_turn(p_tenant uuid, p_turn uuid, p_rows jsonb) RETURNS boolean LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  r record;
  s record;
  moved int;
BEGIN
  UPDATE reservations SET state = 'settled' WHERE tenant_id = p_tenant AND turn_id = p_turn AND state = 'open'
    RETURNING user_id, assistant_id, month_start, day_start, slice, requests, tokens, cost_nano_usd INTO r;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  s := append_usage(p_tenant, r.user_id, r.assistant_id, p_turn, r.month_start, r.day_start, p_rows);
  UPDATE quota_counters c SET
      requests_used = c.requests_used + s.requests, requests_reserved = c.requests_reserved - r.requests,
      tokens_used = c.tokens_used + s.tokens, tokens_reserved = c.tokens_reserved - r.tokens,
      cost_used = c.cost_used + s.cost, cost_reserved = c.cost_reserved - r.cost_nano_usd
    FROM turn_counters(p_tenant, r.user_id, r.month_start, r.day_start, r.slice) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = k.slice;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 4, 'a counter is missing';
  RETURN true;
END $$;

-- Where a user and their tenant stand in the current periods, whether or not anything was used in them.
CREATE OR REPLACE FUNCTION quota_now(p_tenant uuid, p_user uuid) RETURNS TABLE (scope text, period text, meter text,
    max_amount bigint, hard boolean, used bigint, reserved bigint, period_start timestamptz, period_end timestamptz)
  LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  p record := current_periods(p_tenant);
BEGIN
  RETURN QUERY
  SELECT k.scope, k.period, m.meter, l.max_amount, coalesce(l.hard, true), coalesce(m.used, 0)::bigint,
         coalesce(m.reserved, 0)::bigint, k.start, k.until
  FROM (VALUES
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
  ORDER BY k.scope DESC, k.period DESC, m.place;
END $$;

----------------------------------------------------------------------------------------- warnings

-- Writes down what is due for these tenants and for these users of theirs (`p_scopes`, the tenants among them) in the
-- periods that are open, puts it into the outbox as `quota.warning`, and returns it. Mostly nothing is due, and to
-- plan it took longer than to see that.
CREATE FUNCTION warn_of_quotas(p_tenants uuid[], p_scopes uuid[]) RETURNS TABLE (tenant_id uuid, scope text,
    scope_id uuid, period text, period_start timestamptz, meter text, percent smallint, used bigint, max_amount bigint)
  LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH due AS (
    SELECT q.tenant_id, q.scope, q.scope_id, q.period, q.period_start, q.meter, p.percent, q.used, q.max_amount
    FROM billing.quotas_v1 q CROSS JOIN (VALUES (80::smallint), (100::smallint)) p (percent)
    WHERE q.tenant_id = ANY (p_tenants) AND q.scope IN ('tenant', 'user') AND q.scope_id = ANY (p_scopes)
      AND (q.period = 'total' OR q.period_start > billing_now() - interval '32 days')
      AND (q.period_end IS NULL OR q.period_end > billing_now()) AND q.used > 0
      AND q.used::numeric * 100 >= q.max_amount::numeric * p.percent),
  given AS (
    INSERT INTO quota_alerts (tenant_id, scope, scope_id, period, period_start, meter, percent)
      SELECT tenant_id, scope, scope_id, period, period_start, meter, percent FROM due
      ON CONFLICT DO NOTHING RETURNING *),
  fresh AS (
    SELECT d.* FROM due d
    JOIN given USING (tenant_id, scope, scope_id, period, period_start, meter, percent)),
  told AS (
    INSERT INTO outbox (tenant_id, id, type, data)
      SELECT tenant_id, gen_random_uuid(), 'quota.warning', to_jsonb(fresh) - 'tenant_id' FROM fresh)
  SELECT tenant_id, scope, scope_id, period, period_start, meter, percent, used, max_amount FROM fresh;
END $$;

----------------------------------------------------------------------------------------- passages

-- These chunks, each with its document.
CREATE FUNCTION load_chunks(p_tenant uuid, p_ids uuid[]) RETURNS TABLE (id uuid, document_id uuid, file_name text,
    media_type text, seq int, page int, page_end int, tokens int, content text)
  LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT c.id, c.document_id, d.name, d.media_type, c.seq, c.page, c.page_end, c.tokens, c.content
    FROM chunks c JOIN documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
    WHERE c.tenant_id = p_tenant AND c.id = ANY (p_ids);
END $$;
