//! SASL OAUTHBEARER (RFC 7628) and EXTERNAL (RFC 4422, appendix A) below AMQP (AMQP 5.3), which the client library does not
//! know: the exchange is done
//! before the library gets the stream.

use fe2o3_amqp::types::{
    primitives::{Binary, Symbol},
    sasl::{SaslCode, SaslInit, SaslMechanisms, SaslOutcome},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::failure::reason;

/// The header of SASL, version 1.0.0 (AMQP 5.3.1).
const HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
/// The largest frame (AMQP 5.3.1: MIN-MAX-FRAME-SIZE), which an answer to a long token may exceed.
const MAX_FRAME: usize = 64 << 10;
const BEARER: &str = "OAUTHBEARER";
const EXTERNAL: &str = "EXTERNAL";

/// Why there was no log-in.
#[derive(Debug)]
pub(super) enum Refused {
    /// The peer does not know the mechanism.
    NotOffered,
    /// It does not take the token, or the certificate.
    Proof,
    /// It does not speak as it should, or not at all.
    Broken(String),
}

/// Logs in with a token; AMQP goes on from its own header.
pub(super) async fn bearer<S>(stream: &mut S, host: &str, token: &str) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // RFC 7628, 3.1: no other name is asked for.
    let response = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
    exchange(stream, host, BEARER, response).await
}

/// Logs in as who the certificate of the TLS connection names.
pub(super) async fn external<S>(stream: &mut S, host: &str) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // RFC 4422, A.1: nothing is said, which is to be the one whom the certificate names.
    exchange(stream, host, EXTERNAL, String::new()).await
}

async fn exchange<S>(stream: &mut S, host: &str, mechanism: &str, response: String) -> Result<(), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: std::io::Error| Refused::Broken(reason(&error));
    stream.write_all(&HEADER).await.map_err(broken)?;
    let mut header = [0; 8];
    stream.read_exact(&mut header).await.map_err(broken)?;
    if header != HEADER {
        return Err(Refused::NotOffered);
    }
    let offered: SaslMechanisms = decoded(&frame(stream).await?)?;
    if !offered.sasl_server_mechanisms.0.iter().any(|offered| offered.as_str() == mechanism) {
        return Err(Refused::NotOffered);
    }
    let init = SaslInit {
        mechanism: Symbol::from(mechanism),
        initial_response: Some(Binary::from(response.into_bytes())),
        hostname: Some(host.to_owned()),
    };
    let body = serde_amqp::to_vec(&init).map_err(|error| Refused::Broken(error.to_string()))?;
    let size = u32::try_from(body.len() + 8).map_err(|_| Refused::Proof)?;
    // AMQP 2.3.1: two words of header, of a frame of SASL.
    let head = [&size.to_be_bytes()[..], &[2, 1, 0, 0]].concat();
    stream.write_all(&[head, body].concat()).await.map_err(broken)?;
    // 3.2.3: whatever is asked further is the news that the token is no good.
    let outcome: SaslOutcome = decoded(&frame(stream).await?).map_err(|_| Refused::Proof)?;
    if outcome.code == SaslCode::Ok { Ok(()) } else { Err(Refused::Proof) }
}

/// The body of the next frame.
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Refused> {
    let broken = |error: std::io::Error| Refused::Broken(reason(&error));
    let mut head = [0; 8];
    stream.read_exact(&mut head).await.map_err(broken)?;
    let [a, b, c, d, offset, kind, ..] = head;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let start = usize::from(offset) * 4;
    if kind != 1 || size > MAX_FRAME || start < 8 || size < start {
        return Err(Refused::Broken("a frame of SASL was expected".to_owned()));
    }
    let mut rest = vec![0; size - 8];
    stream.read_exact(&mut rest).await.map_err(broken)?;
    Ok(rest.split_off(start - 8))
}

fn decoded<'de, T: serde::Deserialize<'de>>(body: &'de [u8]) -> Result<T, Refused> {
    serde_amqp::from_slice(body).map_err(|error| Refused::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp::types::primitives::Array;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], &[2, 1, 0, 0], body].concat()
    }

    async fn log_in(mechanism: &str, code: SaslCode) -> (Result<(), Refused>, Vec<u8>) {
        let by = async |near: &mut tokio::io::DuplexStream| bearer(near, "h", "t0ken").await;
        log_in_by(mechanism, code, &by).await
    }

    async fn log_in_by(
        mechanism: &str,
        code: SaslCode,
        by: &impl AsyncFn(&mut tokio::io::DuplexStream) -> Result<(), Refused>,
    ) -> (Result<(), Refused>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let offered = SaslMechanisms { sasl_server_mechanisms: Array(vec![Symbol::from(mechanism)]) };
        let outcome = SaslOutcome { code, additional_data: None };
        let mut script = HEADER.to_vec();
        script.extend(framed(&serde_amqp::to_vec(&offered).unwrap()));
        script.extend(framed(&serde_amqp::to_vec(&outcome).unwrap()));
        far.write_all(&script).await.unwrap();
        let result = by(&mut near).await;
        drop(near);
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        (result, said)
    }

    #[tokio::test]
    async fn whoever_has_shown_a_certificate_says_nothing_more() {
        let by = async |near: &mut tokio::io::DuplexStream| external(near, "h").await;
        let (result, said) = log_in_by(EXTERNAL, SaslCode::Ok, &by).await;
        assert!(result.is_ok());
        assert!(said.windows(EXTERNAL.len()).any(|window| window == EXTERNAL.as_bytes()), "{said:?}");
        let (result, _) = log_in_by("ANONYMOUS", SaslCode::Ok, &by).await;
        assert!(matches!(result, Err(Refused::NotOffered)));
        let (result, _) = log_in_by(EXTERNAL, SaslCode::Auth, &by).await;
        assert!(matches!(result, Err(Refused::Proof)));
    }

    #[tokio::test]
    async fn a_token_is_sent_where_it_is_taken_and_nowhere_else() {
        let (result, said) = log_in(BEARER, SaslCode::Ok).await;
        assert!(result.is_ok());
        let wanted = b"n,,\x01auth=Bearer t0ken\x01\x01";
        assert!(said.windows(wanted.len()).any(|window| window == wanted), "{said:?}");
        let (result, said) = log_in("PLAIN", SaslCode::Ok).await;
        assert!(matches!(result, Err(Refused::NotOffered)));
        assert_eq!(said, HEADER, "nothing of the token");
        let (result, _) = log_in(BEARER, SaslCode::Auth).await;
        assert!(matches!(result, Err(Refused::Proof)));
    }

    #[tokio::test]
    async fn a_frame_out_of_bounds_is_refused() {
        for head in [
            [255, 255, 255, 255, 2, 1, 0, 0],
            [0, 0, 0, 7, 2, 1, 0, 0],
            [0, 0, 0, 12, 1, 1, 0, 0],
            [0, 0, 0, 12, 2, 0, 0, 0],
        ] {
            let mut stream = &head[..];
            assert!(matches!(frame(&mut stream).await, Err(Refused::Broken(_))), "{head:?}");
        }
    }
}
