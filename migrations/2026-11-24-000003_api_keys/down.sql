-- Programs that have keys must log in as people again.

ALTER TABLE ws_tickets DROP COLUMN api_key_id;
DROP TABLE api_keys;
