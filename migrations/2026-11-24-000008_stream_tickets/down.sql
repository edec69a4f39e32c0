-- They would open WebSockets.
DELETE FROM ws_tickets WHERE stream_of IS NOT NULL;
ALTER TABLE ws_tickets DROP COLUMN stream_of;
