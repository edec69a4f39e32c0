-- Assistants that people edit: a draft, numbered versions, one of them published; documents in collections,
-- to which an assistant may be limited.

-- The columns of `assistants` are the published version's, so that a turn reads one row. `draft` is the same
-- as JSON, with what is edited; `revision` counts every change, and who edits an older one is told so.
ALTER TABLE assistants
  ADD COLUMN temperature real CHECK (temperature BETWEEN 0 AND 2),  -- NULL: the provider's own
  ADD COLUMN language text,                       -- a BCP 47 tag; NULL: that of the question
  ADD COLUMN collections text[] NOT NULL DEFAULT '{}' CHECK (array_position(collections, NULL) IS NULL),
  ADD COLUMN tools text[] NOT NULL DEFAULT '{}' CHECK (array_position(tools, NULL) IS NULL),
  ADD COLUMN draft jsonb,
  ADD COLUMN revision int NOT NULL DEFAULT 1,
  ADD COLUMN version int,                         -- NULL: never published
  ADD COLUMN archived_at timestamptz;             -- asked no more, but in the conversations that it has

CREATE TABLE assistant_versions (
  tenant_id uuid NOT NULL,
  assistant_id uuid NOT NULL,
  number int NOT NULL CHECK (number > 0),
  body jsonb NOT NULL,
  user_id uuid,                                   -- NULL: it came with the tenant
  note text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, assistant_id, number),
  FOREIGN KEY (tenant_id, assistant_id) REFERENCES assistants ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE SET NULL (user_id)
);

-- The assistants that are there are published as they are. The owner of a table passes its row security only
-- while that is not forced.
ALTER TABLE assistants NO FORCE ROW LEVEL SECURITY;
UPDATE assistants SET version = 1, draft = jsonb_build_object(
  'name', name, 'description', description, 'greeting', greeting, 'instructions', instructions, 'model', model,
  'temperature', NULL, 'language', NULL, 'collections', '[]'::jsonb, 'tools', '[]'::jsonb);
INSERT INTO assistant_versions (tenant_id, assistant_id, number, body, created_at)
  SELECT tenant_id, id, 1, draft, created_at FROM assistants;
ALTER TABLE assistants FORCE ROW LEVEL SECURITY;
ALTER TABLE assistants ALTER COLUMN draft SET NOT NULL;

ALTER TABLE assistant_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE assistant_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON assistant_versions TO docent_app
  USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY system ON assistant_versions FOR INSERT TO docent_system WITH CHECK (true);
GRANT SELECT, INSERT ON assistant_versions TO docent_app;
GRANT INSERT ON assistant_versions TO docent_system;  -- a new tenant's first assistant

-- A conversation in which an owner tries a draft: its questions are asked of the draft, and no list has it.
ALTER TABLE conversations DROP CONSTRAINT conversations_kind_check,
  ADD CONSTRAINT conversations_kind_check CHECK (kind IN ('chat', 'api', 'trial'));
-- Whether anybody talks with an assistant.
CREATE INDEX ON conversations (tenant_id, assistant_id);

ALTER TABLE documents ADD COLUMN collection text CHECK (collection <> '');
CREATE INDEX ON documents (tenant_id, collection) WHERE collection IS NOT NULL;
-- From a small collection to its vectors, without passing all others.
CREATE INDEX ON embeddings (tenant_id, document_id);
