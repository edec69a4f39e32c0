//! The server settings of the embedded mode.
//!
//! They are given on the command line at each start, so they follow this program's version and not
//! the data folder's age. What a person writes into `postgresql.conf` counts where nothing is said
//! here.

/// The only way in: the password, over TCP, from this machine. There are no sockets.
pub(super) const HBA: &str = "host all all 127.0.0.1/32 scram-sha-256\n";

/// `name=value` pairs for `postgres -c`.
pub(super) fn settings(port: u16, throwaway: bool) -> Vec<String> {
    let port = format!("port={port}");
    let mut settings = vec![
        "listen_addresses=127.0.0.1",
        // A socket's path may have 107 bytes at most, which a deep data folder exceeds.
        "unix_socket_directories=",
        port.as_str(),
        "password_encryption=scram-sha-256",
        "logging_collector=off",
        "log_destination=stderr",
        "log_line_prefix=%m [%p] ",
        "log_checkpoints=off",
        "lc_messages=C",
        "timezone=UTC",
        "log_timezone=UTC",
        // Nobody replicates this server; less is written this way.
        "wal_level=minimal",
        "max_wal_senders=0",
        // Containers have 64 MB of /dev/shm, too little for a parallel build of an HNSW index.
        "dynamic_shared_memory_type=mmap",
        // Short queries dominate; compiling them costs more than it saves.
        "jit=off",
    ];
    if throwaway {
        settings.extend([
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=300",
            // A worker on a template database would make `CREATE DATABASE ... TEMPLATE` wait.
            "autovacuum=off",
            "max_wal_size=2GB",
            "checkpoint_timeout=1h",
            // Taken as it is used; the index of a large tenant fits, as it does where one is served.
            "shared_buffers=512MB",
        ]);
    } else {
        settings.push("max_connections=100");
    }
    settings.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_data_is_written_safely() {
        assert!(!settings(1, false).iter().any(|setting| setting.starts_with("fsync")));
        assert!(settings(1, true).contains(&"fsync=off".to_owned()));
        assert!(settings(40_123, true).contains(&"port=40123".to_owned()));
    }
}
