//! Probes against real servers on loopback, and their schedule.

mod common;
mod probing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::Machine;
use devices::probe::{Scheduler, run};
use jiff::SignedDuration;
use probing::{device, devices, http, probe, ran, serve, shown, tcp};
use reconcile::{Check, HttpCheck, Probe, ProbeCode, ProbeState, TlsCheck, Trust, Way};

#[tokio::test]
async fn tcp_connects_sends_and_expects() {
    let (greeting, silent) = (serve(Some("220 ready\r\n")).await, serve(None).await);
    assert_eq!(shown(tcp(greeting, None, None)).await, "Passed: ");
    assert_eq!(shown(tcp(greeting, Some("HELO\r\n"), Some("220 "))).await, "Passed: ");
    assert_eq!(shown(tcp(greeting, Some("HELO\r\n"), Some("250 "))).await, "BadAnswer: the answer does not contain `250 `");
    assert_eq!(shown(tcp(silent, Some("x"), Some("y"))).await, "Timeout: no answer within 3s");
    assert!(shown(tcp(1, None, None)).await.starts_with("Refused: Connection refused"));
    let phases = ran(tcp(greeting, Some("x"), Some("220 "))).await.measured.phases;
    assert!(phases.connect.is_some() && phases.first_byte.is_some() && phases.tls.is_none() && phases.resolve.is_none(), "{phases:?}");
}

#[tokio::test]
async fn where_from_and_to_which_address_is_a_condition() {
    let port = serve(Some("hello")).await;
    let (devices, _directory) = devices();
    let ran = async |address: &str, way: Way| {
        let asked = reconcile::Device { address: address.into(), ..device(Vec::new()) };
        let run = run(&devices, &asked, &Probe { way, ..probe(tcp(port, None, None)) }).await;
        format!("{:?}: {}", run.code, run.words)
    };
    let source = |text: &str| Way { family: crds::Family::Any, source: Some(text.parse().unwrap()) };
    let family = |family| Way { family, source: None };
    assert_eq!(ran("127.0.0.1", source("127.0.0.9")).await, "Passed: ");
    assert_eq!(ran("127.0.0.1", source("192.0.2.77")).await, "NoSource: 192.0.2.77 is not an address of the machine that asks");
    assert_eq!(ran("127.0.0.1", source("::1")).await, "NoAddress: `127.0.0.1` has no address of the family that is asked from");
    assert_eq!(ran("127.0.0.1", family(crds::Family::IPv6)).await, "NoAddress: `127.0.0.1` has no IPv6 address");
    assert_eq!(ran("localhost", family(crds::Family::IPv4)).await, "Passed: ");
    assert!(ran("nowhere.invalid", Way::default()).await.starts_with("No"), "no address, or no resolver");
}

#[tokio::test]
async fn http_looks_at_the_status_and_the_body() {
    let fine = serve(Some("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nall ok")).await;
    let broken = serve(Some("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    let rubbish = serve(Some("rubbish\r\n\r\n")).await;
    assert_eq!(shown(http(fine, &[], None)).await, "Passed: status 200");
    assert_eq!(shown(http(fine, &[200], Some("all ok"))).await, "Passed: status 200");
    assert_eq!(shown(http(fine, &[], Some("all fine"))).await, "BadAnswer: the body does not contain `all fine`");
    assert_eq!(shown(http(fine, &[204], None)).await, "BadStatus: status 200");
    assert_eq!(shown(http(broken, &[], None)).await, "BadStatus: status 503");
    assert_eq!(shown(http(broken, &[503], None)).await, "Passed: status 503");
    assert!(shown(http(rubbish, &[], None)).await.starts_with("BadAnswer: "));
    assert!(shown(http(1, &[], None)).await.starts_with("Refused: Connection refused"));
    let matches = |pattern: &str| Check::Http(Box::new(HttpCheck { matches: Some(pattern.into()), ..HttpCheck::get(fine, "/") }));
    assert_eq!(shown(matches("^all (ok|fine)$")).await, "Passed: status 200");
    assert_eq!(shown(matches("^ok")).await, "BadAnswer: nothing in the body matches `^ok`");
    assert_eq!(shown(matches("(")).await, "BadProbe: `(` is not a regular expression");
    let phases = ran(matches("ok")).await.measured.phases;
    assert!(phases.connect.is_some() && phases.first_byte.is_some() && phases.transfer.is_some(), "{phases:?}");
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_may_be() {
    let moved = |to: String| {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        serve(Some(String::leak(answer)))
    };
    // It says what it was asked.
    let other = probing::echo().await;
    let there = moved(format!("http://127.0.0.1:{other}/there")).await;
    let asked = |port, contains: &str| HttpCheck {
        headers: [("Authorization".into(), "Bearer hush".into())].into(),
        contains: Some(contains.into()),
        ..HttpCheck::get(port, "/here")
    };
    assert_eq!(shown(Check::Http(Box::new(asked(other, "Bearer hush")))).await, "Passed: status 200");
    assert_eq!(shown(Check::Http(Box::new(asked(there, "GET /there")))).await, "Passed: status 200");
    assert_eq!(shown(Check::Http(Box::new(asked(there, "hush")))).await, "BadAnswer: the body does not contain `hush`");
    let refuse = |status: &[u16]| {
        Check::Http(Box::new(HttpCheck { redirects: crds::Redirects::Refuse, status: status.to_vec(), ..HttpCheck::get(there, "/") }))
    };
    assert_eq!(shown(refuse(&[])).await, "BadStatus: status 302");
    assert_eq!(shown(refuse(&[302])).await, "Passed: status 302");
    // What only this machine can reach is not asked on behalf of a device.
    let inward = moved(format!("http://127.0.0.2:{other}/")).await;
    assert_eq!(shown(http(inward, &[], None)).await, "BadRedirect: a redirect to 127.0.0.2, which is only for this machine");
    let metadata = moved("http://169.254.169.254/latest/meta-data/".into()).await;
    assert!(shown(http(metadata, &[], None)).await.starts_with("BadRedirect: "));
    let elsewhere = moved("gopher://127.0.0.1/".into()).await;
    assert_eq!(shown(http(elsewhere, &[], None)).await, "BadRedirect: a redirect to what is neither HTTP nor HTTPS");
    let circle = serve(Some("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(shown(http(circle, &[], None)).await, "BadRedirect: more than 5 redirects");
}

/// Whatever a device sends, a run ends, in bounded time and memory, and it does not pass.
#[tokio::test]
async fn hostile_answers_are_bounded() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = probing::flood(head, "1000\r\n", 0x1000, "\r\n", Duration::ZERO).await;
    assert_eq!(shown(http(endless, &[], Some("needle"))).await, "BadAnswer: the body does not contain `needle`");
    let drip = probing::flood(head, "1\r\n", 1, "\r\n", Duration::from_millis(50)).await;
    assert_eq!(shown(http(drip, &[], Some("needle"))).await, "Timeout: no answer within 3s");
    let headers = probing::flood("HTTP/1.1 200 OK\r\n", "X: ", 1000, "\r\n", Duration::ZERO).await;
    let said = shown(http(headers, &[], None)).await;
    assert!(said.starts_with("BadAnswer: ") || said.starts_with("Closed: "), "{said}");
    let line = probing::flood("HTTP/1.1 200 ", "", 1000, "", Duration::ZERO).await;
    let said = shown(http(line, &[], None)).await;
    assert!(said.starts_with("BadAnswer: ") || said.starts_with("Closed: "), "{said}");
    let greeting = probing::flood("", "", 1000, "", Duration::ZERO).await;
    assert_eq!(shown(tcp(greeting, None, Some("needle"))).await, "BadAnswer: the answer does not contain `needle`");
    let shut = serve(Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")).await;
    assert!(shown(http(shut, &[], Some("needle"))).await.starts_with("Closed: "));
    // A pattern that a backtracking engine would never end with.
    let long = String::leak(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "a".repeat(60_000)));
    let long = serve(Some(long)).await;
    let matches = Check::Http(Box::new(HttpCheck { matches: Some("(a*)*b".into()), ..HttpCheck::get(long, "/") }));
    assert_eq!(shown(matches).await, "BadAnswer: nothing in the body matches `(a*)*b`");
}

/// Whatever comes back, also what begins as it should: the run ends, it is held against the device, and it fits into a line.
#[test]
fn rubbish_is_held_against_whoever_sends_it() {
    use proptest::prelude::any;
    use proptest::test_runner::{Config, TestRunner};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let beginnings = [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ",
        "\u{16}\u{3}\u{3}",
    ];
    let rubbish = (0..beginnings.len(), proptest::collection::vec(any::<u8>(), 0..400));
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&rubbish, |(beginning, bytes)| {
        let answer = [beginnings[beginning].as_bytes(), &bytes].concat();
        runtime.block_on(async {
            let port = probing::say(answer).await;
            let trust = Trust { insecure: true, ..Trust::default() };
            let checks = [
                http(port, &[], Some("what is nowhere in it")),
                tcp(port, None, Some("what is nowhere in it")),
                Check::Tls(Box::new(TlsCheck { port, min_validity: None, trust })),
            ];
            for check in checks {
                let run = ran(check).await;
                assert_eq!(run.code.state(), ProbeState::Fail, "{:?}: {}", run.code, run.words);
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

/// Whether the kernel lets us send echo requests is the machine's affair; that it is never the device's fault is ours.
#[tokio::test]
async fn icmp_passes_or_says_that_it_could_not_be_run() {
    let ping = |count, max_rtt| Check::Icmp { count, max_loss_percent: 50, max_rtt };
    let first = ran(ping(4, None)).await;
    if first.code == ProbeCode::NotPermitted {
        assert!(first.words.starts_with("the kernel refuses ICMP sockets"), "{}", first.words);
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the kernel refuses ICMP sockets, and in CI nothing is skipped");
        return eprintln!("SKIPPED: the kernel refuses ICMP sockets");
    }
    assert_eq!(first.code, ProbeCode::Passed, "{}", first.words);
    let echoes = first.measured.echoes.unwrap();
    assert_eq!((echoes.sent, echoes.received), (4, 4));
    assert!(echoes.least > Duration::ZERO && echoes.least <= echoes.average && echoes.average <= echoes.most);
    assert!(first.words.starts_with("4 of 4 answered, round trip "), "{}", first.words);
    assert!(shown(ping(1, Some(SignedDuration::ZERO))).await.starts_with("Slow: 1 of 1 answered"));
    // Many at once to one place: each counts its own. A raw socket hears what is for all of them, so not too many.
    let (devices, _directory) = devices();
    let (here, probe_three) = (device(Vec::new()), probe(ping(3, None)));
    let at_once = futures::future::join_all((0..20).map(|_| run(&devices, &here, &probe_three))).await;
    let words: Vec<&str> = at_once.iter().map(|run| run.words.as_str()).collect();
    assert!(words.iter().all(|words| words.starts_with("3 of 3 answered")), "{words:?}");
    let six = reconcile::Device { address: "::1".into(), ..device(Vec::new()) };
    let run = run(&devices, &six, &probe(ping(2, None))).await;
    // Where there is no IPv6 at all, that is said.
    assert!(matches!(run.code, ProbeCode::Passed | ProbeCode::NotPermitted | ProbeCode::Exhausted), "{:?}: {}", run.code, run.words);
}

#[tokio::test]
async fn a_command_is_run_over_ssh_and_a_key_that_is_wrong_here_is_not_the_device_s_fault() {
    let Some(machine) = Machine::start() else { return };
    let (devices, device) = (machine.devices(), machine.device("web-01"));
    let command = |command: &str, exit_code| probe(Check::Ssh { command: command.into(), exit_code });
    assert_eq!(run(&devices, &device, &command("exit 3", 3)).await.code, ProbeCode::Passed);
    let failed = run(&devices, &device, &command("echo no disk; exit 1", 0)).await;
    assert_eq!((failed.code, failed.words.as_str()), (ProbeCode::BadExit, "exit code 1: no disk"));
    let slow = run(&devices, &device, &command("sleep 60", 0)).await;
    assert!(slow.code == ProbeCode::Timeout && slow.words.contains("took longer than"), "{}", slow.words);
    let mut other = device.clone();
    common::ssh(&mut other).secret = Some("gone".into());
    assert_eq!(run(&devices, &other, &command("true", 0)).await.code, ProbeCode::NoCredential);
    let mut away = device;
    common::ssh(&mut away).port = 1;
    assert_eq!(run(&devices, &away, &command("true", 0)).await.code, ProbeCode::Refused);
}

#[tokio::test]
async fn the_schedule_tells_what_is_news_and_forgets_who_left() {
    let (devices, _directory) = devices();
    let port = serve(Some("hello")).await;
    let (out, mut ran) = tokio::sync::mpsc::channel(16);
    let mut scheduler = Scheduler::new(Arc::new(devices), out, Vec::new());
    let watched = device(vec![probe(tcp(port, None, None)), Probe { name: "down".into(), ..probe(tcp(1, None, None)) }]);
    scheduler.set(&watched.name, Some(&Arc::new(watched.clone())));
    let mut states = BTreeMap::new();
    while states.len() < 2 {
        let ran = tokio::time::timeout(Duration::from_secs(20), ran.recv()).await.unwrap().unwrap();
        assert!(ran.seen.seen_at.is_some());
        states.insert(ran.probe, (ran.seen.state, ran.seen.code));
    }
    assert_eq!(states["it"], (ProbeState::Ok, ProbeCode::Passed));
    assert_eq!(states["down"], (ProbeState::Fail, ProbeCode::Refused));
    // Where each run counts, each is told.
    scheduler.attend(&watched.name, true);
    for _ in 0..4 {
        tokio::time::timeout(Duration::from_secs(20), ran.recv()).await.unwrap().unwrap();
    }
    // It left: nothing runs any more. What had been told before is still in the channel.
    scheduler.set(&watched.name, None);
    drop(scheduler);
    while ran.recv().await.is_some() {}
}
