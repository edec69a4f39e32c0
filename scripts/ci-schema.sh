#!/usr/bin/env bash
# Compares src/store/schema.rs with what diesel sees in a freshly migrated database.
# Needs target/debug/docent (cargo test builds it) and diesel on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
chmod 755 "$work" # as root, PostgreSQL runs as another user, who must reach it
server=
clean_up() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT

env -u DATABASE_URL target/debug/docent dev --port 0 --data-dir "$work/data" </dev/null >"$work/log" 2>&1 &
server=$!
for ((tenths = 0; tenths < 1800; tenths++)); do
  grep -q 'docent is ready' "$work/log" && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if ! grep -q 'docent is ready' "$work/log"; then
  echo "docent dev did not start:" >&2
  tail -n 40 "$work/log" >&2
  exit 1
fi

diesel print-schema --database-url "$(cat "$work/data/database-url")" >"$work/schema.rs"
if ! diff -u src/store/schema.rs "$work/schema.rs"; then
  echo "src/store/schema.rs is not what the migrations make: run diesel print-schema." >&2
  exit 1
fi
echo "src/store/schema.rs is what the migrations make."
