//! Headless Chromium with an empty profile, driven through ChromeDriver.

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing a test waits for takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked for.
const PERIOD: Duration = Duration::from_millis(50);

/// A window with the page in it. Elements are named by their `data-testid`.
pub struct Browser {
    client: Client,
    http: reqwest::Client,
    port: u16,
    _driver: Child,
    profile: TempDir,
}

impl Browser {
    /// Opens the page.
    pub async fn open(base: &str) -> Self {
        let profile = TempDir::new().unwrap();
        let (driver, port) = start_driver(profile.path()).await;
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(profile.path()))
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        client.goto(base).await.unwrap();
        let http = super::world::client();
        Self { client, http, port, _driver: driver, profile }
    }

    /// Logs in as somebody of this tenant with the code that the page offers.
    pub async fn log_in(&self, tenant: &str, email: &str) {
        self.see("login-tenant").await.send_keys(tenant).await.unwrap();
        self.see("login-email").await.send_keys(email).await.unwrap();
        for button in ["login-send", "dev-code-fill", "login-verify"] {
            self.click(button).await;
        }
        self.see("composer").await;
    }

    /// The element, as soon as it is there.
    pub async fn see(&self, name: &str) -> Element {
        self.find(&format!("//*[@data-testid='{name}']")).await
    }

    pub async fn click(&self, name: &str) {
        self.see(name).await.click().await.unwrap();
    }

    /// Clicks the last element of this name.
    pub async fn click_last(&self, name: &str) {
        let last = self.find(&format!("(//*[@data-testid='{name}'])[last()]")).await;
        last.click().await.unwrap();
    }

    /// What an `XPath` names, as soon as it is there.
    pub async fn find(&self, path: &str) -> Element {
        let wait = self.client.wait().at_most(PATIENCE).every(PERIOD);
        let found = wait.for_element(Locator::XPath(path)).await;
        found.unwrap_or_else(|error| panic!("{path} does not appear: {error}"))
    }

    /// Chooses a file, and returns when the list says `status` of it.
    pub async fn upload(&self, file: &Path, status: &str) -> Element {
        let name = file.file_name().unwrap().to_str().unwrap();
        self.see("upload-input").await.send_keys(file.to_str().unwrap()).await.unwrap();
        self.find(&format!(
            "//*[@data-testid='file-row'][@data-status='{status}'][contains(., '{name}')]"
        ))
        .await
    }

    /// Writes a question and presses Enter.
    pub async fn ask(&self, text: &str) {
        let keys = format!("{text}{}", char::from(Key::Enter));
        self.see("composer").await.send_keys(&keys).await.unwrap();
    }

    /// Opens the last question for editing, and writes this instead.
    pub async fn edit(&self, keys: &str) {
        let last = "(//*[@data-testid='message-user'])[last()]//*[@data-testid='edit']";
        self.find(last).await.click().await.unwrap();
        let editor = self.see("editor").await;
        editor.clear().await.unwrap();
        editor.send_keys(keys).await.unwrap();
    }

    /// The last question, as soon as it says this and is so many of its versions, such as `2/3`.
    pub async fn question(&self, text: &str, version: &str) -> Element {
        self.find(&format!(
            "(//*[@data-testid='message-user'])[last()][contains(., '{text}')]\
             [.//*[@data-testid='switcher'][contains(., '{version}')]]"
        ))
        .await
    }

    /// The newest answer, as soon as it has this status and contains this text.
    pub async fn answer(&self, status: &str, text: &str) -> Element {
        self.find(&format!(
            "(//*[@data-testid='message-assistant'])[last()]\
             [@data-status='{status}']//*[@class='markdown'][contains(., '{text}')]"
        ))
        .await
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str, arguments: Vec<Value>) {
        self.client.execute(script, arguments).await.unwrap();
    }

    /// As wide as a phone.
    pub async fn on_a_phone(&self) {
        self.client.set_window_size(390, 844).await.unwrap();
    }

    /// What the page can be moved sideways by, in pixels.
    pub async fn overflow(&self) -> Value {
        let script = "return document.documentElement.scrollWidth - window.innerWidth";
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Chooses an option of a list by its value.
    pub async fn choose(&self, name: &str, value: &str) {
        self.see(name).await.select_by_value(value).await.unwrap();
    }

    /// A file that was downloaded, as soon as it is whole. The browser tells nobody: it is looked for.
    pub async fn downloaded(&self, name: &str) -> String {
        let file = self.profile.path().join("downloads").join(name);
        let mut look = tokio::time::interval(PERIOD);
        for _ in 0..PATIENCE.as_millis() / PERIOD.as_millis() {
            look.tick().await;
            if let Ok(text) = std::fs::read_to_string(&file) {
                return text;
            }
        }
        panic!("{name} was not downloaded");
    }

    pub async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    /// What the browser complained of since the last call: errors, violations of the policy.
    pub async fn complaints(&self) -> Vec<Value> {
        let session = self.client.session_id().await.unwrap().expect("a session");
        let url = format!("http://127.0.0.1:{}/session/{session}/se/log", self.port);
        let asked = self.http.post(url).body(json!({"type": "browser"}).to_string()).send().await;
        let log: Value = serde_json::from_str(&asked.unwrap().text().await.unwrap()).unwrap();
        let lines = log["value"].as_array().unwrap_or_else(|| panic!("no log: {log}"));
        let grave = |line: &&Value| line["level"] == "SEVERE" || line["level"] == "WARNING";
        lines.iter().filter(grave).cloned().collect()
    }
}

impl Drop for Browser {
    /// Also after a panic: killing `ChromeDriver` alone would leave Chromium behind.
    fn drop(&mut self) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return };
        let request = format!("GET /shutdown HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n", self.port);
        let asked = stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .and_then(|()| stream.write_all(request.as_bytes()));
        if asked.is_ok() {
            let _until_it_is_gone = stream.read_to_end(&mut Vec::new());
        }
    }
}

async fn start_driver(scratch: &Path) -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .env("TMPDIR", scratch)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("ChromeDriver is installed");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            let port = port.trim_end_matches('.').parse().expect("a port");
            return (driver, port);
        }
    }
    panic!("ChromeDriver ended before it listened");
}

fn capabilities(profile: &Path) -> serde_json::Map<String, Value> {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,800",
        &format!("--user-data-dir={}", profile.display()),
    ];
    let all = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {
            "args": arguments,
            "prefs": {"download.default_directory": profile.join("downloads")},
        },
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    all.as_object().cloned().unwrap()
}
