DROP SCHEMA billing CASCADE;
DROP TABLE usage_ledger, reservations, quotas, citations, turn_segments, messages, turns, conversations,
  jobs, embeddings, chunks, document_pages, document_blobs, documents, assistants, ws_tickets,
  refresh_tokens, login_codes, users, tenants, embedding_models, prices, plan_quotas, plans CASCADE;
DROP FUNCTION current_tenant();
REVOKE USAGE ON SCHEMA public FROM docent_app, docent_system, docent_billing;
-- The roles belong to the whole cluster and may serve other databases: they stay.
