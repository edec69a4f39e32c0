//! The ways in which a model fails, and what each of them is called.

use crate::support::{Provider, Script, Step};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What providers say of themselves, which no user is to see.
pub const CANARY: &str = "canary-7391";
/// What a model says before it breaks off; four tokens.
pub const BEGINNING: &str = "The answer begins ";
/// An alert of TLS: fatal, `handshake_failure`.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

/// One way to fail.
pub struct Fault {
    pub name: &'static str,
    /// What the provider does; `None`: it is not reached.
    pub script: Option<Script>,
    /// The attempt's code, and the provider's status.
    pub code: &'static str,
    pub status: Option<u16>,
    /// After the first words.
    pub late: bool,
    /// It cannot have begun to work: it is asked again when all have failed.
    pub repeated: bool,
    /// It is left alone at once.
    pub opens: bool,
    /// Somebody has to do something: asking again does not help.
    pub lasts: bool,
    /// What the provider counted nevertheless: tokens of the prompt.
    pub counted: Option<u64>,
    /// Deadlines of the model, in milliseconds: short where nothing comes, and nowhere else.
    pub deadlines: &'static str,
}

fn fault(name: &'static str, script: Script, code: &'static str) -> Fault {
    Fault {
        name,
        script: Some(script),
        code,
        status: None,
        late: false,
        repeated: false,
        opens: false,
        lasts: false,
        counted: None,
        deadlines: "",
    }
}

/// A refusal with a status.
fn status(name: &'static str, status: u16, code: &'static str) -> Fault {
    let body = format!("{{\"error\": {{\"message\": \"{CANARY}\", \"code\": \"{CANARY}\"}}}}");
    let script = Script {
        status,
        content_type: "application/json",
        ..Script::steps(vec![Step::Raw(body.into())])
    };
    Fault { status: Some(status), ..fault(name, script, code) }
}

/// A rate limit that says when it ends.
fn limited(name: &'static str, retry_after: &str) -> Fault {
    let mut fault = status(name, 429, "model_busy");
    if let Some(script) = &mut fault.script {
        script.headers = format!("retry-after: {retry_after}\r\n");
    }
    Fault { repeated: false, opens: true, ..fault }
}

/// These steps before the first word.
fn early(name: &'static str, steps: Vec<Step>, code: &'static str) -> Fault {
    fault(name, Script::steps(steps), code)
}

/// Some words, and then this.
fn late(name: &'static str, end: Step, code: &'static str) -> Fault {
    let steps = vec![Step::Text(BEGINNING.into()), end];
    Fault { late: true, ..fault(name, Script::steps(steps), code) }
}

/// A page for people, where a model should be.
fn page(name: &'static str, content_type: &'static str, code: &'static str) -> Fault {
    let text = format!("<html><body>{CANARY} is down for maintenance.</body></html>");
    let script = Script { content_type, ..Script::steps(vec![Step::Raw(text.into())]) };
    fault(name, script, code)
}

/// An error that could not be a status any more.
fn error_event() -> Step {
    let error = format!("{{\"message\": \"{CANARY}\", \"type\": \"server_error\"}}");
    Step::Raw(format!("data: {{\"error\": {error}}}\n\n").into())
}

fn garbage() -> Step {
    Step::Raw(format!("data: {{\"choices\": {CANARY}\n\n").into())
}

impl Fault {
    /// Those that nobody who reads notices while there is another model.
    pub fn early() -> Vec<Self> {
        let date = chrono::Utc::now() + chrono::TimeDelta::seconds(600);
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let unreached = |name, code| Self {
            script: None,
            repeated: true,
            ..fault(name, Script::silence(), code)
        };
        let setup = |fault: Self| Self { opens: true, lasts: true, ..fault };
        let repeated = |fault: Self| Self { repeated: true, ..fault };
        let silent = |fault: Self| Self {
            deadlines: "connect_ms = 100\nfirst_token_ms = 100\nidle_ms = 100",
            ..fault
        };
        let counted = |fault: Self| Self { counted: Some(40), ..fault };
        let empty = vec![Step::Finish, Step::Usage(40, 0), Step::Done];
        vec![
            unreached("refused", "model_unreachable"),
            unreached("tls", "model_unreachable"),
            setup(status("401", 401, "model_unauthorized")),
            setup(status("403", 403, "model_unauthorized")),
            limited("429-seconds", "600"),
            limited("429-date", &date),
            repeated(status("500", 500, "model_failed")),
            repeated(status("503", 503, "model_overloaded")),
            repeated(status("529", 529, "model_overloaded")),
            silent(fault("no-headers", Script::silence(), "model_timeout")),
            silent(early("no-token", vec![Step::Hang], "model_timeout")),
            counted(silent(early(
                "counts-only",
                vec![Step::Usage(40, 0), Step::Hang],
                "model_timeout",
            ))),
            early("reset", vec![Step::Reset], "model_cut_off"),
            early("ends", vec![], "model_cut_off"),
            early("garbage", vec![garbage()], "model_protocol"),
            early("error-event", vec![error_event()], "model_failed"),
            page("html", "text/html; charset=utf-8", "model_protocol"),
            page("no-json", "application/json", "model_protocol"),
            page("no-events", "text/plain", "model_cut_off"),
            counted(early("empty", empty, "model_empty")),
        ]
    }

    /// Those that come when words were read already.
    pub fn late() -> Vec<Self> {
        let hang = late("hang", Step::Hang, "model_timeout");
        vec![
            Self { deadlines: "idle_ms = 100", ..hang },
            late("reset", Step::Reset, "model_cut_off"),
            late("ends", Step::Raw(Vec::new()), "model_cut_off"),
            late("garbage", garbage(), "model_protocol"),
            late("error-event", error_event(), "model_failed"),
        ]
    }

    /// The address of a provider with this fault; it is there as long as `tasks`.
    pub async fn at(&self, tasks: &mut JoinSet<()>) -> String {
        if let Some(script) = &self.script {
            let provider = Provider::start().await;
            provider.always(script.clone());
            return provider.url;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if self.name == "refused" {
            drop(listener);
            return format!("http://{address}/v1");
        }
        tasks.spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut greeting = [0; 4096];
                assert!(socket.read(&mut greeting).await.unwrap() > 0);
                socket.write_all(&ALERT).await.unwrap();
                let gone = socket.read(&mut greeting).await;
                assert!(gone.map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true));
            }
        });
        format!("https://{address}/v1")
    }
}
