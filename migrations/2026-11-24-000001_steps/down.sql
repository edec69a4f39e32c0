DROP FUNCTION extend_turn;
DROP FUNCTION reserve_turn(uuid, uuid, uuid, uuid, uuid, interval, text[], text, bigint, bigint, bigint, bigint, boolean);
DROP FUNCTION hold, dearest;
ALTER TABLE reservations DROP COLUMN quoted;
-- The owner, too, is under row-level security.
ALTER TABLE conversations NO FORCE ROW LEVEL SECURITY;
DELETE FROM conversations WHERE kind = 'api';
ALTER TABLE conversations FORCE ROW LEVEL SECURITY;
DROP INDEX conversations_api;
DROP POLICY passing ON conversations;
REVOKE SELECT, DELETE ON conversations FROM docent_system;
ALTER TABLE conversations DROP COLUMN kind;
ALTER TABLE turns DROP COLUMN steps;
