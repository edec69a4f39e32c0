-- What the FastAPI service keeps, and a copy of the chunks that docent searches: no row-level security, plain indexes.
CREATE SCHEMA peer;
SET search_path = peer, public;
SET maintenance_work_mem = '512MB';

CREATE TABLE people (
  id bigint PRIMARY KEY,
  key_hash bytea NOT NULL UNIQUE,
  tokens_allowed bigint NOT NULL,
  tokens_used bigint NOT NULL DEFAULT 0,
  tokens_reserved bigint NOT NULL DEFAULT 0
);
INSERT INTO people (id, key_hash, tokens_allowed)
  SELECT n, sha256(convert_to('key-' || n, 'UTF8')), 1000000000000 FROM generate_series(0, 9) n;

CREATE TABLE turns (
  id uuid PRIMARY KEY,
  person_id bigint NOT NULL REFERENCES people,
  question text NOT NULL,
  answer text,
  state text NOT NULL DEFAULT 'running',
  reserved bigint NOT NULL,
  input_tokens bigint,
  output_tokens bigint,
  asked_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz
);
CREATE INDEX ON turns (person_id, asked_at);

CREATE TABLE chunks AS
  SELECT c.id, d.name AS file_name, c.page, c.content,
    to_tsvector('english', c.content) AS words, e.embedding::halfvec(384) AS embedding
  FROM public.chunks c
    JOIN public.documents d ON d.tenant_id = c.tenant_id AND d.id = c.document_id
    JOIN public.embeddings e ON e.tenant_id = c.tenant_id AND e.chunk_id = c.id;
ALTER TABLE chunks ADD PRIMARY KEY (id);
CREATE INDEX ON chunks USING gin (words);
CREATE INDEX ON chunks USING hnsw (embedding halfvec_cosine_ops);
ANALYZE;
