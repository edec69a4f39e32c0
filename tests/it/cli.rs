//! The program from the outside: what it says about its settings, and what the operator's commands do.

use crate::support::{Database, World, WorldOptions};
use docent::config::{Layers, NAMES, Settings};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use tempfile::TempDir;
use tokio::process::Command;

/// A value that must never be seen again.
const CANARY: &str = "canary-5f2e9c";

/// What a run left behind.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// It failed with this code and says all of these.
    fn fails(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for words in said {
            assert!(self.err.contains(words), "'{words}' is missing in:\n{}", self.err);
        }
        let named = self.err.lines().any(|line| line.starts_with("docent: "));
        assert!(named && !self.err.contains("panicked"), "{}", self.err);
    }

    fn says(&self, words: &str) {
        assert_eq!(self.code, Some(0), "{}", self.err);
        assert!(self.out.contains(words), "'{words}' is missing in:\n{}", self.out);
    }
}

/// Runs the program in a folder with these variables and no others, to its end.
async fn docent(folder: &Path, env: &[(&str, &str)], args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_docent"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(env.iter().copied())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let run =
        Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!run.out.contains(CANARY) && !run.err.contains(CANARY), "a secret: {}", run.err);
    run
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, text: &str) {
    std::fs::write(folder.path().join(name), text).unwrap();
}

#[tokio::test]
async fn serve_names_everything_that_is_missing_or_wrong_at_once() {
    let folder = folder();
    let run = docent(folder.path(), &[], &["serve"]).await;
    run.fails(2, &["DATABASE_URL is not set", "DOCENT_SECRET is not set", "openssl rand"]);

    let env = [
        ("PORT", "eighty"),
        ("LOG_FORMAT", "xml"),
        ("DATABASE_CONNECTIONS", "0"),
        ("OPENAI_BASE_URL", "ftp://example.com"),
        ("DATABASE_URL", "mysql://root:canary-5f2e9c@localhost/x"),
        ("DOCENT_SECRET", CANARY),
        ("DRAIN_TIMEOUT", "-1"),
        ("EMBEDDING_DIMENSIONS", "5000"),
        ("ALLOWED_ORIGINS", "app.example.com"),
    ];
    let run = docent(folder.path(), &env, &["serve"]).await;
    let mut names: Vec<&str> = env.iter().map(|(name, _)| *name).collect();
    names.retain(|name| *name != "ALLOWED_ORIGINS");
    names.push("'app.example.com' is not an origin");
    run.fails(2, &names);
    assert_eq!(run.err.lines().filter(|line| line.starts_with("  - ")).count(), env.len());
}

#[tokio::test]
async fn mistakes_in_files_are_named_with_their_file() {
    let folder = folder();
    write(&folder, "docent.toml", "prot = 80\nport = 'eighty'\n[mail]\nfrom = 'x'\n");
    let run = docent(folder.path(), &[], &["serve"]).await;
    run.fails(2, &["docent.toml: there is no setting 'prot'", "PORT (docent.toml)", "'mail'"]);

    write(&folder, "docent.toml", &format!("docent_secret = '{CANARY}\n"));
    docent(folder.path(), &[], &["serve"]).await.fails(2, &["docent.toml is not valid TOML"]);

    std::fs::remove_file(folder.path().join("docent.toml")).unwrap();
    for line in
        ["DOCENT_SECRET=canary-5f2e9c and more", "DOCENT_SECRET='canary-5f2e9c", "canary-5f2e9c"]
    {
        write(&folder, ".env", &format!("HOST=127.0.0.1\n{line}\n"));
        docent(folder.path(), &[], &["serve"]).await.fails(2, &[".env cannot be read"]);
    }
}

#[tokio::test]
async fn flags_win_over_the_environment_over_env_over_toml_over_defaults() {
    let database = Database::fresh().await;
    // Ports that are taken: the server says which one it wanted.
    let taken: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<String> =
        taken.iter().map(|taken| taken.local_addr().unwrap().port().to_string()).collect();
    let folder = folder();
    let base = [
        ("DATABASE_URL", database.url.as_str()),
        ("DOCENT_SECRET", "32 characters and then some more"),
        ("HOST", "127.0.0.1"),
    ];
    let wanted = |port: &str| format!("cannot listen on 127.0.0.1:{port}");
    write(&folder, "docent.toml", &format!("port = {}\n", ports[0]));
    docent(folder.path(), &base, &["serve"]).await.fails(1, &[&wanted(&ports[0])]);
    write(&folder, ".env", &format!("PORT={}\n", ports[1]));
    docent(folder.path(), &base, &["serve"]).await.fails(1, &[&wanted(&ports[1])]);
    let mut env = base.to_vec();
    env.push(("PORT", &ports[2]));
    docent(folder.path(), &env, &["serve"]).await.fails(1, &[&wanted(&ports[2])]);
    let flag = ["serve", "--port", &ports[3]];
    docent(folder.path(), &env, &flag).await.fails(1, &[&wanted(&ports[3])]);

    let nothing = Layers::new(BTreeMap::new()).with_files(Path::new("/nonexistent"), NAMES);
    assert_eq!(Settings::load(nothing, true).unwrap().server.port, 8080);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_and_its_people_are_made_on_the_command_line() {
    let database = Database::fresh().await;
    let (folder, env) = (folder(), [("DATABASE_URL", database.url.as_str())]);
    let run = async |args: &str| {
        let args: Vec<&str> = args.split(' ').collect();
        docent(folder.path(), &env, &args).await
    };
    run("tenant create acme --name Acme --plan pro").await.says("Made tenant acme (");
    run("user add acme Anna@Acme.Test --role owner").await.says("Added anna@acme.test (");
    run("tenant create acme").await.fails(1, &["there is a tenant 'acme' already"]);
    run("tenant create Ac_me").await.fails(1, &["'Ac_me' is no slug", "a-z, 0-9 and -"]);
    run("tenant create globex --plan gold").await.fails(1, &["there is no plan 'gold'"]);
    run("user add globex ben@globex.test").await.fails(1, &["there is no tenant 'globex'"]);
    run("user add acme ben").await.fails(1, &["'ben' is not an e-mail address"]);
    run("user add acme anna@acme.test").await.fails(1, &["there is a user with this address"]);
    let unknown = run("user add acme ben@acme.test --role king").await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("owner, admin, member or billing"), "{}", unknown.err);
    assert_eq!(database.number("SELECT count(*) AS n FROM tenants").await, 1);
    assert_eq!(database.number("SELECT count(*) AS n FROM users").await, 1);

    let provider = crate::support::Provider::start().await;
    let world = World::on(database.clone(), provider, WorldOptions::default()).await;
    let anna = world.user("anna@acme.test").await;
    let (_, me) = anna.get("/v1/me").await;
    assert_eq!((&me["user"]["role"], &me["tenant"]["name"]), (&"owner".into(), &"Acme".into()));
    let (_, quota) = anna.get("/v1/quota").await;
    assert_eq!(quota["plan"], "pro");
    let (_, assistants) = anna.get("/v1/assistants").await;
    assert_eq!(assistants["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_of_models_is_loaded_as_a_whole_or_not_at_all() {
    let (database, folder) = (Database::fresh().await, folder());
    let env = [("DATABASE_URL", database.url.as_str())];
    let load = |file: &'static str| {
        let args = ["models", "load"].into_iter().chain((!file.is_empty()).then_some(file));
        let args: Vec<&str> = args.collect();
        let (folder, env) = (folder.path().to_owned(), env);
        async move { docent(&folder, &env, &args).await }
    };
    load("").await.says("Loaded 2 providers, 31 models and 2 routes.");
    write(
        &folder,
        "ours.toml",
        "[[provider]]\nname = 'vllm'\nkind = 'openai'\nbase_url = 'http://vllm:8000/v1'\n\
         [[model]]\nid = 'qwen'\nprovider = 'vllm'\ncontext_window = 32768\nmax_output = 4096\n\
         [[route]]\nname = 'fast'\nmodels = ['qwen']\n",
    );
    load("ours.toml").await.says("Loaded 1 providers, 1 models and 1 routes.");
    let fast = "SELECT array_to_string(models, ' ') AS t FROM routes WHERE name = 'fast'";
    assert_eq!(database.texts(fast).await, ["qwen"]);

    let wrong = "[[model]]\nid = 'new'\nprovider = 'vllm'\ncontext_window = 1\nmax_output = 1\n\
                 [[provider]]\nname = 'thief'\nkind = 'openai'\nbase_url = 'https://x.test'\n\
                 key_variable = 'DOCENT_SECRET'\n";
    write(&folder, "wrong.toml", wrong);
    load("wrong.toml").await.fails(1, &["wrong.toml: thief: `key_variable` is the NAME"]);
    let all = "SELECT count(*) AS n FROM models WHERE id = 'new'";
    assert_eq!(database.number(all).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_is_migrating_once() {
    let database = Database::empty().await;
    let folder = folder();
    let migrate = ["migrate", "--database-url", &database.url];
    let first = docent(folder.path(), &[], &migrate).await;
    first.says("The database is up to date");
    assert!(!first.out.contains("; 0 migrations"), "{}", first.out);
    docent(folder.path(), &[], &migrate).await.says("; 0 migrations were run");
    docent(folder.path(), &[], &["migrate"]).await.fails(2, &["DATABASE_URL", "--database-url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_named_without_its_password() {
    let folder = folder();
    let url = format!("postgres://docent:{CANARY}@127.0.0.1:1/docent");
    let secret = format!("{CANARY} and enough characters to be long");
    let env =
        [("DATABASE_URL", url.as_str()), ("DOCENT_SECRET", &secret), ("OPENAI_API_KEY", CANARY)];
    for args in [&["serve", "--port", "0"][..], &["migrate"], &["tenant", "create", "acme"]] {
        docent(folder.path(), &env, args).await.fails(1, &["database"]);
    }
    let nonsense = format!("postgres://docent:{CANARY}@127.0.0.1:port/docent");
    docent(folder.path(), &[("DATABASE_URL", &nonsense)], &["migrate"])
        .await
        .fails(1, &["database"]);

    let empty = Database::empty().await;
    let env = [("DATABASE_URL", empty.url.as_str())];
    let early = docent(folder.path(), &env, &["tenant", "create", "acme"]).await;
    early.fails(1, &["docent migrate"]);
}
