//! The engine as a process: who comes in first, and that nothing that lets in is in the log.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const PASSWORD: &str = "correct horse battery";

/// A running engine, which ends with this.
struct Engine {
    child: Child,
    said: Arc<Mutex<String>>,
    address: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn evenkeel(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.env("EVENKEEL_DATA", data).env_remove("DATABASE_URL").env_remove("EVENKEEL_TOKEN");
    command
}

/// Everything that is logged at all is logged.
fn start(folder: &Path) -> Engine {
    let fleet = folder.join("fleet");
    std::fs::create_dir_all(&fleet).unwrap();
    std::fs::write(
        fleet.join("class.yaml"),
        "apiVersion: evenkeel.dev/v1alpha1\nkind: DeviceClass\nmetadata: {name: web}\nspec: {labels: {a: b}}\n",
    )
    .unwrap();
    let address = format!("127.0.0.1:{}", port());
    let mut command = evenkeel(&folder.join("data"));
    command.args(["run", "--listen", &address, "--repo"]).arg(&fleet).env("RUST_LOG", "trace").stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let (lines, into) = (BufReader::new(child.stderr.take().unwrap()), said.clone());
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let mut said = into.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    let engine = Engine { child, said, address };
    for _ in 0..600 {
        if std::net::TcpStream::connect(&engine.address).is_ok() && engine.said.lock().unwrap().contains("in force commit=") {
            return engine;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{}", engine.said.lock().unwrap());
}

/// Asks, and returns status line, headers and body as they come.
fn ask(engine: &Engine, request: &str, headers: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(&engine.address).unwrap();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
        engine.address
    );
    stream.write_all(text.as_bytes()).unwrap();
    std::io::read_to_string(stream).unwrap()
}

fn between<'a>(text: &'a str, before: &str, after: &[char]) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before} in {text}")).1;
    rest.split(after).next().unwrap_or_default()
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let output = evenkeel(data).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nothing_that_lets_in_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let engine = start(folder.path());
    let first = {
        let said = engine.said.lock().unwrap();
        assert!(said.contains(&format!("http://{}/sign-in#token=", engine.address)), "{said}");
        between(&said, "#token=", &['\n', ' ']).to_owned()
    };
    let body = format!(r#"{{"token":"{first}","user":"ada","password":"{PASSWORD}"}}"#);
    let answer = ask(&engine, "POST /api/v1/session/first", "", &body);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (cookie, csrf) = (between(&answer, "evenkeel=", &[';']).to_owned(), between(&answer, "\"csrf\":\"", &['"']).to_owned());
    let headers = format!("Cookie: evenkeel={cookie}\r\nX-CSRF-Token: {csrf}\r\n");
    let answer = ask(&engine, "POST /api/v1/tokens", &headers, r#"{"name":"ci"}"#);
    let token = between(&answer, "\"token\":\"", &['"']).to_owned();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert!(ask(&engine, "GET /api/v1/users", &bearer, "").starts_with("HTTP/1.1 200"));
    assert!(
        ask(
            &engine,
            &format!("GET /api/v1/session?token={token}&password={PASSWORD}").replace(' ', "+").replacen('+', " ", 1),
            &bearer,
            ""
        )
        .starts_with("HTTP/1.1 400")
    );
    assert!(ask(&engine, "POST /api/v1/session", "", r#"{"user":"ada","password":"wrong wrong wrong"}"#).starts_with("HTTP/1.1 401"));
    assert!(
        ask(&engine, "POST /api/v1/session", "", r#"{"user":"typed into the wrong field","password":"x"}"#).starts_with("HTTP/1.1 401")
    );
    // By the command line too: the password from a file, the invitation and the token where they were asked for.
    let file = folder.path().join("password");
    std::fs::write(&file, "another long passphrase\n").unwrap();
    run(&data, &["users", "add", "bob", "--group", "web", "--password-file", file.to_str().unwrap()]);
    let invited = run(&data, &["users", "invite", "eve"]);
    let invitation = between(&invited, "#invitation=", &['\n']).to_owned();
    let second = run(&data, &["tokens", "create", "cd", "--user", "bob", "--scope", "view:devices"]);
    assert!(run(&data, &["users", "list"]).contains("invited"));
    assert!(run(&data, &["tokens", "list"]).contains("view:Device"));
    let audit = run(&data, &["audit", "list", "-o", "json", "--limit", "1000"]);
    assert!(["\"make-token\"", "user/ada", "user/unknown", "user/eve"].iter().all(|part| audit.contains(part)), "{audit}");

    let said = engine.said.lock().unwrap().clone();
    assert_eq!(said.matches(&first).count(), 1, "the one-time token, on the one line that is meant to say it");
    assert!(said.contains(" DEBUG "), "it is not quiet");
    let database =
        std::fs::read(data.join("evenkeel.db")).unwrap().into_iter().chain(std::fs::read(data.join("evenkeel.db-wal")).unwrap_or_default());
    let database = String::from_utf8_lossy(&database.collect::<Vec<u8>>()).into_owned();
    let secrets = [
        PASSWORD,
        "wrong wrong wrong",
        "another long passphrase",
        "typed into the wrong field",
        &cookie,
        &csrf,
        &token,
        &invitation,
        second.trim(),
    ];
    for secret in secrets {
        for (place, text) in [("log", &said), ("audit log", &audit), ("store", &database)] {
            assert!(!text.contains(secret), "{secret} is in the {place}");
        }
    }
    assert!(!database.contains(&first) && database.contains("$argon2id$"), "the store");
    // Now that there is a user, the next start asks nobody in.
    drop(engine);
    let again = start(folder.path());
    assert!(!again.said.lock().unwrap().contains("#token="));
    // A restart ends no session.
    assert!(ask(&again, "GET /api/v1/users", &headers, "").starts_with("HTTP/1.1 200"));
}

const FLEET: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {name: web-ams, labels: {site: ams}}
spec: {type: Server, address: 127.0.0.1, suspend: true}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {name: web-fra, labels: {site: fra}}
spec: {type: Server, address: 127.0.0.1, suspend: true}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Role
metadata: {name: ams}
spec:
  subjects: [{group: ams}]
  allow: [{verbs: [view], devices: {matchLabels: {site: ams}}}]
";

/// With the token of somebody who is no administrator the command line shows what they may see, and says of the rest for whom it is.
#[test]
fn who_may_see_something_sees_it_by_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(folder.path().join("fleet")).unwrap();
    std::fs::write(folder.path().join("fleet/fleet.yaml"), FLEET).unwrap();
    let engine = start(folder.path());
    let file = folder.path().join("password");
    std::fs::write(&file, "another long passphrase\n").unwrap();
    let token = |name: &str, group: &str| {
        run(&data, &["users", "add", name, "--group", group, "--password-file", file.to_str().unwrap()]);
        run(&data, &["tokens", "create", "cli", "--user", name]).trim().to_owned()
    };
    let (bob, ada) = (token("bob", "ams"), token("ada", "admins"));
    let by = |token: &str, arguments: &str| {
        let mut command = evenkeel(&folder.path().join("elsewhere"));
        command.env("EVENKEEL_SERVER", &engine.address).env("EVENKEEL_TOKEN", token);
        let output = command.args(arguments.split(' ')).output().unwrap();
        let [said, wrong] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), said, wrong)
    };
    for (arguments, part) in [
        ("get devices", "web-ams"),
        ("get device web-ams -o yaml", "kind: Device"),
        ("explain device/web-ams", "device/web-ams is"),
        ("alerts", "ID"),
        ("logs", ""),
    ] {
        let (is_done, said, wrong) = by(&bob, arguments);
        assert!(is_done && said.contains(part) && !said.contains("web-fra"), "{arguments}: {said}{wrong}");
    }
    for (arguments, part) in [
        ("get device web-fra", "that you may see"),
        ("explain device/web-fra", "that you may see"),
        ("top", "administrators only"),
        ("top", "evenkeel get"),
        ("users list", "administrators"),
    ] {
        let (is_done, said, wrong) = by(&bob, arguments);
        assert!(!is_done && said.is_empty() && wrong.contains(part), "{arguments}: {said}{wrong}");
    }
    assert!(by(&ada, "get devices").1.contains("web-fra"));
    let (_, may, _) = by(&ada, "can bob view device/web-ams");
    assert!(may.starts_with("yes: role/ams spec.allow[0]\nas a member of ams, which the engine knows of\nnot by kubectl"), "{may}");
    let (_, invited, _) = by(&ada, "users invite eve");
    assert!(invited.contains(&format!("\nhttp://{}/sign-in#invitation=", engine.address)), "{invited}");
}

/// What can't be meant is said by the name of the option.
#[test]
fn what_cannot_be_meant_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s").unwrap();
    let secret = secret.to_str().unwrap();
    let oidc = ["--oidc-client-id", "x", "--oidc-client-secret-file", secret];
    let external = ["--listen", "127.0.0.1:0", "--external-url", "https://fleet.example.com"];
    for (arguments, part) in [
        ([&["--external-url", "https://x.example.com"][..]].concat(), "--listen"),
        ([&["--listen", "127.0.0.1:0", "--external-url", "https://x.example.com/evenkeel"][..]].concat(), "--external-url"),
        ([&["--listen", "127.0.0.1:0", "--trusted-proxy", "10.0.0.0/33"][..]].concat(), "--trusted-proxy"),
        ([&external[..], &["--oidc-issuer", "https://dex.example.com"]].concat(), "--oidc-client-id"),
        ([&external[..], &oidc, &["--oidc-issuer", "http://dex.example.com"]].concat(), "--oidc-issuer: it has to be https"),
        ([&["--kubernetes-tokens"][..]].concat(), "--kubernetes"),
    ] {
        let fleet = folder.path().join("fleet");
        std::fs::create_dir_all(&fleet).unwrap();
        let mut command = evenkeel(&folder.path().join("data"));
        let output = command.args(["run", "--repo"]).arg(fleet).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{arguments:?}: {said}");
    }
}
