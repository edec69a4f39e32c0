DROP FUNCTION load_chunks, warn_of_quotas;

CREATE OR REPLACE FUNCTION quota_now(p_tenant uuid, p_user uuid) RETURNS TABLE (scope text, period text, meter text,
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

CREATE OR REPLACE FUNCTION settle_turn(p_tenant uuid, p_turn uuid, p_rows jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION refuse_closed_periods() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM fresh f JOIN quota_counters c ON c.tenant_id = f.tenant_id AND c.scope = 'tenant'
      AND c.scope_id = f.tenant_id AND c.period = 'month' AND c.period_start = f.period_start
      WHERE c.closed_at IS NOT NULL) THEN
    RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'DC002';
  END IF;
  RETURN NULL;
END $$;

DROP FUNCTION append_usage;
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

CREATE OR REPLACE FUNCTION extend_turn(p_tenant uuid, p_turn uuid, p_models text[], p_input bigint, p_output bigint, p_least bigint,
    p_embedding bigint DEFAULT 0)
  RETURNS TABLE (granted bigint, over_quota boolean, cost bigint, quoted jsonb, scope text, period text, meter text,
    max_amount bigint, used bigint, reserved bigint, resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  r record;
  d record;
  h record;
  embedding_price prices;
BEGIN
  SELECT * INTO r FROM reservations x WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn AND x.state = 'open' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT * INTO d FROM dearest(p_tenant, p_models);
  embedding_price := price_version(p_tenant, r.embedding_price_version);
  SELECT * INTO h FROM hold(p_tenant, r.user_id, r.month_start, r.day_start, r.slice, 0, p_input, p_output, p_least,
    cost_of(p_input, d.input) + coalesce(cost_of(p_embedding, embedding_price.input), 0) + 4, d.output, true);
  IF h.granted IS NOT NULL THEN
    -- What was quoted before stays as it was quoted.
    UPDATE reservations x SET tokens = x.tokens + p_input + h.granted, cost_nano_usd = x.cost_nano_usd + coalesce(h.cost, 0),
        over_quota = x.over_quota OR h.over_quota, quoted = d.versions || x.quoted
      WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn;
  END IF;
  RETURN QUERY SELECT h.granted, h.over_quota, h.cost, d.prices, h.scope, h.period, h.meter, h.max_amount, h.used,
    h.reserved, h.resets_at;
END $$;

DROP FUNCTION reserve_turn(uuid, uuid, uuid, uuid, uuid, interval, text[], text, bigint, bigint, bigint, bigint, boolean);
DROP FUNCTION hold, dearest, standing, turn_counters;

CREATE FUNCTION dearest(p_tenant uuid, p_models text[], OUT prices jsonb, OUT versions jsonb, OUT input bigint,
    OUT output bigint, OUT request bigint) LANGUAGE sql STABLE AS $$
  SELECT jsonb_object_agg(m.model, CASE WHEN x.version IS NOT NULL THEN to_jsonb(x) END),
    jsonb_object_agg(m.model, x.version),
    CASE WHEN bool_and(x.version IS NOT NULL) THEN max(greatest(x.input, x.cached_input)) END,
    CASE WHEN bool_and(x.version IS NOT NULL) THEN max(greatest(x.output, x.reasoning)) END,
    max(coalesce(x.request, 0))
  FROM unnest(p_models) m (model) CROSS JOIN LATERAL price_of(p_tenant, m.model) x
$$;

CREATE FUNCTION hold(p_tenant uuid, p_user uuid, p_month timestamptz, p_day timestamptz, p_slice int, p_requests bigint,
    p_input bigint, p_output bigint, p_least bigint, p_fixed bigint, p_rate bigint, p_keep boolean,
    OUT granted bigint, OUT over_quota boolean, OUT cost bigint, OUT scope text, OUT period text, OUT meter text,
    OUT max_amount bigint, OUT used bigint, OUT reserved bigint, OUT resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  v record;
  b record;
  fitting int;
  moved int;
BEGIN
  SELECT * INTO v FROM limits_version(p_tenant);
  granted := p_output;
  over_quota := false;
  cost := p_fixed + cost_of(granted, p_rate);

  -- Mostly it fits into one slice, whose locks are let go again when it does not.
  BEGIN
    SELECT count(*) INTO fitting FROM lock_counters(p_tenant, p_user, p_month, p_day, p_slice) c
      WHERE c.limits = v.version
        AND (c.requests_share IS NULL OR c.requests_used + c.requests_reserved + p_requests <= c.requests_share)
        AND (c.tokens_share IS NULL OR c.tokens_used + c.tokens_reserved + p_input + granted <= c.tokens_share)
        AND (c.cost_share IS NULL OR c.cost_used + c.cost_reserved + cost <= c.cost_share);
    IF fitting < 4 THEN
      RAISE EXCEPTION USING ERRCODE = 'DC001';
    END IF;
  EXCEPTION WHEN SQLSTATE 'DC001' THEN
    NULL;
  END;
  IF fitting < 4 THEN
    PERFORM lock_counters(p_tenant, p_user, p_month, p_day, NULL);
    FOR b IN SELECT * FROM broken_limit(p_tenant, p_user, p_month, p_day, p_requests, p_input + p_least,
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
    PERFORM share_out(p_tenant, p_user, p_month, p_day, v.slices, v.version, p_requests, p_input + granted,
      coalesce(cost, 0));
  ELSIF NOT p_keep THEN
    RETURN;
  END IF;
  UPDATE quota_counters c SET
      requests_reserved = c.requests_reserved + p_requests,
      tokens_reserved = c.tokens_reserved + p_input + granted,
      cost_reserved = c.cost_reserved + coalesce(hold.cost, 0),
      requests_share = CASE WHEN fitting < 4 THEN c.requests_share + p_requests ELSE c.requests_share END,
      tokens_share = CASE WHEN fitting < 4 THEN c.tokens_share + p_input + granted ELSE c.tokens_share END,
      cost_share = CASE WHEN fitting < 4 THEN c.cost_share + coalesce(hold.cost, 0) ELSE c.cost_share END
    FROM counter_keys(p_tenant, p_user, p_month, p_day) k
    WHERE c.tenant_id = p_tenant AND c.scope = k.scope AND c.scope_id = k.scope_id AND c.period = k.period
      AND c.period_start = k.period_start AND c.slice = CASE c.scope WHEN 'tenant' THEN p_slice ELSE 0 END;
  GET DIAGNOSTICS moved = ROW_COUNT;
  ASSERT moved = 4, 'a counter is missing';
END $$;

CREATE FUNCTION reserve_turn(p_tenant uuid, p_user uuid, p_assistant uuid, p_turn uuid, p_owner uuid, p_lasts interval,
    p_models text[], p_embedding_model text, p_input bigint, p_output bigint, p_least bigint, p_embedding bigint,
    p_keep boolean, OUT granted bigint, OUT over_quota boolean, OUT cost bigint, OUT quoted jsonb,
    OUT embedding_price prices, OUT scope text, OUT period text, OUT meter text, OUT max_amount bigint,
    OUT used bigint, OUT reserved bigint, OUT resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  p record;
  d record;
  h record;
  picked int;
  slices int;
BEGIN
  SELECT * INTO p FROM current_periods(p_tenant);
  SELECT * INTO d FROM dearest(p_tenant, p_models);
  SELECT v.slices INTO slices FROM limits_version(p_tenant) v;
  embedding_price := price_of(p_tenant, p_embedding_model);
  picked := (hashtext(p_turn::text) & 2147483647) % slices;
  PERFORM open_counters(p_tenant, p_user, slices, p);
  -- Every row of the bill is rounded up: four nano-dollars more than the sum.
  SELECT * INTO h FROM hold(p_tenant, p_user, p.month_start, p.day_start, picked, 1, p_input, p_output, p_least,
    cost_of(p_input, d.input) + d.request + coalesce(cost_of(p_embedding, embedding_price.input), 0) + 4, d.output, p_keep);
  granted := h.granted;
  over_quota := h.over_quota;
  cost := h.cost;
  quoted := d.prices;
  scope := h.scope;
  period := h.period;
  meter := h.meter;
  max_amount := h.max_amount;
  used := h.used;
  reserved := h.reserved;
  resets_at := h.resets_at;
  IF granted IS NULL OR NOT p_keep THEN
    RETURN;
  END IF;
  INSERT INTO reservations (tenant_id, turn_id, user_id, assistant_id, month_start, day_start, slice, tokens,
      cost_nano_usd, price_version, embedding_price_version, quoted, over_quota, owner, expires_at)
    VALUES (p_tenant, p_turn, p_user, p_assistant, p.month_start, p.day_start, picked, p_input + granted, coalesce(cost, 0),
      d.versions ->> p_models[1], embedding_price.version, d.versions, over_quota, p_owner, now() + p_lasts);
END $$;

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

CREATE OR REPLACE FUNCTION limits_version(p_tenant uuid, OUT version text, OUT slices int) LANGUAGE sql STABLE AS $$
  SELECT p.name || ' ' || p.version || ' ' || t.quota_version, p.counter_slices::int
  FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.tenant_id = p_tenant
$$;

ALTER TABLE quota_counters DROP COLUMN requests_max, DROP COLUMN tokens_max, DROP COLUMN cost_max;
