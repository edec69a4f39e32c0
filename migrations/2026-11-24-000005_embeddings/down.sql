-- Vectors of a move that has not ended go: nothing would read or delete them.
ALTER TABLE embeddings NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tenant_embeddings NO FORCE ROW LEVEL SECURITY;
ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY;
DELETE FROM embeddings e USING tenant_embeddings t
  WHERE e.tenant_id = t.tenant_id AND e.model_id IN (t.next_model_id, t.old_model_id);
DELETE FROM jobs WHERE kind = 'embed';
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE embeddings FORCE ROW LEVEL SECURITY;
DROP INDEX jobs_embed, jobs_due;
CREATE INDEX jobs_due ON jobs (run_at) WHERE state IN ('queued', 'running');
ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check, ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('ingest'));
DROP TABLE tenant_embeddings;
REVOKE UPDATE ON embedding_models FROM docent_system;
ALTER TABLE embedding_models DROP COLUMN provider, DROP COLUMN model, DROP COLUMN shortened,
  DROP COLUMN batch_texts, DROP COLUMN batch_tokens, DROP COLUMN text_tokens;
