-- Models are data: who provides them, what they can do, which may answer, and under whose key.
-- What they cost is in `prices`, by the same ids.

-- Who answers. Without a base URL: the one in the settings, with the key in the settings. `key_variable`
-- is the NAME of an environment variable; its form keeps other secrets of the process out of reach.
CREATE TABLE providers (
  name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
  kind text NOT NULL CHECK (kind IN ('openai', 'anthropic', 'gemini', 'demo')),
  base_url text CHECK (base_url ~ '^https?://'),
  key_variable text CHECK (key_variable ~ '^[A-Z][A-Z0-9_]{0,60}_API_KEY$'),
  CHECK (key_variable IS NULL OR base_url IS NOT NULL)
);

INSERT INTO providers (name, kind) VALUES
  ('openai', 'openai'), ('anthropic', 'anthropic'), ('gemini', 'gemini'), ('demo', 'demo');

CREATE TABLE models (
  id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$'),  -- as it is shown and billed
  provider text NOT NULL REFERENCES providers (name),
  name text NOT NULL CHECK (name <> ''),                                     -- as its provider calls it
  context_window int NOT NULL CHECK (context_window > 0),                    -- prompt and answer, in tokens
  max_output int NOT NULL CHECK (max_output > 0),
  tools boolean NOT NULL DEFAULT false,
  images boolean NOT NULL DEFAULT false,
  json_schema boolean NOT NULL DEFAULT false,
  reasoning boolean NOT NULL DEFAULT false,
  enabled boolean NOT NULL DEFAULT true,
  connect_ms int NOT NULL DEFAULT 20000 CHECK (connect_ms > 0),              -- until the response begins
  first_token_ms int NOT NULL DEFAULT 30000 CHECK (first_token_ms > 0),
  idle_ms int NOT NULL DEFAULT 20000 CHECK (idle_ms > 0),                    -- between two pieces
  total_ms int NOT NULL DEFAULT 300000 CHECK (total_ms > 0)
);

-- A name that assistants use, and the models it stands for: in this order, or drawn by weight.
CREATE TABLE routes (
  name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  models text[] NOT NULL CHECK (cardinality(models) BETWEEN 1 AND 16),
  weights int[] CHECK (cardinality(weights) = cardinality(models) AND 0 < ALL (weights)),
  after_cut text NOT NULL DEFAULT 'continue' CHECK (after_cut IN ('continue', 'end'))
);

-- A tenant's own; it goes before the server's of the same name.
CREATE TABLE tenant_routes (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  models text[] NOT NULL CHECK (cardinality(models) BETWEEN 1 AND 16),
  weights int[] CHECK (cardinality(weights) = cardinality(models) AND 0 < ALL (weights)),
  after_cut text NOT NULL DEFAULT 'continue' CHECK (after_cut IN ('continue', 'end')),
  PRIMARY KEY (tenant_id, name)
);

-- Which models a plan allows; no row: all. A tenant's own row holds instead of its plan's.
CREATE TABLE plan_models (
  plan text PRIMARY KEY REFERENCES plans (name) ON DELETE CASCADE,
  models text[] NOT NULL
);
CREATE TABLE tenant_models (
  tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
  models text[] NOT NULL
);

-- A tenant's own key at a provider, sealed with a key that is not in the database.
CREATE TABLE provider_keys (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  provider text NOT NULL REFERENCES providers (name) ON DELETE CASCADE,
  sealed bytea NOT NULL,
  last_four text NOT NULL CHECK (length(last_four) <= 4),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, provider)
);

-- What the operator changed for everybody; `audit_log` has what was done to one tenant. Append-only.
CREATE TABLE operator_log (
  id uuid PRIMARY KEY,
  actor text NOT NULL,
  action text NOT NULL,
  detail jsonb NOT NULL,
  request_id text,
  created_at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenant_routes', 'tenant_models', 'provider_keys'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
END $$;

GRANT SELECT ON providers, models, routes, plan_models TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON providers, models, routes, plan_models TO docent_system;
GRANT SELECT, INSERT ON operator_log TO docent_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_routes, tenant_models, provider_keys TO docent_app;
