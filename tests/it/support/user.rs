//! A person with a browser, a phone and `curl`.

use super::schema::check_answer;
use super::{Answer, Socket, Stream};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// Somebody who is logged in.
#[derive(Clone)]
pub struct User {
    pub base: String,
    pub http: reqwest::Client,
    pub tenant: String,
    pub tenant_id: String,
    pub id: String,
    pub token: String,
    pub refresh_token: String,
}

impl User {
    pub async fn log_in(base: &str, http: &reqwest::Client, tenant: &str, email: &str) -> Self {
        let post = |path: &str, body: Value| {
            let request = http.post(format!("{base}{path}")).header("X-Tenant-ID", tenant);
            request.body(body.to_string()).send()
        };
        let sent = post("/v1/auth/request-code", json!({"email": email})).await.unwrap();
        assert_eq!(sent.status(), 202);
        let code = body(sent).await["dev_code"].as_str().expect("tests run as dev").to_owned();
        let verified = post("/v1/auth/verify-code", json!({"email": email, "code": code})).await;
        let session = body(verified.unwrap()).await;
        let text = |value: &Value| value.as_str().expect("a session").to_owned();
        Self {
            base: base.into(),
            http: http.clone(),
            tenant: tenant.into(),
            tenant_id: text(&session["tenant"]["id"]),
            id: text(&session["user"]["id"]),
            token: text(&session["access_token"]),
            refresh_token: text(&session["refresh_token"]),
        }
    }

    /// Makes an API key; returns the program that has it, and what was said of the key.
    pub async fn key(&self, wanted: Value) -> (Self, Value) {
        let (status, made) = self.post("/v1/api-keys", wanted).await;
        assert_eq!(status, 201, "{made}");
        let token = made["key"].as_str().expect("it is shown once").to_owned();
        (Self { token, ..self.clone() }, made)
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Status and JSON of a GET.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        outcome(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(Method::POST, path).body(body.to_string());
        outcome(request).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(Method::PATCH, path).body(body.to_string());
        outcome(request).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(Method::PUT, path).body(body.to_string());
        outcome(request).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        outcome(self.request(Method::DELETE, path)).await
    }

    /// Uploads; returns the status and the file.
    pub async fn upload(&self, name: &str, bytes: &[u8]) -> (u16, Value) {
        let mark = "docent-test-boundary";
        let name = name.replace('\\', "\\\\").replace('"', "\\\""); // as curl writes it
        let head = format!(
            "--{mark}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
        let tail = format!("\r\n--{mark}--\r\n");
        let form = [head.as_bytes(), bytes, tail.as_bytes()].concat();
        let request = self
            .request(Method::POST, "/v1/files")
            .header("content-type", format!("multipart/form-data; boundary={mark}"))
            .body(form);
        outcome(request).await
    }

    /// Follows an ingestion to its end; returns the file as it is then.
    pub async fn ingested(&self, id: &str) -> Value {
        let path = format!("/v1/files/{id}/events");
        let mut events = Stream::new(self.request(Method::GET, &path).send().await.unwrap());
        assert_eq!(events.status, 200);
        let last = events.rest().await.pop().expect("there is an event");
        assert_eq!(last.event.as_deref(), Some("done"));
        last.part()
    }

    /// Uploads a document that must become ready.
    pub async fn has_document(&self, name: &str, bytes: &[u8]) -> Value {
        let (status, file) = self.upload(name, bytes).await;
        assert!([200, 202].contains(&status), "{file}");
        let file = self.ingested(file["id"].as_str().unwrap()).await;
        assert_eq!(file["status"], "ready", "{file}");
        file
    }

    /// What Prometheus would read.
    pub async fn metrics(&self) -> String {
        self.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
    }

    /// Asks over SSE; the stream is open when this returns.
    pub async fn stream(&self, body: Value) -> Stream {
        let request = self.request(Method::POST, "/v1/chat/stream").body(body.to_string());
        Stream::new(request.send().await.unwrap())
    }

    /// Asks over SSE and reads the whole answer.
    pub async fn ask(&self, text: &str) -> Answer {
        let stream = self.stream(json!({"text": text})).await;
        assert_eq!(stream.status, 200);
        stream.answer().await
    }

    /// Goes on in a conversation and reads the whole answer.
    pub async fn ask_in(&self, conversation: &str, text: &str) -> Answer {
        let stream = self.stream(json!({"conversation_id": conversation, "text": text})).await;
        assert_eq!(stream.status, 200);
        stream.answer().await
    }

    /// Asks over SSE with an `Idempotency-Key`.
    pub async fn stream_once(&self, key: &str, body: Value) -> Stream {
        let request = self.request(Method::POST, "/v1/chat/stream").header("idempotency-key", key);
        Stream::new(request.body(body.to_string()).send().await.unwrap())
    }

    /// Asks what must be refused; returns the status and the problem.
    pub async fn refused(&self, body: Value) -> (u16, Value) {
        let (status, problem) = self.post("/v1/chat/stream", body).await;
        assert_eq!(problem["status"], status, "{problem}");
        (status, problem)
    }

    /// Stops a turn; returns the status.
    pub async fn stop(&self, turn: &str) -> u16 {
        self.post(&format!("/v1/turns/{turn}/stop"), json!({})).await.0
    }

    /// The messages of a conversation, oldest first.
    pub async fn messages(&self, conversation: &str) -> Vec<Value> {
        let (status, list) = self.get(&format!("/v1/conversations/{conversation}/messages")).await;
        assert_eq!(status, 200, "{list}");
        list["data"].as_array().unwrap().clone()
    }

    /// Joins a turn after an offset (`-1`: from the start).
    pub async fn attach(&self, turn: &str, after: i64) -> Stream {
        self.try_attach(turn, after).await.unwrap()
    }

    /// The same, where a node may go away before it answers.
    pub async fn try_attach(&self, turn: &str, after: i64) -> reqwest::Result<Stream> {
        let path = format!("/v1/turns/{turn}/stream?after={after}");
        Ok(Stream::new(self.request(Method::GET, &path).send().await?))
    }

    /// The subprotocols to offer with a new ticket.
    pub async fn offer(&self) -> String {
        let (status, ticket) = self.post("/v1/ws-tickets", json!({})).await;
        assert_eq!(status, 200, "{ticket}");
        format!("docent.v1, ticket.{}", ticket["ticket"].as_str().unwrap())
    }

    /// Opens a WebSocket with a ticket.
    pub async fn socket(&self) -> Socket {
        let offer = self.offer().await;
        let mut socket = Socket::open(&self.base, Some(&offer), &[]).await.expect("101");
        assert_eq!(socket.next().await["type"], "ready");
        socket
    }
}

async fn body(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Status and JSON of an answer, which is as the description of the API has it.
async fn outcome(request: RequestBuilder) -> (u16, Value) {
    let (http, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = http.execute(request).await.unwrap();
    let status = response.status().as_u16();
    let body = body(response).await;
    check_answer(&method, &path, status, &body);
    (status, body)
}
