//! A DNS question to a device (RFC 1035): over UDP, and over TCP where the answer says that it was cut.
//!
//! The device is asked itself, once: no resolver of ours, no cache, no search list. What comes back counts only if it is an answer to this very
//! question (RFC 5452).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use reconcile::{DnsCheck, ProbeCode, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::{Checked, Phases, Reason, reach};

/// Bytes of an answer over UDP: without EDNS none is longer than 512, but some servers don't care.
const DATAGRAM: usize = 4096;
/// Answers to other questions that are passed over before it is given up: somebody is guessing then.
const STRAY: usize = 16;
/// Answers, and characters of each, that are shown.
const SHOWN: usize = 3;
const WORDS: usize = 100;

/// Asks, and looks for the answer that is wanted.
pub(super) async fn check(host: &str, way: &Way, check: &DnsCheck, phases: &mut Phases) -> Checked {
    let name = Name::from_utf8(&check.name).map(|mut name| {
        name.set_fqdn(true);
        name
    });
    let bad = |_| Reason::new(ProbeCode::BadProbe, format!("`{}` is no name that can be asked for", check.name));
    let query = Query::query(name.map_err(bad)?, kind(check.record));
    let address = SocketAddr::new(reach::address(host, way, phases).await?, check.port);
    let mut asked = Message::query();
    asked.metadata.recursion_desired = true;
    asked.add_query(query);
    let bytes = asked.to_vec().map_err(|error| Reason::new(ProbeCode::BadProbe, error.to_string()))?;
    let began = Instant::now();
    let mut answer = over_udp(address, way, &asked, &bytes).await?;
    if answer.metadata.truncation {
        answer = over_tcp(address, way, &asked, &bytes, phases).await?;
    }
    Phases::add(&mut phases.first_byte, began.elapsed());
    judge(check, &answer)
}

fn kind(record: crds::RecordType) -> RecordType {
    match record {
        crds::RecordType::A => RecordType::A,
        crds::RecordType::Aaaa => RecordType::AAAA,
        crds::RecordType::Cname => RecordType::CNAME,
        crds::RecordType::Mx => RecordType::MX,
        crds::RecordType::Ns => RecordType::NS,
        crds::RecordType::Ptr => RecordType::PTR,
        crds::RecordType::Soa => RecordType::SOA,
        crds::RecordType::Srv => RecordType::SRV,
        crds::RecordType::Txt => RecordType::TXT,
    }
}

async fn over_udp(address: SocketAddr, way: &Way, asked: &Message, bytes: &[u8]) -> Result<Message, Reason> {
    let any = if address.is_ipv4() { IpAddr::from([0_u8; 4]) } else { IpAddr::from([0_u8; 16]) };
    let source = way.source.unwrap_or(any);
    let socket = UdpSocket::bind(SocketAddr::new(source, 0)).await.map_err(|error| reach::unbound(source, &error))?;
    let broken = |error: std::io::Error| reach::broken(&error);
    // A connected socket takes nothing from anybody else, and hears that nobody listens there.
    socket.connect(address).await.map_err(broken)?;
    socket.send(bytes).await.map_err(broken)?;
    let mut answer = [0; DATAGRAM];
    let mut last = None;
    for _ in 0..STRAY {
        let length = socket.recv(&mut answer).await.map_err(broken)?;
        match read(&answer[..length], asked) {
            Ok(message) => return Ok(message),
            Err(reason) => last = Some(reason),
        }
    }
    Err(last.unwrap_or_else(|| Reason::new(ProbeCode::BadAnswer, "no answer")))
}

/// With its length before it (RFC 1035, section 4.2.2), so no more than 64 KiB.
async fn over_tcp(address: SocketAddr, way: &Way, asked: &Message, bytes: &[u8], phases: &mut Phases) -> Result<Message, Reason> {
    let mut stream = reach::connect(address, way, phases).await?;
    let broken = |error: std::io::Error| reach::broken(&error);
    let length = u16::try_from(bytes.len()).map_err(|_| Reason::new(ProbeCode::BadProbe, "the question is too long"))?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.map_err(broken)?;
    let length = stream.read_u16().await.map_err(broken)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    read(&answer, asked)
}

/// An answer, if it is one to this question.
fn read(bytes: &[u8], asked: &Message) -> Result<Message, Reason> {
    let bad = |words: &str| Reason::new(ProbeCode::BadAnswer, words);
    let answer = Message::from_vec(bytes).map_err(|_| bad("what came back is not DNS"))?;
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && answer.metadata.id == asked.metadata.id
        // Who can't read a question does not repeat it.
        && (answer.queries == asked.queries || (answer.queries.is_empty() && answer.metadata.response_code != ResponseCode::NoError));
    if is_answer { Ok(answer) } else { Err(bad("what came back answers another question")) }
}

fn judge(check: &DnsCheck, answer: &Message) -> Checked {
    let code = answer.metadata.response_code;
    if code != ResponseCode::NoError {
        return Err(Reason::new(ProbeCode::DnsError, format!("{}: {code}", word(code))));
    }
    let wanted = kind(check.record);
    let found: Vec<&Record> = answer.answers.iter().filter(|record| record.record_type() == wanted).collect();
    if found.is_empty() {
        return Err(Reason::new(ProbeCode::BadAnswer, format!("`{}` has no {wanted} record", check.name)));
    }
    let mut shown = String::new();
    for record in found.iter().take(SHOWN) {
        let text: String = text(&record.data).0.chars().take(WORDS).collect();
        let _ = write!(shown, "{}{text}", if shown.is_empty() { "" } else { ", " });
    }
    if found.len() > SHOWN {
        let _ = write!(shown, " and {} more", found.len() - SHOWN);
    }
    match check.answer.as_deref() {
        Some(wanted) if !found.iter().any(|record| is_same(&record.data, wanted)) => {
            Err(Reason::new(ProbeCode::BadAnswer, format!("`{wanted}` is not among the answers: {shown}")))
        }
        _ => Ok(shown),
    }
}

/// A record as `dig +short` writes it, and of those that name somebody among other things the name alone.
fn text(data: &RData) -> (String, Option<String>) {
    match data {
        RData::TXT(txt) => (txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect(), None),
        RData::MX(mx) => (data.to_string(), Some(mx.exchange.to_string())),
        RData::SRV(srv) => (data.to_string(), Some(srv.target.to_string())),
        RData::SOA(soa) => (data.to_string(), Some(soa.mname.to_string())),
        other => (other.to_string(), None),
    }
}

fn is_same(data: &RData, wanted: &str) -> bool {
    if let RData::TXT(_) = data {
        return text(data).0 == wanted;
    }
    // An IPv6 address can be written in many ways.
    if let (RData::A(_) | RData::AAAA(_), Ok(wanted)) = (data, wanted.parse::<IpAddr>()) {
        return text(data).0.parse() == Ok(wanted);
    }
    let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
    let (whole, name) = text(data);
    plain(&whole) == plain(wanted) || name.is_some_and(|name| plain(&name) == plain(wanted))
}

/// The words of RFC 1035 and those after it, as every tool writes them.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        code => format!("RCODE{}", u16::from(code)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    fn question() -> Message {
        let mut asked = Message::query();
        asked.add_query(Query::query(Name::from_ascii("www.example.com.").unwrap(), RecordType::A));
        asked
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let asked = question();
        let said = |change: &dyn Fn(&mut Message)| {
            let mut answer = asked.clone().into_response();
            change(&mut answer);
            read(&answer.to_vec().unwrap(), &asked).map(|_| ()).map_err(|reason| reason.words)
        };
        let other = Err("what came back answers another question".to_owned());
        assert_eq!(said(&|_| ()), Ok(()));
        assert_eq!(said(&|answer| answer.metadata.id ^= 1), other);
        assert_eq!(said(&|answer| answer.metadata.message_type = MessageType::Query), other);
        assert_eq!(said(&|answer| answer.queries[0].query_type = RecordType::MX), other);
        assert_eq!(said(&|answer| answer.queries.clear()), other);
        assert_eq!(
            said(&|answer| {
                answer.queries.clear();
                answer.metadata.response_code = ResponseCode::FormErr;
            }),
            Ok(())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Whatever a device sends, also what begins like an answer: it is read or refused, and never shown beyond its bound.
        #[test]
        fn rubbish_is_refused(rubbish in proptest::collection::vec(any::<u8>(), 0..600), begins_well: bool) {
            let asked = question();
            let bytes = match begins_well {
                true => [&asked.clone().into_response().to_vec().unwrap()[..], &rubbish].concat(),
                false => rubbish,
            };
            let check = DnsCheck { port: 53, name: "www.example.com".into(), record: crds::RecordType::Txt, answer: None };
            for counts in 0..4_u8 {
                let mut bytes = bytes.clone();
                // So many answers are said to come.
                if let Some(count) = bytes.get_mut(7) {
                    *count = counts;
                }
                if let Ok(answer) = read(&bytes, &asked) {
                    let words = judge(&check, &answer).unwrap_or_else(|reason| reason.words);
                    assert!(words.chars().count() < 1000, "{words}");
                }
            }
        }
    }
}
