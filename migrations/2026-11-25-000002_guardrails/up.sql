-- What a tenant keeps out of questions and answers; and what is remembered of a conversation that has become
-- too long for a prompt.

CREATE TABLE filters (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  stage text NOT NULL CHECK (stage IN ('input', 'output')),
  pattern text NOT NULL CHECK (pattern <> ''),      -- a regular expression
  action text NOT NULL CHECK (action IN ('block', 'redact')),
  text text NOT NULL CHECK (text <> ''),            -- for the reader; or in the place of what matches
  assistant_id uuid,                                -- NULL: whoever answers
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, assistant_id) REFERENCES assistants ON DELETE CASCADE
);
CREATE INDEX ON filters (tenant_id, assistant_id) WHERE assistant_id IS NOT NULL;

-- What was said on a branch up to a message, that message included.
CREATE TABLE summaries (
  tenant_id uuid NOT NULL,
  message_id uuid NOT NULL,
  content text NOT NULL CHECK (content <> ''),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, message_id),
  FOREIGN KEY (tenant_id, message_id) REFERENCES messages ON DELETE CASCADE
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['filters', 'summaries'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON filters TO docent_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON summaries TO docent_app;
