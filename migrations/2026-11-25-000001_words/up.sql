-- Full-text search that reads a bounded part of a tenant, however much the tenant has.
--
--   docent_search   owns the one function that looks words up past row-level security, in an index
--
-- Under row-level security a condition may use an index only if its operator is leakproof. Those of words are
-- not, so a search under the tenant's own role reads every chunk. `search.chunks_with` lends the right to read
-- the index, and nothing else: it takes no tenant, but asks for the same setting that all policies ask for.
-- Everything around it (collections, ranking) runs as whoever asks.
--
-- On a large database this takes a while, about a minute for 100,000 chunks, and nothing reads or writes chunks
-- meanwhile: the words are computed anew and indexed, in the migration's transaction (so not CONCURRENTLY).

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'docent_search') THEN
    BEGIN
      CREATE ROLE docent_search NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;
      GRANT docent_search TO CURRENT_USER;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration
    END;
  END IF;
  IF NOT pg_has_role(current_user, 'docent_search', 'MEMBER') THEN
    RAISE EXCEPTION 'the role docent_search exists in this cluster already; as a superuser: GRANT docent_search TO %',
      current_user;
  END IF;
END $$;

-- English stems alone: questions are stemmed in the same way, and words of other languages pass as they are. Out of
-- TOAST, as ranking reads it of many chunks; the text, which is read of few, makes room for it.
ALTER TABLE chunks
  DROP COLUMN tsv,
  ADD COLUMN tsv tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
  ALTER COLUMN tsv SET STORAGE MAIN;

-- A word as the index has it: with the tenant in it, so that each tenant has postings of its own, whatever is
-- common elsewhere. Some words are in so many chunks that only those are worth a look where they are
-- `often` (three times or more).
CREATE FUNCTION word_key(tenant_id uuid, word text, often boolean) RETURNS bigint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT hashtextextended(word COLLATE "C", hashtextextended(tenant_id::text COLLATE "C", often::int)) $$;

CREATE FUNCTION chunk_words(tenant_id uuid, tsv tsvector) RETURNS bigint[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 AS $$
  SELECT array_agg(public.word_key(tenant_id, word.lexeme, tier.often))
  FROM unnest(tsv) word JOIN (VALUES (1, false), (3, true)) tier (times, often)
    ON cardinality(word.positions) >= tier.times
$$;

-- No list of what is still to be put in: every search would read all of it.
CREATE INDEX chunks_words ON chunks USING gin (chunk_words(tenant_id, tsv)) WITH (fastupdate = off);

CREATE POLICY search ON chunks FOR SELECT TO docent_search USING (true);
GRANT SELECT (tenant_id, id, document_id, tsv) ON chunks TO docent_search;
GRANT USAGE ON SCHEMA public TO docent_search;
CREATE SCHEMA search AUTHORIZATION docent_search;

SET LOCAL ROLE docent_search;
GRANT USAGE ON SCHEMA search TO docent_app;
-- Up to `most` chunks of the current tenant that have all of `words`, in no order. OFFSET 0 and the settings leave the
-- planner no other way than the index of words: with its guesses it may take one by tenant.
CREATE FUNCTION search.chunks_with(words bigint[], most int) RETURNS TABLE (id uuid, document_id uuid)
  LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
  SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  tenant uuid := public.current_tenant();
BEGIN
  RETURN QUERY SELECT found.id, found.document_id
    FROM (SELECT c.tenant_id, c.id, c.document_id FROM public.chunks c
          WHERE public.chunk_words(c.tenant_id, c.tsv) @> words OFFSET 0) found
    WHERE found.tenant_id = tenant LIMIT most;
END $$;
REVOKE EXECUTE ON FUNCTION search.chunks_with FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search.chunks_with TO docent_app;
SET LOCAL ROLE NONE;

-- How many chunks a tenant had when its words were counted, and in about how many of them a common word was.
CREATE TABLE tenant_words (
  tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
  chunks bigint NOT NULL
);
CREATE TABLE common_words (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  word bigint NOT NULL,
  chunks bigint NOT NULL,
  PRIMARY KEY (tenant_id, word)
);
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenant_words', 'common_words'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_words, common_words TO docent_app;

-- Counts the words of the current tenant in a sample, if it has grown or shrunk by a fifth since they were counted.
CREATE FUNCTION count_words() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  tenant uuid := current_tenant();
  counted bigint := (SELECT count(*) FROM chunks c WHERE c.tenant_id = tenant);
BEGIN
  IF EXISTS (SELECT FROM tenant_words t WHERE t.tenant_id = tenant AND counted BETWEEN t.chunks * 0.8 AND t.chunks * 1.2) THEN
    RETURN;
  END IF;
  INSERT INTO tenant_words VALUES (tenant, counted) ON CONFLICT (tenant_id) DO UPDATE SET chunks = excluded.chunks;
  DELETE FROM common_words WHERE tenant_id = tenant;
  INSERT INTO common_words
    WITH sample AS MATERIALIZED (
      SELECT c.id FROM chunks c WHERE c.tenant_id = tenant ORDER BY random() LIMIT 5000),
    seen AS (
      SELECT word, count(*) * counted / least(counted, 5000) AS chunks, count(*) AS times
      FROM sample JOIN chunks c ON c.tenant_id = tenant AND c.id = sample.id,
           unnest(chunk_words(c.tenant_id, c.tsv)) word
      GROUP BY word)
    SELECT tenant, word, chunks FROM seen WHERE chunks >= 100 AND times >= 3;
END $$;

-- The best `most` chunks of the current tenant for a question, of the documents in `collections` or of all ('{}'), best
-- first. What it costs is bounded:
--   * of the question the 16 rarest words count; one that is not known to be common is in `few` chunks;
--   * from the rarest on, words are looked up while together they are expected in at most `budget` chunks; more common
--     ones where they are often, while that lasts, and where they are all together;
--   * of what is found the `ranked` best by the weights of the words they were found by are ranked by all words. A word
--     weighs as much as it is rare, and the second and third time less and less (ts_rank).
-- A word in more than `widest` chunks tells little: chunks that have it once or twice are left to the vectors, unless a
-- rarer word finds them.
CREATE FUNCTION search_chunks(question text, most int, collections text[])
  RETURNS TABLE (id uuid, score double precision) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  few CONSTANT int := 25;
  widest CONSTANT int := 5000;      -- postings that are read for one lookup
  tenant uuid := current_tenant();
  everywhere boolean := collections = '{}';
  budget int := CASE WHEN everywhere THEN 500 ELSE 2000 END;
  each int := CASE WHEN everywhere THEN 300 ELSE 2000 END;
  ranked int := CASE WHEN everywhere THEN 150 ELSE 300 END;
  counted double precision := greatest((SELECT t.chunks FROM tenant_words t WHERE t.tenant_id = tenant), 1);
BEGIN
  RETURN QUERY
  WITH asked AS MATERIALIZED (
    SELECT row_number() OVER rarest AS n, sum(w.chunks) OVER rarest AS total, w.*
    FROM (SELECT lexeme, key, often, known, coalesce(known, few) AS chunks, coalesce(known_often, few) AS often_chunks
          FROM unnest(tsvector_to_array(to_tsvector('english', left(question, 10000)))) lexeme
          CROSS JOIN LATERAL (SELECT word_key(tenant, lexeme, false) AS key, word_key(tenant, lexeme, true) AS often) k
          CROSS JOIN LATERAL (SELECT
            (SELECT c.chunks FROM common_words c WHERE c.tenant_id = tenant AND c.word = key) AS known,
            (SELECT c.chunks FROM common_words c WHERE c.tenant_id = tenant AND c.word = often) AS known_often) c
          ORDER BY chunks, key LIMIT 16) w
    WINDOW rarest AS (ORDER BY w.chunks, w.key)),
  common AS MATERIALIZED (
    SELECT n, key, often, chunks, sum(often_chunks) OVER (ORDER BY often_chunks, key) AS total,
           counted * exp(sum(ln(chunks / counted)) OVER (ORDER BY n) - ln(chunks / counted)) AS left_by_rarer
    FROM asked WHERE total > budget),
  lookups AS (
    SELECT ARRAY[n] AS of, ARRAY[key] AS words FROM asked WHERE total <= budget OR (n = 1 AND chunks <= widest)
    UNION
    SELECT ARRAY[n], ARRAY[often] FROM common WHERE total <= budget
    UNION
    SELECT array_agg(n), array_agg(key) FROM common WHERE left_by_rarer > each HAVING min(chunks) <= widest),
  places AS MATERIALIZED (
    SELECT d.id, sum(d.chunks) OVER () AS chunks FROM documents d
    WHERE NOT everywhere AND d.tenant_id = tenant AND d.collection = ANY(collections)),
  found AS MATERIALIZED (
    SELECT l.of, c.id FROM lookups l CROSS JOIN LATERAL search.chunks_with(l.words, each) c
    WHERE everywhere OR c.document_id IN (SELECT p.id FROM places p)
    UNION ALL  -- a small collection is read whole
    SELECT '{}', c.id FROM places p CROSS JOIN LATERAL (
      SELECT c.id FROM chunks c WHERE c.tenant_id = tenant AND c.document_id = p.id OFFSET 0) c
    WHERE p.chunks <= ranked),
  weighed AS MATERIALIZED (
    SELECT a.n, ln(1 + counted / coalesce(a.known, f.chunks)) AS weight,
           ('''' || replace(replace(a.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS query
    FROM asked a LEFT JOIN (SELECT of[1] AS n, count(*) AS chunks FROM found WHERE cardinality(of) = 1 GROUP BY 1) f
      ON f.n = a.n),
  best AS MATERIALIZED (
    SELECT f.id FROM found f LEFT JOIN weighed w ON w.n = ANY(f.of)
    GROUP BY f.id ORDER BY sum(w.weight) DESC NULLS LAST, f.id LIMIT ranked)
  -- One by one: in a plan that is made once for tenants of any size the whole tenant may look cheap.
  SELECT r.id, r.score FROM best b CROSS JOIN LATERAL (
    SELECT c.id, (SELECT sum(w.weight * ts_rank(c.tsv, w.query, 1)) FROM weighed w) AS score
    FROM chunks c WHERE c.tenant_id = tenant AND c.id = b.id LIMIT 1) r
  WHERE r.score > 0 ORDER BY 2 DESC, 1 LIMIT most;
END $$;

-- The tenants that are there.
DO $$
DECLARE tenant uuid;
BEGIN
  SET LOCAL ROLE docent_system;
  FOR tenant IN SELECT unnest(array_agg(t.tenant_id)) FROM tenants t LOOP
    SET LOCAL ROLE docent_app;
    PERFORM set_config('docent.tenant_id', tenant::text, true);
    PERFORM count_words();
  END LOOP;
  SET LOCAL ROLE NONE;
  PERFORM set_config('docent.tenant_id', '', true);
END $$;
