//! A provider of OpenID Connect on loopback: the real protocol, and the ways in which it can go wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(super) const CLIENT: &str = "evenkeel-client";
pub(super) const SECRET: &str = "the client's secret";

/// What signs.
pub(super) enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Key {
    pub(super) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(super) fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    fn public(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                // RFC 8017, A.1.1: 30 82 .. .. 02 82 01 01 00, 256 bytes of the modulus, 02 03 01 00 01.
                let der = pair.public_key().as_ref();
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": encode(&der[9..265]), "e": "AQAB"})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": id, "x": x, "y": y})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}

/// What the provider does.
pub(super) struct Says {
    /// Its key, and the key's name.
    pub(super) key: Key,
    pub(super) key_id: String,
    /// Keys that it shows, instead of its own.
    pub(super) shows: Option<Value>,
    /// Claims beside or instead of the right ones.
    pub(super) claims: Value,
    /// The header's `alg`, instead of the right one: `none` has no signature.
    pub(super) algorithm: Option<&'static str>,
    /// As what it describes itself, instead of what it is.
    pub(super) issuer: Option<String>,
    codes: HashMap<String, (String, String)>,
    pub(super) asked_for_keys: usize,
}

#[derive(Clone)]
pub(super) struct Provider {
    pub(super) issuer: String,
    pub(super) says: Arc<Mutex<Says>>,
}

pub(super) async fn start(key: Key) -> Provider {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let says = Says {
        key,
        key_id: "one".into(),
        shows: None,
        claims: json!({}),
        algorithm: None,
        issuer: None,
        codes: HashMap::new(),
        asked_for_keys: 0,
    };
    let provider = Provider { issuer, says: Arc::new(Mutex::new(says)) };
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(describe))
        .route("/keys", get(keys))
        .route("/auth", get(authorize))
        .route("/token", post(token))
        .with_state(provider.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    provider
}

async fn describe(State(provider): State<Provider>) -> Json<Value> {
    let issuer = provider.says.lock().unwrap().issuer.clone().unwrap_or_else(|| provider.issuer.clone());
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": issuer, "authorization_endpoint": at("/auth"), "token_endpoint": at("/token"), "jwks_uri": at("/keys"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "none"], "code_challenge_methods_supported": ["S256"],
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let mut says = provider.says.lock().unwrap();
    says.asked_for_keys += 1;
    let own = || json!([says.key.public(&says.key_id)]);
    Json(json!({"keys": says.shows.clone().unwrap_or_else(own)}))
}

/// Whoever comes is let in at once.
async fn authorize(State(provider): State<Provider>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let is_right = asked["response_type"] == "code"
        && asked["client_id"] == CLIENT
        && asked["code_challenge_method"] == "S256"
        && asked["scope"].split(' ').any(|scope| scope == "openid");
    if !is_right {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let code = crate::sign_in::secret::random();
    provider.says.lock().unwrap().codes.insert(code.clone(), (asked["code_challenge"].clone(), asked["nonce"].clone()));
    Redirect::to(&format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"])).into_response()
}

async fn token(State(provider): State<Provider>, headers: HeaderMap, body: String) -> Response {
    let asked: reqwest::Url = format!("http://form.invalid/?{body}").parse().unwrap();
    let asked: HashMap<String, String> = asked.query_pairs().into_owned().collect();
    let refused = || (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
    let encoded = SECRET.replace('\'', "%27").replace(' ', "+");
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{encoded}")));
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&basic) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response();
    }
    let mut says = provider.says.lock().unwrap();
    // A code counts once, and for whoever knows what its challenge was made of (RFC 7636, 4.6).
    let Some((challenge, nonce)) = says.codes.remove(&asked["code"]) else { return refused() };
    if URL_SAFE_NO_PAD.encode(Sha256::digest(asked["code_verifier"].as_bytes())) != challenge {
        return refused();
    }
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": provider.issuer, "aud": CLIENT, "sub": "0001", "iat": now, "exp": now + 300, "nonce": nonce,
        "email": "bob@example.com", "email_verified": true, "name": "Bob", "groups": ["web", "admins"],
    });
    for (key, value) in says.claims.as_object().unwrap() {
        claims[key] = value.clone();
    }
    let algorithm = says.algorithm.unwrap_or(says.key.algorithm());
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": algorithm, "kid": says.key_id, "typ": "JWT"})), encode(&claims));
    let signature = match algorithm {
        "none" => String::new(),
        // Signed with what the client knows: whoever took that for good would take a key that is everybody's for a secret.
        "HS256" => {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
            URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()))
        }
        _ => URL_SAFE_NO_PAD.encode(says.key.sign(signed.as_bytes())),
    };
    Json(json!({"access_token": "x", "token_type": "Bearer", "id_token": format!("{signed}.{signature}")})).into_response()
}
