//! Keeps the server from outliving us, without signals sent from here.
//!
//! The server is the child of a small shell script whose standard input is a pipe from us. A word
//! written to the pipe becomes a signal; the end of the pipe (we stopped, panicked or were killed
//! with -9) means: stop the server. The script is the server's parent, so the process id it signals
//! cannot have been given to another process. Both live in a process group of their own, so Ctrl-C
//! in a terminal reaches docent alone, which first finishes its turns.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::account::Identity;
use super::error::DevError;
use super::tool;

/// Arguments: the data folder, then the server's command. A data folder that contains
/// `docent.throwaway` is deleted when the server has ended.
const SCRIPT: &str = r#"
home=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
(
    while read -r order; do
        case $order in
            fast) kill -s INT "$server" ;;
            immediate) kill -s QUIT "$server" ;;
        esac
    done
    # The other end is gone. Kept data deserves a checkpoint; data to be deleted does not.
    if [ ! -f "$home/docent.throwaway" ]; then
        kill -s INT "$server"
        for second in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 "$server" && sleep 1; done
    fi
    kill -s QUIT "$server"
    for second in 1 2 3 4 5; do kill -s 0 "$server" && sleep 1; done
    kill -s KILL "$server"
) <&3 3<&- 2>/dev/null &
listener=$!
exec 3<&- </dev/null
wait "$server"
status=$?
kill -s TERM "$listener" 2>/dev/null
if [ -f "$home/docent.throwaway" ]; then rm -rf -- "$home"; fi
exit "$status"
"#;

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// Ends connections, writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers.
    Immediate,
}

/// A running server with its supervising script. Dropping it stops the server soon after.
#[derive(Debug)]
pub(super) struct Supervisor {
    script: Child,
    orders: Option<ChildStdin>,
}

impl Supervisor {
    /// Starts `server` (a program and its arguments) in the data folder `home`, its output going to
    /// `log`.
    pub(super) fn start(
        server: &Command,
        home: &Path,
        log: File,
        identity: &Identity,
    ) -> Result<Self, DevError> {
        let shell = Path::new("/bin/sh");
        let mut command = tool::command(shell, identity, home);
        command.args(["-c", SCRIPT, "docent-postgres"]).arg(home);
        command.arg(server.get_program()).args(server.get_args());
        let errors = log.try_clone().map_err(DevError::io("use the log in", home))?;
        command.stdin(Stdio::piped()).stdout(log).stderr(errors).process_group(0);
        let mut script = command.spawn().map_err(DevError::io("run", shell))?;
        let orders = script.stdin.take();
        Ok(Self { script, orders })
    }

    /// The exit status of the server, once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        // An error here means that the child has been reaped: it has ended.
        self.script.try_wait().unwrap_or_else(|_| Some(ExitStatus::default()))
    }

    /// Asks the server to stop. Returns at once.
    pub(super) fn order(&mut self, order: Order) {
        let word: &[u8] = match order {
            Order::Fast => b"fast\n",
            Order::Immediate => b"immediate\n",
        };
        if let Some(pipe) = &mut self.orders {
            // It fails only when the script has ended, and then there is nothing to stop.
            let _ = pipe.write_all(word);
        }
    }

    /// Waits for the end of the server; false if it has not come within `patience`.
    pub(super) async fn wait(&mut self, patience: Duration) -> bool {
        // The clock of the system and not tokio's: in tests that one may be paused.
        let began = Instant::now();
        while self.ended().is_none() {
            if began.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(seconds: &str) -> (Supervisor, std::path::PathBuf) {
        let identity = Identity { uid: 0, account: None };
        let dir = std::env::temp_dir();
        let path = dir.join(format!("docent-sleeper-{seconds}-{}", std::process::id()));
        let log = File::create(&path).unwrap();
        let mut command = Command::new("sleep");
        command.arg(seconds);
        (Supervisor::start(&command, &dir, log, &identity).unwrap(), path)
    }

    #[tokio::test]
    async fn reports_the_end_of_the_server() {
        let (mut supervisor, log) = sleeper("0.1");
        assert!(supervisor.ended().is_none());
        assert!(supervisor.wait(Duration::from_secs(5)).await);
        assert!(supervisor.ended().is_some_and(|status| status.success()));
        std::fs::remove_file(log).unwrap();
    }
}
