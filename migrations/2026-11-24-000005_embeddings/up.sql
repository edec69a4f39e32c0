-- Several embedding models in one server, which tenant's documents have which, and the way from one to another.

-- Who computes the vectors, and what a request may hold. `name` is the vector space; `model` is the provider's word.
ALTER TABLE embedding_models
  ADD COLUMN provider text NOT NULL DEFAULT 'openai' REFERENCES providers (name),
  ADD COLUMN model text CHECK (model <> ''),
  ADD COLUMN shortened boolean NOT NULL DEFAULT false,                               -- asked for fewer dimensions than it has
  ADD COLUMN batch_texts int NOT NULL DEFAULT 128 CHECK (batch_texts > 0),           -- of one request
  ADD COLUMN batch_tokens int NOT NULL DEFAULT 100000 CHECK (batch_tokens > 0),
  ADD COLUMN text_tokens int NOT NULL DEFAULT 8191 CHECK (text_tokens > 0);          -- a longer text is cut
UPDATE embedding_models SET
  provider = CASE name WHEN 'hashed-ngram-384' THEN 'demo' ELSE 'openai' END,
  model = CASE name WHEN 'hashed-ngram-384' THEN name ELSE regexp_replace(name, '-[0-9]+$', '') END;
ALTER TABLE embedding_models ALTER COLUMN model SET NOT NULL, ALTER COLUMN provider DROP DEFAULT;
INSERT INTO embedding_models (name, dimensions, provider, model) VALUES ('hashed-ngram-384', 384, 'demo', 'hashed-ngram-384')
  ON CONFLICT DO NOTHING;
GRANT UPDATE ON embedding_models TO docent_system;

-- A tenant's model is that of its first document, until the operator moves it: then new vectors are written beside
-- the old ones, and questions go on with the old ones to the last document. No row: no document yet.
CREATE TABLE tenant_embeddings (
  tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
  model_id int NOT NULL REFERENCES embedding_models (id),
  next_model_id int REFERENCES embedding_models (id) CHECK (next_model_id <> model_id),  -- it is being moved there
  old_model_id int REFERENCES embedding_models (id)                                      -- whose vectors are being deleted
    CHECK (old_model_id <> model_id AND old_model_id <> next_model_id),
  changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenant_embeddings_unfinished ON tenant_embeddings (tenant_id)
  WHERE next_model_id IS NOT NULL OR old_model_id IS NOT NULL;

-- Where a tenant had two models, the one of its newest vectors answered.
ALTER TABLE embeddings NO FORCE ROW LEVEL SECURITY;
INSERT INTO tenant_embeddings (tenant_id, model_id)
  SELECT tenant_id, max(model_id) FROM embeddings GROUP BY tenant_id;
ALTER TABLE embeddings FORCE ROW LEVEL SECURITY;

ALTER TABLE tenant_embeddings ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_embeddings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenant_embeddings TO docent_app
  USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY system ON tenant_embeddings FOR SELECT TO docent_system USING (true);
GRANT SELECT, INSERT, UPDATE ON tenant_embeddings TO docent_app;
GRANT SELECT ON tenant_embeddings TO docent_system;

-- One job for each document of a tenant that moves. Uploads go first, whatever waits.
ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check, ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('ingest', 'embed'));
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (kind DESC, run_at) WHERE state IN ('queued', 'running');
CREATE UNIQUE INDEX jobs_embed ON jobs (tenant_id, document_id) WHERE kind = 'embed';
