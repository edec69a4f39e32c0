-- Tools that tenants define: requests over HTTP that their assistants may make, and the approvals that
-- people give before they are made.

CREATE TABLE tenant_tools (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL CHECK (name ~ '^[A-Za-z0-9_-]{1,64}$'),
  description text NOT NULL,
  parameters jsonb NOT NULL,                      -- a JSON schema of an object
  method text NOT NULL CHECK (method IN ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
  url text NOT NULL,                              -- with {…} in its path and its query
  header_names text[] NOT NULL CHECK (array_position(header_names, NULL) IS NULL),
  headers bytea,                                  -- sealed with a key that is not in the database; NULL: none
  needs_approval boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name)
);

-- A call that waits for a word of whoever asked the turn's question. It is given once.
CREATE TABLE approvals (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  turn_id uuid NOT NULL,
  call_id text NOT NULL,
  tool text NOT NULL,
  arguments text NOT NULL,
  signature text,                                 -- what the provider wants back with the call
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'declined')),
  created_at timestamptz NOT NULL DEFAULT now(),
  decided_at timestamptz,
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, turn_id) REFERENCES turns ON DELETE CASCADE
);
CREATE INDEX ON approvals (tenant_id, turn_id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenant_tools', 'approvals'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_tools TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON approvals TO docent_app;
