#!/bin/bash
# Prepares an empty PostgreSQL for docent: a login role that owns its database and may create roles, and
# the extension that only a superuser can install. Run by the postgres image on its first start; it
# works anywhere where psql connects as a superuser and DOCENT_DATABASE_PASSWORD is set.
set -euo pipefail

psql --no-psqlrc -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  -v password="${DOCENT_DATABASE_PASSWORD:?}" <<'SQL'
CREATE ROLE docent LOGIN CREATEROLE NOSUPERUSER PASSWORD :'password';
CREATE DATABASE docent OWNER docent;
\connect docent
CREATE EXTENSION vector;
SQL
