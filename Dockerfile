# syntax=docker/dockerfile:1

# docent in two stages. Dependencies are a layer of their own: a change in src/ does not build them anew.
FROM rust:1-bookworm AS build
WORKDIR /build

# The manifest and the lock file with a program and a library that do nothing.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src static \
 && echo 'fn main() {}' > src/main.rs \
 && touch src/lib.rs \
 && mkdir -p tests/it && touch tests/it/main.rs \
 && for bench in $(sed -n '/^\[\[bench\]\]/,/^$/s/^name *= *"\(.*\)"/\1/p' Cargo.toml); do \
      mkdir -p benches && echo 'fn main() {}' > "benches/$bench.rs"; done \
 && cargo build --release --locked --bin docent

COPY migrations migrations
COPY static static
COPY src src
# cargo looks at times: what was built above must be older than the sources. Debug information stays out.
RUN find src -name '*.rs' -exec touch {} + \
 && cargo build --release --locked --bin docent \
 && strip --strip-debug -o /docent target/release/docent

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin docent \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/docent
ENV DATA_DIR=/var/lib/docent
VOLUME /var/lib/docent
COPY --from=build /docent /usr/local/bin/docent
# Settings are read from the environment; .env and docent.toml, if there are any, from here.
WORKDIR /etc/docent
USER 10001:10001
EXPOSE 8080

# The image has no curl; bash can open a connection. docent handles SIGTERM itself and reaps its
# children, so there is no init. Give it DRAIN_TIMEOUT plus 20 seconds: `docker stop --time 140`.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${PORT:-8080} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *' 200 '* ]]"]

CMD ["docent", "serve"]
