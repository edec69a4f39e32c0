ALTER TABLE conversations DROP COLUMN client_id;
