-- docent's foundation: tenants and people, documents, conversations, the bill, the jobs.
--
-- Rules every table here keeps:
--   * ids are UUIDv7 made by the application; times are timestamptz; tokens are integers;
--     money is integer nano-dollars (10^-9 USD).
--   * a tenant's table has tenant_id first in its primary key, row-level security enabled AND
--     forced, and foreign keys that carry the tenant, so that no row can point into another tenant.
--   * three roles, none of which can log in or bypass row security:
--       docent_app      a tenant's work; sees the rows of `docent.tenant_id` and no others
--       docent_system   background work across tenants (job queue, sweeper, login by slug)
--       docent_billing  reads the views of schema `billing`
--     A transaction switches role with SET LOCAL ROLE and names the tenant with
--     set_config('docent.tenant_id', …, true); a transaction that forgets it sees nothing.

CREATE EXTENSION IF NOT EXISTS vector;

DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['docent_app', 'docent_system', 'docent_billing'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT', r);
        EXECUTE format('GRANT %I TO CURRENT_USER', r);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration
      END;
    END IF;
    IF NOT pg_has_role(current_user, r, 'MEMBER') THEN  -- roles belong to the whole cluster
      RAISE EXCEPTION 'the role % exists in this cluster already; as a superuser: GRANT % TO %',
        r, r, current_user;
    END IF;
  END LOOP;
END $$;

-- After a transaction that used SET LOCAL the setting reads '' instead of NULL: NULLIF keeps the
-- cast from failing, and a comparison with NULL keeps every row out.
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT NULLIF(current_setting('docent.tenant_id', true), '')::uuid $$;

------------------------------------------------------------------------------------------ plans
-- Plans and prices are the operator's, not a tenant's: everybody may read them.

CREATE TABLE plans (
  name text PRIMARY KEY,
  tenant_requests_per_minute int NOT NULL CHECK (tenant_requests_per_minute > 0),
  user_requests_per_minute int NOT NULL CHECK (user_requests_per_minute > 0),
  tenant_tokens_per_minute int NOT NULL CHECK (tenant_tokens_per_minute > 0),
  user_tokens_per_minute int NOT NULL CHECK (user_tokens_per_minute > 0)
);

-- What a plan allows per calendar month (UTC). A meter that is not listed is counted, not limited.
CREATE TABLE plan_quotas (
  plan text NOT NULL REFERENCES plans (name) ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('tenant', 'user')),
  meter text NOT NULL CHECK (meter IN ('requests', 'input_tokens', 'output_tokens', 'embedding_tokens', 'pages')),
  max_amount bigint NOT NULL CHECK (max_amount >= 0),
  PRIMARY KEY (plan, scope, meter)
);

-- Nano-dollars per token; the newest row not in the future is in force. A model without a row has no
-- price: its cost is NULL, never 0.
CREATE TABLE prices (
  model text NOT NULL,
  valid_from timestamptz NOT NULL,
  input_nano_usd bigint NOT NULL CHECK (input_nano_usd >= 0),
  output_nano_usd bigint NOT NULL CHECK (output_nano_usd >= 0),
  PRIMARY KEY (model, valid_from)
);

-- One row per embedding model ever used: vectors of two models are never compared.
CREATE TABLE embedding_models (
  id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name text NOT NULL UNIQUE,
  dimensions int NOT NULL CHECK (dimensions BETWEEN 1 AND 4000)
);

INSERT INTO plans VALUES
  ('free',       120,   30,    200000,   60000),
  ('pro',       1200,  120,   2000000,  400000),
  ('enterprise', 12000, 600, 20000000, 2000000);

INSERT INTO plan_quotas VALUES
  ('free', 'tenant', 'requests',        10000), ('free', 'user', 'requests',       2000),
  ('free', 'tenant', 'input_tokens',  5000000), ('free', 'user', 'input_tokens', 1000000),
  ('free', 'tenant', 'output_tokens', 1000000), ('free', 'user', 'output_tokens', 200000),
  ('free', 'tenant', 'pages',           10000),
  ('pro', 'tenant', 'requests',        200000), ('pro', 'user', 'requests',        20000),
  ('pro', 'tenant', 'input_tokens', 200000000), ('pro', 'user', 'input_tokens', 20000000),
  ('pro', 'tenant', 'output_tokens', 40000000), ('pro', 'user', 'output_tokens', 4000000),
  ('pro', 'tenant', 'pages',           200000);

INSERT INTO prices VALUES
  ('demo', '2025-01-01Z', 0, 0),
  ('gpt-4o-mini', '2025-01-01Z', 150, 600),
  ('gpt-4o', '2025-01-01Z', 2500, 10000),
  ('gpt-4.1', '2025-04-14Z', 2000, 8000),
  ('gpt-4.1-mini', '2025-04-14Z', 400, 1600),
  ('gpt-4.1-nano', '2025-04-14Z', 100, 400);

---------------------------------------------------------------------------------- tenants, people

CREATE TABLE tenants (
  tenant_id uuid PRIMARY KEY,
  slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text NOT NULL,
  plan text NOT NULL DEFAULT 'free' REFERENCES plans (name),
  allow_signup boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  email text NOT NULL CHECK (email = lower(email)),
  name text NOT NULL DEFAULT '',
  role text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'member', 'billing')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, email)
);

-- One live code per address: a new one replaces it. `failures` counts wrong guesses per UTC day and
-- outlives the code, so that asking for new codes buys no new guesses.
CREATE TABLE login_codes (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  email text NOT NULL,
  code_hash bytea,
  attempts int NOT NULL DEFAULT 0,
  expires_at timestamptz NOT NULL,
  failures int NOT NULL DEFAULT 0,
  failures_day date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
  PRIMARY KEY (tenant_id, email)
);

-- A family is one login; every refresh uses up a token and issues the next. Using one twice revokes
-- the family.
CREATE TABLE refresh_tokens (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  family_id uuid NOT NULL,
  token_hash bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX ON refresh_tokens (tenant_id, family_id);

CREATE TABLE ws_tickets (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  ticket_hash bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE TABLE assistants (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  greeting text NOT NULL DEFAULT '',
  instructions text NOT NULL DEFAULT '',
  model text,                                   -- NULL: the server's default model
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, slug)
);

-------------------------------------------------------------------------------------- documents

CREATE TABLE documents (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL,
  media_type text NOT NULL,
  bytes bigint NOT NULL,
  sha256 bytea NOT NULL,
  status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'processing', 'ready', 'failed')),
  stage text NOT NULL DEFAULT 'queued' CHECK (stage IN ('queued', 'extracting', 'chunking', 'embedding', 'indexing', 'done')),
  progress real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
  pages int,
  chunks int,
  error_code text,
  error_message text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, sha256),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX ON documents (tenant_id, created_at DESC, id);

-- The uploaded bytes, in pieces of 1 MiB: they live and die with the document's transaction.
CREATE TABLE document_blobs (
  tenant_id uuid NOT NULL,
  document_id uuid NOT NULL,
  seq int NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (tenant_id, document_id, seq),
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);
ALTER TABLE document_blobs ALTER COLUMN data SET STORAGE EXTERNAL;  -- PDFs are compressed already

CREATE TABLE document_pages (
  tenant_id uuid NOT NULL,
  document_id uuid NOT NULL,
  page int NOT NULL,
  content text NOT NULL,
  PRIMARY KEY (tenant_id, document_id, page),
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);

-- 'english' stems, 'simple' keeps every word: together a question in any language finds its words.
CREATE TABLE chunks (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  document_id uuid NOT NULL,
  seq int NOT NULL,
  page int NOT NULL,
  page_end int NOT NULL,
  tokens int NOT NULL,
  content text NOT NULL,
  tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', content) || to_tsvector('simple', content)) STORED,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, document_id, seq),
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);

-- Vectors apart from text and out of TOAST: an exact scan reads only what it compares. A tenant that
-- grows past the threshold gets a partition of its own with an HNSW index (retrieval/index.rs); all
-- others share the default partition and are scanned exactly behind the primary key.
CREATE TABLE embeddings (
  tenant_id uuid NOT NULL,
  model_id int NOT NULL REFERENCES embedding_models (id),
  chunk_id uuid NOT NULL,
  document_id uuid NOT NULL,
  embedding halfvec NOT NULL,
  PRIMARY KEY (tenant_id, model_id, chunk_id),
  FOREIGN KEY (tenant_id, chunk_id) REFERENCES chunks (tenant_id, id) ON DELETE CASCADE
) PARTITION BY LIST (tenant_id);
ALTER TABLE embeddings ALTER COLUMN embedding SET STORAGE PLAIN;
CREATE TABLE embeddings_shared PARTITION OF embeddings DEFAULT;
CREATE INDEX ON embeddings (tenant_id, chunk_id);

CREATE TABLE jobs (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('ingest')),
  document_id uuid NOT NULL,
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
  attempts int NOT NULL DEFAULT 0,
  max_attempts int NOT NULL DEFAULT 5,
  run_at timestamptz NOT NULL DEFAULT now(),
  owner uuid,
  lease_until timestamptz,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('queued', 'running');

----------------------------------------------------------------------------------- conversations

CREATE TABLE conversations (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  assistant_id uuid NOT NULL,
  title text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, assistant_id) REFERENCES assistants ON DELETE CASCADE
);
CREATE INDEX ON conversations (tenant_id, user_id, updated_at DESC, id);

-- A turn is one question and its answer. `lease_until` is pushed on by the node that runs it; a turn
-- whose lease ran out belonged to a node that died, and the sweeper closes and bills it.
CREATE TABLE turns (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  user_id uuid NOT NULL,
  answer_id uuid NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'complete', 'stopped', 'failed')),
  idempotency_key text,
  request_hash bytea NOT NULL,
  provider text NOT NULL,
  model text NOT NULL,
  owner uuid NOT NULL,
  lease_until timestamptz NOT NULL,
  stop_requested boolean NOT NULL DEFAULT false, -- by another node; the owner looks every second
  prompt_tokens int,                             -- once the model was asked; our own count
  error_code text,
  first_token_ms int,
  latency_ms int,
  created_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE UNIQUE INDEX turns_one_running ON turns (tenant_id, conversation_id) WHERE state = 'running';
CREATE UNIQUE INDEX turns_idempotency ON turns (tenant_id, user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX turns_lease ON turns (lease_until) WHERE state = 'running';

CREATE TABLE messages (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  conversation_id uuid NOT NULL,
  parent_id uuid,
  turn_id uuid NOT NULL,
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  status text NOT NULL DEFAULT 'complete' CHECK (status IN ('complete', 'stopped', 'failed')),
  content text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, parent_id) REFERENCES messages ON DELETE CASCADE
);
CREATE INDEX ON messages (tenant_id, conversation_id, id);

-- The turn's log as clients saw it, in segments of JSON lines: what a client resumes from after a
-- restart, and what the sweeper bills a dead node's turn by.
CREATE TABLE turn_segments (
  tenant_id uuid NOT NULL,
  turn_id uuid NOT NULL,
  first_offset int NOT NULL,
  parts text NOT NULL,
  PRIMARY KEY (tenant_id, turn_id, first_offset),
  FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE
);

-- The passages an answer was given. They quote the document, so they go when it goes.
CREATE TABLE citations (
  tenant_id uuid NOT NULL,
  turn_id uuid NOT NULL,
  index int NOT NULL,
  document_id uuid NOT NULL,
  file_name text NOT NULL,
  page int NOT NULL,
  page_end int NOT NULL,
  snippet text NOT NULL,
  score real NOT NULL,
  PRIMARY KEY (tenant_id, turn_id, index),
  FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, document_id) REFERENCES documents ON DELETE CASCADE
);
CREATE INDEX ON citations (tenant_id, document_id);

-------------------------------------------------------------------------------------------- bill

-- What a scope has used of a meter in a period. A projection: used = sum(usage_ledger) and
-- reserved = sum(open reservations), moved in the same transactions as those rows.
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

-- Append-only: docent_app may insert and read, nothing else. event_id is derived from what was
-- consumed (turn or document, step, meter), so a second settlement of the same thing is a conflict.
-- It outlives the conversation and the document it was for: no foreign keys to either.
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

---------------------------------------------------------------------------- row-level security

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY[
    'tenants', 'users', 'login_codes', 'refresh_tokens', 'ws_tickets', 'assistants',
    'documents', 'document_blobs', 'document_pages', 'chunks', 'embeddings', 'embeddings_shared', 'jobs',
    'conversations', 'turns', 'messages', 'turn_segments', 'citations',
    'quotas', 'reservations', 'usage_ledger'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
  -- Across tenants, and only what the background needs: login by slug, the queue, the sweeper.
  FOREACH t IN ARRAY ARRAY['tenants', 'assistants', 'users', 'jobs', 'turns', 'ws_tickets', 'refresh_tokens'] LOOP
    EXECUTE format('CREATE POLICY system ON %I TO docent_system USING (true) WITH CHECK (true)', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['tenants', 'quotas', 'reservations', 'usage_ledger'] LOOP
    EXECUTE format('CREATE POLICY billing ON %I FOR SELECT TO docent_billing USING (true)', t);
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO docent_app, docent_system, docent_billing;
GRANT SELECT ON plans, plan_quotas, prices, embedding_models TO docent_app, docent_system;
GRANT INSERT ON embedding_models TO docent_system;
GRANT SELECT, UPDATE ON tenants TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
  users, login_codes, refresh_tokens, ws_tickets, assistants, documents, document_blobs, document_pages,
  chunks, embeddings, embeddings_shared, jobs, conversations, turns, messages, turn_segments, citations, quotas, reservations
  TO docent_app;
GRANT SELECT, INSERT ON usage_ledger TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants TO docent_system;
GRANT SELECT, INSERT ON users, assistants TO docent_system;
GRANT SELECT, UPDATE ON jobs, turns TO docent_system;
GRANT SELECT, DELETE ON ws_tickets, refresh_tokens TO docent_system;

----------------------------------------------------------------------------------- for billing
-- Versioned, read-only views. security_invoker: they show what docent_billing's own policies show.

CREATE SCHEMA billing;
GRANT USAGE ON SCHEMA billing TO docent_billing;
GRANT SELECT ON tenants, quotas, reservations, usage_ledger TO docent_billing;

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
