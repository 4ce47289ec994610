//! One request at a time, over TLS, with bounds: no redirects, no proxy, no cookies.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use mq_auth::{MAX_TOKEN, Secret};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::tls::{Mark, mark};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("this is no URL of http or https")]
    Url,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}, not 200")]
    Status(StatusCode),
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    #[error("no answer in time")]
    Late,
}

/// Why a file that requests need cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    #[error("cannot read the certificates in {}: {reason}; set {setting} to a PEM file that holds them", path.display())]
    Certificates { setting: &'static str, path: PathBuf, reason: String },
    #[error("cannot read the private key in {}: {reason}; set key to a PEM file that holds it", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("cannot read the secret in {}: {reason}; set secret to a file with nothing else in it", path.display())]
    Secret { path: PathBuf, reason: String },
    #[error("cannot use TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Where documents are fetched from.
pub(super) trait Source: Send + Sync {
    /// What is at a URL: at most `limit` bytes. The caller bounds the time, and drops what is late.
    fn get<'a>(&'a self, url: &'a str, limit: usize) -> Fetching<'a>;
}

pub(super) type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;

/// The files that requests go by.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// With the authorities of servers; without it those count that the system trusts.
    pub(super) ca: Option<PathBuf>,
    /// What this side shows, with its key; without both it shows nothing.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    /// With the secret that is sent along.
    pub(super) secret: Option<PathBuf>,
}

/// Asks servers whose certificates are from certain CAs. Its files are looked at before each request: what has
/// been replaced counts, what is of no use changes nothing.
pub(super) struct Client {
    files: Files,
    loaded: Mutex<(Vec<Mark>, Arc<Loaded>)>,
}

/// What the files hold.
struct Loaded {
    tls: TlsConnector,
    secret: Option<HeaderValue>,
}

impl Client {
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn new(files: Files) -> Result<Self, ClientError> {
        // Before they are read: a change in between is found the next time.
        let marks = files.marks();
        let loaded = Arc::new(Loaded::read(&files)?);
        Ok(Self { files, loaded: Mutex::new((marks, loaded)) })
    }

    /// What counts now.
    fn loaded(&self) -> Arc<Loaded> {
        let found = self.files.marks();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.0 != found {
            loaded.0 = found;
            match Loaded::read(&self.files) {
                Ok(read) => loaded.1 = Arc::new(read),
                Err(error) => {
                    tracing::warn!(%error, "a file of authentication has changed and is of no use; that before stays in use")
                }
            }
        }
        loaded.1.clone()
    }

    /// A POST with JSON; what it is answered with, at most `limit` bytes.
    pub(super) async fn post(&self, url: &str, body: String, limit: usize) -> Result<Vec<u8>, FetchError> {
        self.request(url, Some(body), limit).await
    }

    async fn request(&self, url: &str, body: Option<String>, limit: usize) -> Result<Vec<u8>, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let (is_encrypted, host, port) = parts(&uri).ok_or(FetchError::Url)?;
        let loaded = self.loaded();
        let request = request(&uri, body, loaded.secret.as_ref())?;
        let socket = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
        if !is_encrypted {
            return exchange(socket, request, limit).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Url)?;
        let stream = loaded.tls.connect(name, socket).await.map_err(FetchError::Tls)?;
        exchange(stream, request, limit).await
    }
}

impl Source for Client {
    fn get<'a>(&'a self, url: &'a str, limit: usize) -> Fetching<'a> {
        Box::pin(self.request(url, None, limit))
    }
}

impl Files {
    fn marks(&self) -> Vec<Mark> {
        let pair = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(pair).chain(&self.secret).map(|path| mark(path)).collect()
    }
}

impl Loaded {
    fn read(files: &Files) -> Result<Self, ClientError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(files.ca.as_deref())?);
        let config = match &files.certificate {
            Some((certificate, key)) => {
                let chain = certificates("certificate", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| ClientError::Key { path: key.clone(), reason: error.to_string() })?;
                builder.with_client_auth_cert(chain, key)?
            }
            None => builder.with_no_client_auth(),
        };
        let secret = files.secret.as_deref().map(secret).transpose()?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), secret })
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        // A system without them is not an error before somebody is to be trusted: then TLS says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates("ca", path)? {
        let failed = |error: rustls::Error| unreadable("ca", path, error.to_string());
        roots.add(certificate).map_err(failed)?;
    }
    Ok(roots)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable(setting, path, error.to_string()))?;
    if read.is_empty() {
        return Err(unreadable(setting, path, "it holds no certificate".to_owned()));
    }
    Ok(read)
}

fn unreadable(setting: &'static str, path: &Path, reason: String) -> ClientError {
    ClientError::Certificates { setting, path: path.to_owned(), reason }
}

/// The header with the secret of a file (RFC 6750, 2.1), whose last line may end.
fn secret(path: &Path) -> Result<HeaderValue, ClientError> {
    let failed = |reason: &str| ClientError::Secret { path: path.to_owned(), reason: reason.to_owned() };
    let text = Secret::new(fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?);
    let text = text.expose().trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > MAX_TOKEN {
        return Err(failed(&format!("it has not 1 to {MAX_TOKEN} bytes")));
    }
    let value = HeaderValue::from_str(Secret::new(format!("Bearer {text}")).expose());
    let mut value = value.map_err(|_| failed("it has bytes that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Scheme, host and port of a URL: whom it asks.
pub(super) fn origin(url: &str) -> Option<(bool, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    parts(&uri).map(|(is_encrypted, host, port)| (is_encrypted, host.to_owned(), port))
}

fn parts(uri: &Uri) -> Option<(bool, &str, u16)> {
    let (is_encrypted, port) = match uri.scheme_str()? {
        "https" => (true, 443),
        "http" => (false, 80),
        _ => return None,
    };
    let host = uri.host()?;
    // An address of IPv6 stands in brackets in a URL alone.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((is_encrypted, host, uri.port_u16().unwrap_or(port)))
}

/// The request for a URL: a GET, or a POST of JSON.
fn request(
    uri: &Uri,
    body: Option<String>,
    secret: Option<&HeaderValue>,
) -> Result<Request<String>, FetchError> {
    let authority = uri.authority().ok_or(FetchError::Url)?.as_str();
    let target = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder()
        .method(if body.is_some() { Method::POST } else { Method::GET })
        .uri(target)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("mqd/", env!("CARGO_PKG_VERSION")));
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    if let Some(secret) = secret {
        request = request.header(AUTHORIZATION, secret.clone());
    }
    request.body(body.unwrap_or_default()).map_err(|_| FetchError::Url)
}

async fn exchange<S>(stream: S, request: Request<String>, limit: usize) -> Result<Vec<u8>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task of the connection ends with this function, whoever drops it.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    read(response.into_body(), limit).await
}

async fn read(mut body: Incoming, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(FetchError::TooLong(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Answers every request with the same bytes, and closes.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: String) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.expect("a request");
            request.push(byte);
        }
        // A socket that is closed before it is read takes the answer with it.
        if request.starts_with(b"POST") {
            assert_eq!(stream.read_u16().await.expect("a body"), u16::from_be_bytes(*b"{}"));
        }
        stream.write_all(answer.as_bytes()).await.expect("the client reads");
        let _ = stream.shutdown().await;
        String::from_utf8(request).expect("a request is text")
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    fn client() -> Client {
        Client::new(Files::default()).expect("it needs nothing")
    }

    async fn plain(answer: &str) -> (Result<Vec<u8>, FetchError>, String) {
        let (listener, address) = listen().await;
        let answer = answer.to_owned();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            serve(stream, answer).await
        });
        let result = client().get(&format!("http://{address}/keys?x=y"), 10).await;
        (result, server.await.expect("the server ends"))
    }

    #[tokio::test]
    async fn body_of_a_good_answer_comes_back() {
        let (body, request) = plain("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await;
        assert_eq!(body.expect("it is good"), b"0123456789");
        assert!(request.starts_with("GET /keys?x=y HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: 127.0.0.1:"), "{request}");
        let (body, _) =
            plain("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(body.expect("it is good"), b"abc");
    }

    #[tokio::test]
    async fn other_answers_are_none() {
        let (body, _) =
            plain("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n").await;
        assert!(matches!(body, Err(FetchError::Status(StatusCode::FOUND))), "{body:?}");
        let (body, _) = plain("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n0123456789a").await;
        assert!(matches!(body, Err(FetchError::TooLong(10))), "{body:?}");
        let (body, _) = plain("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234").await;
        assert!(matches!(body, Err(FetchError::Http(_))), "{body:?}");
        let (body, _) = plain("nonsense\r\n\r\n").await;
        assert!(matches!(body, Err(FetchError::Http(_))), "{body:?}");
        for url in ["", "ftp://127.0.0.1/", "/keys", "http://", "mailto:x"] {
            let body = client().get(url, 10).await;
            assert!(matches!(body, Err(FetchError::Url)), "{url}: {body:?}");
        }
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
    }

    /// What a client sees that trusts `trusted`, of a server with a certificate of `authority` for `name`.
    async fn encrypted(
        authority: &CertifiedIssuer<'static, KeyPair>,
        trusted: &CertifiedIssuer<'static, KeyPair>,
        name: &str,
    ) -> Result<Vec<u8>, FetchError> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, authority).expect("a certificate");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("key and certificate belong together");
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            if let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                serve(stream, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys".to_owned()).await;
            }
        });
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        fs::write(&path, trusted.pem()).expect("a file");
        let files = Files { ca: Some(path), ..Files::default() };
        let client = Client::new(files).expect("the CA can be read");
        client.get(&format!("https://localhost:{}/", address.port()), 10).await
    }

    #[tokio::test]
    async fn server_proves_by_its_certificate_that_it_is_the_one() {
        let (one, other) = (authority(), authority());
        assert_eq!(encrypted(&one, &one, "localhost").await.expect("it is the one"), b"keys");
        let body = encrypted(&one, &other, "localhost").await;
        assert!(matches!(body, Err(FetchError::Tls(_))), "of another CA: {body:?}");
        let body = encrypted(&one, &one, "id.example").await;
        assert!(matches!(body, Err(FetchError::Tls(_))), "for another name: {body:?}");
    }

    #[test]
    fn file_without_certificates_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let error = |path: &Path| {
            let files = Files { ca: Some(path.to_owned()), ..Files::default() };
            Client::new(files).err().expect("it is told").to_string()
        };
        assert!(error(&path).contains("ca.pem"));
        fs::write(&path, "nothing").expect("a file");
        assert!(error(&path).contains("it holds no certificate"), "{}", error(&path));
    }

    #[tokio::test]
    async fn a_secret_goes_along_and_another_one_as_soon_as_the_file_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "first\n").expect("a file");
        let client =
            Client::new(Files { secret: Some(path.clone()), ..Files::default() }).expect("it can be read");
        let heard = async || {
            let (listener, address) = listen().await;
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a client");
                serve(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned()).await
            });
            let answer = client.post(&format!("http://{address}/who"), "{}".to_owned(), 10).await;
            assert_eq!(answer.expect("it is good"), b"{}");
            server.await.expect("the server ends")
        };
        let request = heard().await;
        assert!(request.starts_with("POST /who HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer first\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.contains("content-length: 2\r\n"), "{request}");
        fs::write(&path, "the second").expect("a file");
        let request = heard().await;
        assert!(request.contains("authorization: Bearer the second\r\n"), "{request}");
        fs::write(&path, "").expect("a file");
        let request = heard().await;
        assert!(request.contains("authorization: Bearer the second\r\n"), "{request}");
    }
}
