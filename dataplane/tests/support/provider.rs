//! An identity provider that has one key.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mq_model::config::{DaemonConfig, Where};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// A provider that has one key, where the configuration says it.
pub(crate) struct Provider {
    pub(crate) issuer: String,
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

impl Provider {
    /// Answers every request with its key, until the process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let x = URL_SAFE_NO_PAD.encode(pair().public_key().as_ref());
            let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x });
            let body = json!({ "keys": [key] }).to_string();
            for mut stream in listener.incoming().flatten() {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            }
        });
        Self { issuer }
    }

    /// Has a node take its tokens, and nobody who says nothing.
    pub(crate) fn configure(&self, config: &mut DaemonConfig) {
        let provider = json!({
            "issuer": self.issuer,
            "audiences": ["mq"],
            "keys": format!("{}/keys", self.issuer),
            "roles": { "claim": "roles", "prefix": "mq-" },
        });
        config.authentication.anonymous = Where::Never;
        config.authentication.oidc.push(serde_json::from_value(provider).unwrap());
    }

    /// A token for a user with roles, which ends so many seconds from now.
    pub(crate) fn token(&self, user: &str, roles: &[&str], seconds: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": self.issuer,
            "aud": "mq",
            "sub": user,
            "roles": roles,
            "exp": now.saturating_add_signed(seconds),
        });
        signed(&json!({ "alg": "EdDSA", "kid": "one" }), &claims)
    }
}

/// A token of any content.
pub(crate) fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair().sign(text.as_bytes()));
    format!("{text}.{signature}")
}
