-- Turns that survive their node, branches of a conversation, and how many turns may run at once.

-- One row per server process. Its lease, renewed every second, is the lease of every turn it runs:
-- a turn whose node has no lease belonged to a node that died, and the sweeper closes and bills it.
CREATE TABLE nodes (
  id uuid PRIMARY KEY,
  lease_until timestamptz NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON nodes TO docent_system;
GRANT SELECT ON nodes TO docent_app;

DROP INDEX turns_lease;
ALTER TABLE turns DROP COLUMN lease_until;
CREATE INDEX turns_running ON turns (owner) WHERE state = 'running';

-- The question a turn answers: its own, or, when an answer is regenerated, an earlier turn's.
ALTER TABLE turns ADD COLUMN question_id uuid;
-- The last message of the branch that the user looks at; NULL before the first one.
ALTER TABLE conversations ADD COLUMN leaf_id uuid;

-- What is there already belongs to one branch. The owner, too, is under row-level security.
ALTER TABLE turns NO FORCE ROW LEVEL SECURITY;
ALTER TABLE messages NO FORCE ROW LEVEL SECURITY;
ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY;
UPDATE turns t SET question_id = m.id FROM messages m
  WHERE m.tenant_id = t.tenant_id AND m.turn_id = t.id AND m.role = 'user';
UPDATE conversations c SET leaf_id = (
  SELECT m.id FROM messages m WHERE m.tenant_id = c.tenant_id AND m.conversation_id = c.id
  ORDER BY m.id DESC LIMIT 1);
ALTER TABLE turns FORCE ROW LEVEL SECURITY;
ALTER TABLE messages FORCE ROW LEVEL SECURITY;
ALTER TABLE conversations FORCE ROW LEVEL SECURITY;
ALTER TABLE turns ALTER COLUMN question_id SET NOT NULL;
CREATE INDEX ON messages (tenant_id, parent_id);

-- Turns that may run at once.
ALTER TABLE plans
  ADD COLUMN tenant_concurrent_turns int NOT NULL DEFAULT 20 CHECK (tenant_concurrent_turns > 0),
  ADD COLUMN user_concurrent_turns int NOT NULL DEFAULT 4 CHECK (user_concurrent_turns > 0);
UPDATE plans SET tenant_concurrent_turns = 100, user_concurrent_turns = 10 WHERE name = 'pro';
UPDATE plans SET tenant_concurrent_turns = 1000, user_concurrent_turns = 50 WHERE name = 'enterprise';

-- Logs are kept for a while after a turn ended, keys for a day: the janitor deletes them.
CREATE POLICY system ON turn_segments TO docent_system USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON turn_segments TO docent_system;
