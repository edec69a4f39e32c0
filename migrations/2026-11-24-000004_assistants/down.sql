DROP INDEX embeddings_tenant_id_document_id_idx;
ALTER TABLE documents DROP COLUMN collection;
DROP INDEX conversations_tenant_id_assistant_id_idx;
ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY;
DELETE FROM conversations WHERE kind = 'trial';
ALTER TABLE conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE conversations DROP CONSTRAINT conversations_kind_check,
  ADD CONSTRAINT conversations_kind_check CHECK (kind IN ('chat', 'api'));
DROP TABLE assistant_versions;
-- What was never published was never asked.
ALTER TABLE assistants NO FORCE ROW LEVEL SECURITY;
DELETE FROM assistants WHERE version IS NULL;
ALTER TABLE assistants FORCE ROW LEVEL SECURITY;
ALTER TABLE assistants
  DROP COLUMN temperature, DROP COLUMN language, DROP COLUMN collections, DROP COLUMN tools, DROP COLUMN draft,
  DROP COLUMN revision, DROP COLUMN version, DROP COLUMN archived_at;
