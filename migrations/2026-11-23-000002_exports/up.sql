-- The way of the ledger to billing systems: how far each exporter is, what a vendor refused, who a
-- tenant is at a vendor; and the outbox of notices that the webhook tells.

-- docent_ledger reads the ledger across tenants and owns the rows of these tables.
DO $$
DECLARE r text;
BEGIN
  FOREACH r IN ARRAY ARRAY['docent_ledger'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT', r);
        EXECUTE format('GRANT %I TO CURRENT_USER', r);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database's migration
      END;
    END IF;
    IF NOT pg_has_role(current_user, r, 'MEMBER') THEN  -- roles belong to the whole cluster
      RAISE EXCEPTION 'the role % exists in this cluster already; as a superuser: GRANT % TO %',
        r, r, current_user;
    END IF;
  END LOOP;
END $$;

-- Everything up to ledger_seq has been decided: taken by the vendor, or parked. One node at a time
-- exports: the one that holds the lease. Rows up to doubt_seq may have reached the vendor without our
-- hearing of it, since doubt_since: a vendor that forgets ids is not sent them blindly after that time.
CREATE TABLE export_cursors (
  exporter text PRIMARY KEY,
  ledger_seq bigint NOT NULL DEFAULT 0,
  doubt_seq bigint,
  doubt_since timestamptz,
  lease_owner uuid,
  lease_until timestamptz NOT NULL DEFAULT '-infinity',
  failures int NOT NULL DEFAULT 0,               -- in a row; the pause grows with them
  not_before timestamptz NOT NULL DEFAULT '-infinity',
  disabled boolean NOT NULL DEFAULT false,       -- the receiver said 410 Gone; `docent export retry` enables it
  last_error text,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((doubt_seq IS NULL) = (doubt_since IS NULL))
);

-- What a vendor refused for good, or cannot be told. Sent again when an operator asks (retry).
CREATE TABLE export_parked (
  exporter text NOT NULL,
  ledger_seq bigint NOT NULL,
  event_id uuid NOT NULL,
  attempts int NOT NULL DEFAULT 1,
  error text NOT NULL,
  parked_at timestamptz NOT NULL DEFAULT now(),
  retry boolean NOT NULL DEFAULT false,
  doubt_since timestamptz,
  PRIMARY KEY (exporter, ledger_seq)
);
CREATE INDEX export_parked_retry ON export_parked (exporter, ledger_seq) WHERE retry;

-- What a tenant is called at a vendor: a Stripe customer, a Lago subscription.
CREATE TABLE export_customers (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  exporter text NOT NULL,
  external_id text NOT NULL CHECK (external_id <> ''),
  PRIMARY KEY (tenant_id, exporter)
);

-- What is to be told besides the ledger, written in the transaction it is about. `seq` is given by the
-- exporter under its lease, not by the writer: numbers given at insert become visible out of order, and
-- a cursor would miss some.
CREATE TABLE outbox (
  tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  id uuid NOT NULL,
  seq bigint,
  type text NOT NULL CHECK (type ~ '^[a-z0-9_]+(\.[a-z0-9_]+)*$'),
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);
CREATE SEQUENCE outbox_seq;
CREATE INDEX outbox_in_order ON outbox (seq);
CREATE INDEX outbox_unnumbered ON outbox (created_at) WHERE seq IS NULL;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['export_customers', 'outbox'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %I TO docent_app
                    USING (tenant_id = (SELECT current_tenant()))
                    WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
    EXECUTE format('CREATE POLICY ledger ON %I TO docent_ledger USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
CREATE POLICY exports ON tenants FOR SELECT TO docent_ledger USING (true);
CREATE POLICY forgetting ON outbox TO docent_system USING (true);

GRANT USAGE ON SCHEMA public, billing TO docent_ledger;
GRANT SELECT ON billing.ledger_v1, tenants TO docent_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON export_cursors, export_parked, export_customers TO docent_ledger;
GRANT SELECT, INSERT, UPDATE (seq) ON outbox TO docent_ledger;
GRANT USAGE ON SEQUENCE outbox_seq TO docent_ledger;
GRANT SELECT ON export_customers TO docent_app;
GRANT SELECT, INSERT ON outbox TO docent_app;
GRANT SELECT, DELETE ON outbox TO docent_system;   -- the janitor forgets what is a month old
