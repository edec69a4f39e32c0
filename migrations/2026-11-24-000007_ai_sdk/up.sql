-- Clients of the AI SDK name their chats themselves.
ALTER TABLE conversations ADD COLUMN client_id text CHECK (client_id <> '');
-- A name is its user's: two users may have the same, and two questions at once begin one conversation.
CREATE UNIQUE INDEX conversations_client_id ON conversations (tenant_id, user_id, client_id)
  WHERE client_id IS NOT NULL;
