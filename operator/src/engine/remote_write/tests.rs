//! The loop against a server that answers as it is told.

use std::sync::{Mutex, PoisonError};

use reconcile::{Metric, Name, Series, Usage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::wire::ENDED;
use super::*;

/// Longest wait for something to happen.
const WAIT: Duration = Duration::from_secs(30);
const NO_CONTENT: &str = "204 No Content";
const AWAY: &str = "503 Service Unavailable";

/// Looks for what has ended are rare, unless a test wants them.
const QUICK: Pace = Pace {
    soon: Duration::from_millis(10),
    again: (Duration::from_millis(20), Duration::from_secs(2)),
    look: Duration::from_secs(3600),
    room: Room { waiting: 100, series: 100 },
};

/// A request that came: when, how it was answered, and what it said.
#[derive(Clone)]
struct Asked {
    at: Instant,
    answer: &'static str,
    samples: Vec<(String, u64, i64)>,
}

struct Server {
    port: u16,
    /// The next answers; the last one is given for ever.
    answers: Arc<Mutex<VecDeque<&'static str>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, answers: Arc::default(), asked: Arc::default() };
        server.answer(answers);
        let (answers, asked) = (server.answers.clone(), server.asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let samples = read(&request(&mut stream).await);
                let answer = {
                    let mut answers = answers.lock().unwrap();
                    if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
                };
                asked.lock().unwrap().push(Asked { at: Instant::now(), answer, samples });
                let text = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
        server
    }

    fn answer(&self, answers: &[&'static str]) {
        *self.answers.lock().unwrap() = answers.iter().copied().collect();
    }

    /// Sends to it what is told from now on.
    fn send(&self, usages: &Arc<Usages>, pace: Pace) -> JoinHandle<()> {
        let receiver = Receiver { url: format!("http://127.0.0.1:{}/write", self.port).parse().unwrap(), token: None };
        let (usages, news) = (usages.clone(), usages.on_usage());
        tokio::spawn(async move { run(&usages, news, &receiver, pace).await })
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it took.
    fn taken(&self) -> Vec<(String, u64, i64)> {
        self.asked().into_iter().filter(|asked| asked.answer == NO_CONTENT).flat_map(|asked| asked.samples).collect()
    }
}

/// The body of a request.
async fn request(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "it was cut");
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let wanted: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + wanted {
            return bytes.split_off(end + 4);
        }
    }
}

/// Of each sample its labels, the bits of its value, and its millisecond.
fn read(body: &[u8]) -> Vec<(String, u64, i64)> {
    let (mut packed, mut message) = (body, Vec::new());
    number(&mut packed);
    while let [_, low, high, rest @ ..] = packed {
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])) + 1);
        message.extend_from_slice(piece);
        packed = rest;
    }
    let label = |label: &[u8]| fields(label).into_iter().map(|(_, text)| String::from_utf8_lossy(text)).collect::<Vec<_>>().join("=");
    let sample = |(_, series): (u8, &[u8])| {
        let parts = fields(series);
        let labels: Vec<String> = parts.iter().filter(|(tag, _)| *tag == 0x0a).map(|(_, bytes)| label(bytes)).collect();
        let (_, value) = parts.last().unwrap();
        let (bits, mut millisecond) = (u64::from_le_bytes(value[1..9].try_into().unwrap()), &value[10..]);
        (labels.join(" "), bits, number(&mut millisecond).cast_signed())
    };
    fields(&message).into_iter().map(sample).collect()
}

/// Fields with a length before them.
fn fields(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut fields = Vec::new();
    while let [tag, rest @ ..] = bytes {
        bytes = rest;
        let length = usize::try_from(number(&mut bytes)).unwrap();
        let (field, rest) = bytes.split_at(length);
        fields.push((*tag, field));
        bytes = rest;
    }
    fields
}

fn number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let [byte, rest @ ..] = *bytes {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < end, "not within {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn web() -> Name {
    Name::parse("web-01")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn usage(at: Timestamp, values: &[(Metric, f64)]) -> Arc<Usage> {
    Arc::new(Usage { at, values: values.iter().map(|(metric, value)| (Series::of(*metric), *value)).collect() })
}

/// One sample as the server reads it.
fn load(value: f64, millisecond: i64) -> (String, u64, i64) {
    ("__name__=evenkeel_device_load_one device=web-01".into(), value.to_bits(), millisecond)
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_refused_is_given_up() {
    let server = Server::start(&["500 Oops", AWAY, "429 Too Many Requests\r\nRetry-After: 1", NO_CONTENT]).await;
    let usages = Arc::new(Usages::default());
    let sending = server.send(&usages, QUICK);
    let tell = |second: i64, value: f64| usages.took(&web(), &usage(at(second), &[(Metric::LoadOne, value)]), None);
    tell(1, 0.5);
    until("the fourth try", || server.asked().len() == 4).await;
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.samples == [load(0.5, 1000)]), "the same each time");
    let waits: Vec<Duration> = asked.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits[0] >= QUICK.again.0 / 2 && waits[1] >= QUICK.again.0, "twice as long: {waits:?}");
    assert!(waits[2] >= Duration::from_secs(1), "as it was asked: {waits:?}");
    assert_eq!(usages.given_up(), 0);

    // What is refused would be refused again; what comes after it is not held up.
    server.answer(&["400 Bad Request", NO_CONTENT]);
    tell(2, 0.75);
    until("it is given up", || usages.given_up() == 1).await;
    tell(3, 0.25);
    until("the next one", || server.taken().len() == 2).await;
    assert_eq!(server.taken(), [load(0.5, 1000), load(0.25, 3000)]);
    assert_eq!((server.asked().len(), usages.given_up()), (6, 1), "nothing is sent where there is nothing");
    sending.abort();
}

#[tokio::test]
async fn while_the_other_side_is_away_the_oldest_give_way_and_are_counted() {
    let server = Server::start(&[AWAY]).await;
    let usages = Arc::new(Usages::default());
    let sending = server.send(&usages, Pace { room: Room { waiting: 3, ..QUICK.room }, ..QUICK });
    for second in 1..=5_u8 {
        usages.took(&web(), &usage(at(second.into()), &[(Metric::LoadOne, second.into())]), None);
    }
    until("two gave way", || usages.given_up() == 2).await;
    server.answer(&[NO_CONTENT]);
    until("it is back", || !server.taken().is_empty()).await;
    assert_eq!(server.taken(), [load(3.0, 3000), load(4.0, 4000), load(5.0, 5000)]);
    assert_eq!(usages.given_up(), 2);
    sending.abort();
}

#[tokio::test]
async fn the_series_of_a_device_that_left_are_ended() {
    let server = Server::start(&[NO_CONTENT]).await;
    let usages = Arc::new(Usages::default());
    let sending = server.send(&usages, Pace { look: Duration::from_millis(20), ..QUICK });
    let now = Timestamp::now();
    usages.took(&web(), &usage(now, &[(Metric::LoadOne, 0.5)]), None);
    until("it is sent", || server.taken().len() == 1).await;
    usages.forget(&web());
    until("it is ended", || server.taken().len() == 2).await;
    let (series, bits, millisecond) = server.taken().remove(1);
    assert_eq!((series, bits), (load(0.0, 0).0, 0x7ff0_0000_0000_0002));
    assert_eq!(millisecond, now.as_millisecond() + 1);
    sending.abort();
}

/// What waits, as `load.one@90000=0.5`, and an end as `load.one@90000 ends`.
fn waiting(queue: &mut Queue) -> Vec<String> {
    let shown = |sample: Sample| match sample.value.to_bits() == ENDED.to_bits() {
        true => format!("{}@{} ends", sample.series, sample.millisecond),
        false => format!("{}@{}={}", sample.series, sample.millisecond, sample.value),
    };
    queue.waiting.drain(..).map(shown).collect()
}

#[test]
fn what_comes_no_more_is_ended_once() {
    let usages = Usages::default();
    let (mut news, mut queue) = (usages.on_usage(), Queue::new(QUICK.room));
    let mut take = |queue: &mut Queue| {
        while let Ok(new) = news.try_recv() {
            assert_eq!(queue.take(&new), 0);
        }
        waiting(queue)
    };
    let none: [&str; 0] = [];
    let look = |queue: &mut Queue, second: i64| {
        assert_eq!(queue.end(&usages, at(second)), 0);
        waiting(queue)
    };

    // What is missing from the newest reading.
    usages.took(&web(), &usage(at(60), &[(Metric::LoadOne, 0.5), (Metric::Uptime, 7.0)]), None);
    usages.took(&web(), &usage(at(90), &[(Metric::LoadOne, 0.75)]), None);
    assert_eq!(take(&mut queue), ["load.one@60000=0.5", "uptime@60000=7", "load.one@90000=0.75", "uptime@90000 ends"]);
    assert_eq!(look(&mut queue, 100), none);

    // A device that can't be read, and one that can be read again.
    usages.failed(&web(), at(120), "no answer".into());
    assert_eq!(look(&mut queue, 121), ["load.one@120000 ends"]);
    assert_eq!(look(&mut queue, 136), none);
    usages.took(&web(), &usage(at(150), &[(Metric::LoadOne, 1.0)]), None);
    assert_eq!(take(&mut queue), ["load.one@150000=1"]);

    // A probe that passes no more, and goes on saying what is lost.
    let probe = |second: i64, said: &[(Metric, f64)]| usages.probe_took(&web(), "ping", at(second), said);
    probe(160, &[(Metric::ProbeSeconds, 0.25)]);
    probe(160, &[(Metric::ProbeLoss, 0.0), (Metric::ProbeRtt, 0.25)]);
    probe(175, &[(Metric::ProbeLoss, 1.0)]);
    let said = ["probes[ping].seconds@160000=0.25", "probes[ping].loss@160000=0", "probes[ping].rtt@160000=0.25"];
    assert_eq!(take(&mut queue), [&said[..], &["probes[ping].loss@175000=1", "probes[ping].rtt@175000 ends"]].concat());
    usages.took(&web(), &usage(at(440), &[(Metric::LoadOne, 2.0)]), None);
    probe(440, &[(Metric::ProbeLoss, 1.0)]);
    assert_eq!(take(&mut queue), ["load.one@440000=2", "probes[ping].loss@440000=1"]);
    assert_eq!(look(&mut queue, 460), none, "five minutes are not over");
    assert_eq!(look(&mut queue, 461), ["probes[ping].seconds@460000 ends"]);

    // A device that left: all of it, in any order.
    usages.forget(&web());
    let mut all = look(&mut queue, 462);
    all.sort();
    assert_eq!(all, ["load.one@440001 ends", "probes[ping].loss@440001 ends"]);
    assert_eq!(look(&mut queue, 463), none);
}

#[test]
fn ends_are_remembered_as_far_as_there_is_room() {
    let usages = Usages::default();
    let mut queue = Queue::new(Room { waiting: 100, series: 1 });
    for name in ["web-01", "web-02"] {
        queue.take(&News { device: Name::parse(name), usage: usage(at(60), &[(Metric::LoadOne, 0.5)]) });
    }
    // The same one is not sent twice, and no older one.
    queue.take(&News { device: web(), usage: usage(at(60), &[(Metric::LoadOne, 0.5)]) });
    queue.take(&News { device: Name::parse("web-02"), usage: usage(at(30), &[(Metric::LoadOne, 0.5)]) });
    assert_eq!(waiting(&mut queue), ["load.one@60000=0.5"; 2]);
    queue.end(&usages, at(61));
    assert_eq!(waiting(&mut queue), ["load.one@60001 ends"], "of the first one");
    queue.take(&News { device: Name::parse("web-02"), usage: usage(at(90), &[(Metric::LoadOne, 0.5)]) });
    queue.end(&usages, at(91));
    assert_eq!(waiting(&mut queue), ["load.one@90000=0.5", "load.one@90001 ends"], "there is room again");
}

#[test]
fn the_wait_grows_is_spread_and_is_never_shorter_than_asked() {
    let seconds = Duration::from_secs;
    let of = |failures, after, dice| wait((seconds(1), seconds(120)), failures, after, dice);
    assert_eq!([1, 2, 3, 7, 8, 1000].map(|failures| of(failures, None, 1.0).as_secs()), [1, 2, 4, 64, 120, 120]);
    assert_eq!([0.0, 0.5, 1.0].map(|dice| of(3, None, dice)), [seconds(2), seconds(3), seconds(4)]);
    assert_eq!([0, 30, 9999].map(|after| of(3, Some(seconds(after)), 0.0).as_secs()), [1, 30, 120], "within bounds");
}
