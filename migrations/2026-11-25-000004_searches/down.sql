DROP FUNCTION extend_turn(uuid, uuid, text[], bigint, bigint, bigint, bigint);
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
