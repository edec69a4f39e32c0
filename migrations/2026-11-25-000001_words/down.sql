DROP FUNCTION search_chunks, count_words;
DROP SCHEMA search CASCADE;
DROP TABLE tenant_words, common_words;
DROP POLICY search ON chunks;
DROP INDEX chunks_words;
DROP FUNCTION chunk_words, word_key;
REVOKE SELECT (tenant_id, id, document_id, tsv) ON chunks FROM docent_search;
REVOKE USAGE ON SCHEMA public FROM docent_search;
ALTER TABLE chunks
  DROP COLUMN tsv,
  ADD COLUMN tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', content) || to_tsvector('simple', content)) STORED;
