//! Standard Webhooks (standardwebhooks.com), symmetric: HMAC-SHA256 over `id.timestamp.body`.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::error::{Category, Error};

/// The shortest key: with a shorter one somebody who sees one message can try all.
const SHORTEST: usize = 16;
/// What keys of Standard Webhooks begin with; base64 follows.
const PREFIX: &[u8] = b"whsec_";

/// The three headers, names and values, that prove where a body comes from and when it was sent. `id` is the same for each attempt.
pub fn sign(key: &[u8], id: &str, now: Timestamp, body: &[u8]) -> Result<[(&'static str, String); 3], Error> {
    let key = key.trim_ascii();
    let wrong = || {
        Error::new(
            Category::Secret,
            format!("the secret's key is shorter than {SHORTEST} bytes, or its `whsec_` is not followed by base64"),
        )
    };
    let bytes = match key.strip_prefix(PREFIX) {
        Some(encoded) => Zeroizing::new(STANDARD.decode(encoded).map_err(|_| wrong())?),
        None => Zeroizing::new(key.to_vec()),
    };
    if bytes.len() < SHORTEST {
        return Err(wrong());
    }
    let time = now.as_second().to_string();
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &bytes));
    [id.as_bytes(), b".", time.as_bytes(), b".", body].into_iter().for_each(|part| context.update(part));
    let signature = format!("v1,{}", STANDARD.encode(context.sign()));
    Ok([("webhook-id", id.to_owned()), ("webhook-timestamp", time), ("webhook-signature", signature)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example() {
        // standardwebhooks.com, "Signature scheme": the libraries' common test vector.
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let headers =
            sign(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", now, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers[2], ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()));
    }

    #[test]
    fn weak_keys_are_refused() {
        for key in ["", "short", "whsec_!!!", "whsec_c2hvcnQ="] {
            assert_eq!(sign(key.as_bytes(), "x", Timestamp::UNIX_EPOCH, b"").unwrap_err().category, Category::Secret, "{key}");
        }
    }
}
