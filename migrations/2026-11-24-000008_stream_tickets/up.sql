-- Tickets for event streams: a browser's EventSource sends no header, and comes back with the same address.

ALTER TABLE ws_tickets
  ADD COLUMN stream_of uuid;                     -- the turn or file; NULL: it opens one WebSocket, once
