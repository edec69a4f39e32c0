//! Installs pinned wheels with whichever of uv, pip and pipx is on this machine and works.
//!
//! Invariant: an installer does not outlive the wait for it, and nothing but wheels is installed
//! (no code of a package is run). What is absent: where the wheel goes in the end, see `fetch`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a person who waits hears that it goes on.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Pythons that may have pip. The plain name comes first: it is the one that its user looks after.
const PYTHONS: [&str; 8] = [
    "python3",
    "python",
    "/usr/bin/python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// What is to be installed, and where.
pub(super) struct Wheel<'a> {
    /// For the person who waits, for example `PostgreSQL 18 with pgvector (about 25 MB, once)`.
    pub(super) what: &'a str,
    /// One line of a requirements file, with version and hash.
    pub(super) pin: String,
    /// pip's name of the platform, for example `manylinux_2_28_x86_64`.
    pub(super) pip_platform: &'a str,
    /// uv's name of the platform, for example `x86_64-manylinux_2_28`.
    pub(super) uv_platform: &'a str,
}

/// One way of installing the wheel: what it is called and its command.
struct Way {
    name: String,
    command: Command,
}

/// Installs `wheel` into the folder `target` inside `work`, an empty folder that takes the log too.
/// The error has one line for each way that was tried.
pub(super) async fn install(wheel: &Wheel<'_>, work: &Path) -> Result<PathBuf, Vec<String>> {
    tracing::info!("fetching {} ...", wheel.what);
    let words = |error: std::io::Error| vec![format!("{}: {error}", work.display())];
    let target = work.join("target");
    let pins = work.join("pins.txt");
    std::fs::write(&pins, &wheel.pin).map_err(words)?;
    let mut progress = Progress { began: Instant::now(), next: REPORT_EVERY };
    let mut tried = Vec::new();
    for way in ways(wheel, &target, &pins) {
        if target.exists() {
            std::fs::remove_dir_all(&target).map_err(words)?;
        }
        match run(way.command, &work.join("installer.log"), &mut progress).await {
            Ok(()) => return Ok(target),
            // There is no such program here.
            Err(None) => {}
            Err(Some(reason)) => {
                tracing::debug!("{} did not work: {reason}", way.name);
                tried.push(format!("{}: {reason}", way.name));
            }
        }
    }
    if tried.is_empty() {
        tried.push("neither uv nor Python's pip nor pipx is installed".to_owned());
    }
    Err(tried)
}

/// All ways to install the wheel, best first. Many will not exist on a machine.
fn ways(wheel: &Wheel<'_>, target: &Path, pins: &Path) -> Vec<Way> {
    let common = |command: &mut Command| {
        command.args(["--no-deps", "--only-binary", ":all:", "--require-hashes"]);
        // The wheel's tag, not the version of the Python that runs pip.
        command.args(["--python-version", "3.12"]);
        command.arg("--target").arg(target).arg("-r").arg(pins);
    };
    let pip = |name: String, mut command: Command| {
        command.args(["install", "--quiet", "--no-compile", "--implementation", "cp"]);
        command.args(["--abi", "cp312", "--platform", wheel.pip_platform]);
        common(&mut command);
        Way { name, command }
    };
    let uv = |name: &str, system_certificates: bool| {
        let mut command = Command::new("uv");
        command.args(["pip", "install", "--quiet", "--python-platform", wheel.uv_platform]);
        command.env("UV_LINK_MODE", "copy");
        if system_certificates {
            // Networks that inspect TLS have their certificate in the system's store only.
            command.env("UV_SYSTEM_CERTS", "1").env("UV_NATIVE_TLS", "1");
        }
        common(&mut command);
        Way { name: name.to_owned(), command }
    };
    let mut ways = vec![uv("uv", false), uv("uv with the system's certificates", true)];
    ways.extend(pythons().into_iter().map(|python| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip"]);
        pip(format!("{} -m pip", python.display()), command)
    }));
    let mut pipx = Command::new("pipx");
    pipx.args(["run", "--spec", "pip>=24", "pip"]);
    ways.push(pip("pipx".to_owned(), pipx));
    ways
}

/// The Pythons on this machine, each once: `python3` and `python3.11` are often the same program. In
/// a virtual environment they are links to the system's, but bring other packages.
fn pythons() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut seen = Vec::new();
    let mut pythons = Vec::new();
    for name in PYTHONS {
        let found = std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|program| program.is_file());
        let Some(python) = found else { continue };
        let identity = (python.parent().map(Path::to_owned), python.canonicalize().ok());
        if !seen.contains(&identity) {
            seen.push(identity);
            pythons.push(python);
        }
    }
    pythons
}

/// Says from time to time that the fetching goes on.
struct Progress {
    began: Instant,
    next: Duration,
}

impl Progress {
    fn report(&mut self) {
        let elapsed = self.began.elapsed();
        if elapsed >= self.next {
            tracing::info!("still fetching ({} s) ...", elapsed.as_secs());
            self.next = elapsed + REPORT_EVERY;
        }
    }
}

/// Runs one installer. The error is its last words, or `None` if there is no such program.
async fn run(
    mut command: Command,
    log: &Path,
    progress: &mut Progress,
) -> Result<(), Option<String>> {
    let words = |error: std::io::Error| Some(error.to_string());
    let file = File::create(log).map_err(words)?;
    command.stdout(file.try_clone().map_err(words)?).stderr(file).stdin(Stdio::null());
    // Settings of the user that would get in the way; unknown ones are ignored by older versions.
    for (name, value) in [
        ("PIP_USER", "0"),
        ("PIP_REQUIRE_VIRTUALENV", "0"),
        ("PIP_NO_INPUT", "1"),
        ("PIP_RETRIES", "2"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
    ] {
        command.env(name, value);
    }
    let mut child = match command.spawn() {
        Ok(child) => Installer(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(None),
        Err(error) => return Err(words(error)),
    };
    loop {
        if let Some(status) = child.0.try_wait().map_err(words)? {
            return if status.success() { Ok(()) } else { Err(Some(last_words(log))) };
        }
        progress.report();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An installer that does not outlive the wait for it.
struct Installer(std::process::Child);

impl Drop for Installer {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is the usual case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last telling line of an installer's log.
fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let said = lines.clone().find(|line| line.to_ascii_lowercase().contains("error"));
    said.or_else(|| lines.next()).unwrap_or("it failed without a word").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_installer_that_fails_is_quoted() {
        let log = std::env::temp_dir().join(format!("docent-installer-{}", std::process::id()));
        let mut progress = Progress { began: Instant::now(), next: REPORT_EVERY };
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo ERROR: no such thing; echo a notice about a new version; exit 1"]);
        let outcome = run(command, &log, &mut progress).await;
        assert_eq!(outcome, Err(Some("ERROR: no such thing".to_owned())));
        let absent = run(Command::new("docent-no-such-program"), &log, &mut progress).await;
        assert_eq!(absent, Err(None));
        std::fs::remove_file(&log).unwrap();
    }
}
