-- Turns of several steps: a model may call tools and be asked again, and when one is cut off in the
-- middle another one goes on. And turns whose prompt a client brings along.

-- What the turn asked of which model, step by step: our own count of the prompt, and once a step is over
-- what the provider counted; with the attempts that failed. Written with the log, twice a second:
-- what a dead node leaves is billed by it. `prompt_tokens` is that of nodes of the last release.
ALTER TABLE turns ADD COLUMN steps jsonb NOT NULL DEFAULT '[]';

-- `api`: made for one turn whose prompt a client brought along; it is in no list, and is deleted
-- when the turn's log is.
ALTER TABLE conversations ADD COLUMN kind text NOT NULL DEFAULT 'chat' CHECK (kind IN ('chat', 'api'));
CREATE POLICY passing ON conversations TO docent_system USING (kind = 'api');
GRANT SELECT, DELETE ON conversations TO docent_system;
CREATE INDEX conversations_api ON conversations (created_at) WHERE kind = 'api';

-- What was quoted: a version for each model that may answer, NULL where one has no price.
ALTER TABLE reservations ADD COLUMN quoted jsonb NOT NULL DEFAULT '{}';

-- The older `reserve_turn`, for one model, stays until no node of the last release calls it.

-- The prices of models that may answer, and of the dearest: what must be reserved. One without a price
-- makes the rates unknown (NULL).
CREATE FUNCTION dearest(p_tenant uuid, p_models text[], OUT prices jsonb, OUT versions jsonb, OUT input bigint,
    OUT output bigint, OUT request bigint) LANGUAGE sql STABLE AS $$
  SELECT jsonb_object_agg(m.model, CASE WHEN x.version IS NOT NULL THEN to_jsonb(x) END),
    jsonb_object_agg(m.model, x.version),
    CASE WHEN bool_and(x.version IS NOT NULL) THEN max(greatest(x.input, x.cached_input)) END,
    CASE WHEN bool_and(x.version IS NOT NULL) THEN max(greatest(x.output, x.reasoning)) END,
    max(coalesce(x.request, 0))
  FROM unnest(p_models) m (model) CROSS JOIN LATERAL price_of(p_tenant, m.model) x
$$;

-- Holds amounts of a tenant's and a user's limits in these periods, all or nothing. An answer is shortened to
-- what is left; with less than `p_least` left it is refused, and the limit is named. `p_fixed` is the
-- cost of everything but the answer, `p_rate` a million tokens of that; NULL: unknown, and refused where
-- cost has a hard limit (meter `unpriced`). With `p_keep` false it only says what would be granted.
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

-- Reserves the most the first step of a turn can use, whichever of `p_models` answers, and quotes their
-- prices.
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

-- Adds to an open reservation what one more step of the turn can use, in the periods in which the turn
-- began. No row when there is none that is open.
CREATE FUNCTION extend_turn(p_tenant uuid, p_turn uuid, p_models text[], p_input bigint, p_output bigint, p_least bigint)
  RETURNS TABLE (granted bigint, over_quota boolean, cost bigint, quoted jsonb, scope text, period text, meter text,
    max_amount bigint, used bigint, reserved bigint, resets_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
  r record;
  d record;
  h record;
BEGIN
  SELECT * INTO r FROM reservations x WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn AND x.state = 'open' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT * INTO d FROM dearest(p_tenant, p_models);
  SELECT * INTO h FROM hold(p_tenant, r.user_id, r.month_start, r.day_start, r.slice, 0, p_input, p_output, p_least,
    cost_of(p_input, d.input) + 4, d.output, true);
  IF h.granted IS NOT NULL THEN
    -- What was quoted before stays as it was quoted.
    UPDATE reservations x SET tokens = x.tokens + p_input + h.granted, cost_nano_usd = x.cost_nano_usd + coalesce(h.cost, 0),
        over_quota = x.over_quota OR h.over_quota, quoted = d.versions || x.quoted
      WHERE x.tenant_id = p_tenant AND x.turn_id = p_turn;
  END IF;
  RETURN QUERY SELECT h.granted, h.over_quota, h.cost, d.prices, h.scope, h.period, h.meter, h.max_amount, h.used,
    h.reserved, h.resets_at;
END $$;
