DROP POLICY exports ON tenants;
REVOKE SELECT ON billing.ledger_v1, tenants FROM docent_ledger;
REVOKE USAGE ON SCHEMA public, billing FROM docent_ledger;
DROP TABLE outbox, export_customers, export_parked, export_cursors;
DROP SEQUENCE outbox_seq;
