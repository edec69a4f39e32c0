//! The matrix: each way to fail, of the first model and of all of them, on routes that go on after a cut and on
//! routes that end there. What readers see, what is billed, what admins are told, what the breakers remember.

mod attempts;
mod fault;
mod nodes;

use crate::support::{Answer, User, World, WorldOptions};
use docent::llm::router::load_models;
use fault::{BEGINNING, CANARY, Fault};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const TOKEN: &str = "the-operators-own-token";

/// One field of the matrix.
struct Case<'a> {
    fault: &'a Fault,
    all: bool,
    after_cut: &'static str,
}

impl Case<'_> {
    fn id(&self, n: &str) -> String {
        let Self { fault, all, after_cut } = self;
        format!("{}-{}-{after_cut}-{n}", fault.name, if *all { "all" } else { "first" })
    }

    /// The models in order; the second one is well, or has the fault, too.
    fn models(&self) -> [String; 2] {
        [self.id("one"), if self.all { self.id("two") } else { "well".into() }]
    }

    /// Another model goes on from the first words.
    fn goes_on(&self) -> bool {
        self.fault.late && self.after_cut == "continue"
    }

    /// The answer comes to its end.
    fn succeeds(&self) -> bool {
        !self.all && (!self.fault.late || self.goes_on())
    }

    /// How often each model of a route is asked when all fail.
    fn rounds(&self) -> usize {
        if self.all && self.fault.repeated { 3 } else { 1 }
    }

    fn kinds(&self) -> Vec<&'static str> {
        let words = ["text-start", "text-delta", "text-end"];
        let mut kinds = vec!["start"];
        if self.fault.late {
            kinds.extend(words);
        }
        if self.goes_on() {
            kinds.extend(["finish-step", "start-step", "data-notice"]);
        }
        if self.succeeds() || (self.all && self.goes_on()) {
            kinds.extend(words);
        }
        if self.fault.late || self.fault.counted.is_some() || self.succeeds() {
            kinds.push("data-usage");
        }
        match self.succeeds() {
            true => kinds.push("finish"),
            false => kinds.extend(["data-error", "error"]),
        }
        kinds
    }

    fn text(&self) -> String {
        let begun = if self.fault.late { BEGINNING } else { "" };
        match (self.succeeds(), self.all && self.goes_on()) {
            (true, _) => format!("{begun}Forty-two. [1]"),
            (_, true) => begun.repeat(2),
            _ => begun.to_owned(),
        }
    }

    /// Model, code and status of each attempt; those that answered have no code.
    fn attempts(&self) -> Vec<Value> {
        let [one, two] = self.models();
        let Fault { code, status, .. } = self.fault;
        let failed = |model: &str| json!([model, code, status]);
        if self.succeeds() {
            return vec![failed(&one), json!([two, null, null])];
        }
        if self.fault.late && !self.goes_on() {
            return vec![failed(&one)];
        }
        let round = || [failed(&one), failed(&two)];
        (0..self.rounds()).flat_map(|_| round()).collect()
    }

    /// Step, model, meter, provenance and, where the provider counted, how much.
    fn billed(&self) -> Vec<String> {
        let [one, two] = self.models();
        let failing = match (self.succeeds(), self.fault.late && !self.goes_on()) {
            (true, _) | (_, true) => vec![&one],
            _ => vec![&one, &two],
        };
        let (mut rows, mut step) = (Vec::new(), 0);
        for model in failing {
            if let Some(counted) = self.fault.counted {
                rows.push(format!("{step} {model} input_tokens exact {counted}"));
                rows.push(format!("{step} {model} output_tokens exact 0"));
                step += 1;
            } else if self.fault.late {
                rows.push(format!("{step} {model} input_tokens estimated"));
                rows.push(format!("{step} {model} output_tokens estimated"));
                step += 1;
            }
        }
        if self.succeeds() {
            rows.push(format!("{step} {two} input_tokens exact 120"));
            rows.push(format!("{step} {two} output_tokens exact 7"));
        }
        let first = rows.first().map(|row| row.split(' ').nth(1).unwrap().to_owned());
        rows.extend(first.map(|model| format!("0 {model} requests exact 1")));
        rows.sort();
        rows
    }
}

/// A world with all of these; anna owns her tenant, mia is a member of it.
struct Matrix {
    world: World,
    anna: User,
    mia: User,
    _tasks: JoinSet<()>,
}

fn cases(faults: &[Fault]) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for fault in faults {
        for all in [false, true] {
            let case = |after_cut| Case { fault, all, after_cut };
            cases.extend(["continue", "end"].map(case));
        }
    }
    cases
}

impl Matrix {
    async fn new(faults: &[Fault]) -> Self {
        let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
        let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
        let mia = world.user("mia@acme.test").await;
        world.user("anna@acme.test").await;
        world.database.run("UPDATE users SET role = 'owner' WHERE email LIKE 'anna@%'").await;
        let anna = world.user("anna@acme.test").await;
        let mut tasks = JoinSet::new();
        let mut list =
            format!("{}{}", provider("well", &world.provider.url), model("well", "well", ""));
        for fault in faults {
            list += &provider(&format!("p-{}", fault.name), &fault.at(&mut tasks).await);
        }
        for case in cases(faults) {
            for n in ["one", "two"] {
                let of = format!("p-{}", case.fault.name);
                list += &model(&case.id(n), &of, case.fault.deadlines);
            }
        }
        load_models(&world.db(), &list).await.unwrap();
        Self { world, anna, mia, _tasks: tasks }
    }

    async fn operate(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        let url = format!("{}/v1/operator/{path}", self.world.base);
        let request = self.world.http.request(method, url).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What a question is answered on this route.
    async fn ask(&self, case: &Case<'_>) -> Answer {
        let route =
            json!({"name": "default", "models": case.models(), "after_cut": case.after_cut});
        self.operate(reqwest::Method::PUT, "routes", route).await;
        self.anna.ask("Well?").await
    }

    async fn billed(&self, turn: &str) -> Vec<String> {
        let rows = format!(
            "SELECT concat_ws(' ', step, model, meter, provenance,
                 CASE provenance WHEN 'exact' THEN quantity END) AS t
             FROM usage_ledger WHERE turn_id = '{turn}' AND meter <> 'embedding_tokens' ORDER BY 1"
        );
        let mut rows = self.world.database.texts(&rows).await;
        rows.sort();
        rows
    }

    async fn attempts(&self, turn: &str) -> Vec<Value> {
        let (status, told) = self.anna.get(&format!("/v1/turns/{turn}/attempts")).await;
        assert_eq!(status, 200, "{told}");
        assert!(!told.to_string().contains(CANARY), "{told}");
        let data = told["data"].as_array().unwrap();
        data.iter().map(|one| json!([one["model"], one["error"], one["status"]])).collect()
    }

    async fn check(&self, case: &Case<'_>) {
        let name = case.id("");
        let answer = self.ask(case).await;
        let kinds: Vec<String> =
            answer.parts().iter().map(|part| part["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, case.kinds(), "{name}");
        assert_eq!(answer.text(), case.text(), "{name}");
        let stored = json!(self.anna.messages(&answer.conversation).await);
        for shown in [json!(answer.parts()).to_string(), stored.to_string()] {
            let leaks = [CANARY, "127.0.0.1", "maintenance"].map(|word| shown.contains(word));
            assert_eq!(leaks, [false; 3], "{name}: {shown}");
        }
        if !case.succeeds() {
            let error = &answer.of("data-error")[0]["data"];
            let told = (error["code"].as_str().unwrap(), error["retryable"].as_bool().unwrap());
            assert_eq!(told, (case.fault.code, !case.fault.lasts), "{name}");
        }
        assert_eq!(self.billed(&answer.turn).await, case.billed(), "{name}");
        assert_eq!(self.attempts(&answer.turn).await, case.attempts(), "{name}");
    }

    /// What each breaker says in the end: of the model's own key, with its last error.
    async fn check_breakers(&self, cases: &[Case<'_>]) {
        let catalogue = self.operate(reqwest::Method::GET, "models", Value::Null).await;
        let breaker = |model: &str| {
            let all = catalogue["breakers"].as_array().unwrap();
            all.iter().find(|one| one["model"] == model).unwrap_or_else(|| panic!("{model}"))
        };
        for case in cases {
            let [one, two] = case.models();
            let asked = case.all && (!case.fault.late || case.goes_on());
            for model in [Some(&one), asked.then_some(&two)].into_iter().flatten() {
                let it = breaker(model);
                let failures = if case.fault.opens { 0 } else { case.rounds() };
                let state = if case.fault.opens { "open" } else { "closed" };
                assert_eq!(
                    (&it["state"], &it["failures"]),
                    (&json!(state), &json!(failures)),
                    "{it}"
                );
                assert_eq!(it["last_error"]["code"], case.fault.code, "{it}");
                let asked_for = it["retry_in_ms"].as_u64().unwrap_or_default() > 300_000;
                assert_eq!(asked_for, case.fault.name.starts_with("429"), "{it}");
            }
        }
        let metrics = self.anna.metrics().await;
        let gauge = |model: &str| {
            let of_model = format!("model=\"{model}\"");
            let mut lines = metrics.lines().filter(|line| line.contains(&of_model));
            lines.find(|line| line.starts_with("docent_model_breaker_state")).map(str::to_owned)
        };
        for case in cases.iter().filter(|case| case.fault.opens) {
            let line = gauge(&case.models()[0]).unwrap();
            assert!(line.ends_with(" 2"), "open: {line}");
        }
        let well = breaker("well");
        assert_eq!((&well["state"], &well["failures"]), (&json!("closed"), &json!(0)));
    }
}

fn provider(name: &str, url: &str) -> String {
    format!("[[provider]]\nname = \"{name}\"\nkind = \"openai\"\nbase_url = \"{url}\"\n")
}

fn model(id: &str, provider: &str, deadlines: &str) -> String {
    format!(
        "[[model]]\nid = \"{id}\"\nprovider = \"{provider}\"\ncontext_window = 8000\nmax_output = 500\n{deadlines}\n"
    )
}

async fn walk(faults: &[Fault]) {
    let matrix = Matrix::new(faults).await;
    let cases = cases(faults);
    for case in &cases {
        matrix.check(case).await;
    }
    matrix.check_breakers(&cases).await;
    matrix.world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_word_nobody_notices_while_there_is_another_model() {
    walk(&Fault::early()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_it_another_model_goes_on_or_the_answer_ends_there() {
    walk(&Fault::late()).await;
}
