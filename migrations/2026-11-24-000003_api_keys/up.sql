-- Keys for programs. A key acts as the user it belongs to, within its scopes.

CREATE TABLE api_keys (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  user_id uuid NOT NULL,
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
  scopes text[] NOT NULL CHECK (cardinality(scopes) > 0
    AND scopes <@ ARRAY['chat', 'files', 'usage', 'billing', 'admin']),
  key_hash bytea NOT NULL,                       -- SHA-256 of 256 random bits: there is nothing to guess
  hint text NOT NULL,                            -- the last characters, to tell keys apart
  -- What the key was before it was rotated, and until when that works.
  previous_hash bytea,
  previous_until timestamptz,
  requests_per_minute int CHECK (requests_per_minute > 0),   -- NULL: the user's limits alone
  tokens_per_minute int CHECK (tokens_per_minute > 0),
  expires_at timestamptz,
  last_used_at timestamptz,                      -- written once a minute at most
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
  CHECK ((previous_hash IS NULL) = (previous_until IS NULL))
);
CREATE INDEX ON api_keys (tenant_id, user_id);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys TO docent_app
  USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO docent_app;

-- A socket that a key opened may do what the key may.
ALTER TABLE ws_tickets
  ADD COLUMN api_key_id uuid,
  ADD FOREIGN KEY (tenant_id, api_key_id) REFERENCES api_keys ON DELETE CASCADE;
