//! Requests of the admin API that another node answers: they go over the channels between control threads,
//! and through the router that serves the API there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use mq_mesh::NodeId;
use mq_model::admin::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, TryAcquireError, oneshot, watch};

use super::fabric::{ControlMail, Fabric};
use super::service::{NodeEvent, Service, Tag};
use crate::admin::Caller;

/// Bytes of an answer's body; what is longer has to be asked for in parts.
const MAX_ANSWER: usize = 24 << 20;

/// Requests of other nodes that are answered at once; more are refused.
const MAX_SERVED: usize = 256;

/// How long another node may take. Less than a client waits, so that it learns which node it was.
const TIMEOUT: Duration = Duration::from_secs(12);

/// How long a question waits for the channel to a node that has just come into reach. With [`TIMEOUT`] it is
/// less than a client waits, too.
const OPENS_WITHIN: Duration = Duration::from_secs(2);

/// Whose answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    /// That of the whole fleet, as the node gathers it.
    #[default]
    Fleet,
    /// That of the node alone: it asks no other one.
    Node,
}

/// What is asked of another node.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) scope: Scope,
    /// Who wants to know; `None`: the node itself.
    pub(crate) who: Option<Caller>,
}

impl Question {
    /// Asks for what a node alone knows.
    pub(crate) fn get(target: impl Into<String>) -> Self {
        let (method, target) = ("GET".to_owned(), target.into());
        Self { method, target, content_type: None, body: Bytes::new(), scope: Scope::Node, who: None }
    }

    /// Has a node alone do something.
    pub(crate) fn post(target: impl Into<String>, body: Bytes) -> Self {
        let content_type = (!body.is_empty()).then(|| "application/json".to_owned());
        Self { method: "POST".to_owned(), content_type, body, ..Self::get(target) }
    }

    /// Has a node alone remove something.
    pub(crate) fn delete(target: impl Into<String>) -> Self {
        Self { method: "DELETE".to_owned(), ..Self::get(target) }
    }
}

/// What another node has answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("node `{0}` cannot be reached; try again when it is back")]
    Unreachable(Arc<str>),
    #[error("node `{0}` was lost before it answered; look whether the request was carried out")]
    Lost(Arc<str>),
    #[error("node `{0}` has not answered in time; look whether the request was carried out")]
    Late(Arc<str>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuestionHead {
    id: u64,
    method: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default)]
    scope: Scope,
    /// Who has asked the node that asks this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<Caller>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyHead {
    id: u64,
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

const QUESTION: u8 = 1;
const REPLY: u8 = 2;

/// Bytes of a head, at most: more than the HTTP server takes for a request line and headers, written as JSON.
const MAX_HEAD: usize = 1 << 20;

/// Bits of a request's number below the life of the node that asks: with so many requests for each
/// millisecond that it lives, no number comes again in its next life.
const NUMBER_BITS: u32 = 16;

type Waiting = BTreeMap<u64, (NodeId, oneshot::Sender<Reply>)>;

/// The requests of this node to others, and theirs to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests(Arc<Inner>);

struct Inner {
    fabric: Arc<Fabric>,
    next: AtomicU64,
    waiting: Mutex<Waiting>,
    /// The nodes to which the channel is open.
    open: watch::Sender<BTreeSet<NodeId>>,
    served: Arc<Semaphore>,
    router: Mutex<Option<Router>>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    pub(crate) fn new(fabric: Arc<Fabric>) -> Self {
        let served = Arc::new(Semaphore::new(MAX_SERVED));
        // A node may answer what was asked before this one was restarted: nobody has that number now.
        let next = AtomicU64::new(fabric.incarnation().0 << NUMBER_BITS);
        let (waiting, open, router) = (Mutex::default(), watch::Sender::default(), Mutex::default());
        Self(Arc::new(Inner { fabric, next, waiting, open, served, router }))
    }

    /// Answers requests of other nodes with this router, from now on.
    pub(crate) fn serve(&self, router: Router) {
        *self.router() = Some(router);
    }

    /// Answers no more requests. The router knows the node, which knows this: nothing would ever go.
    pub(crate) fn stop(&self) {
        *self.router() = None;
    }

    fn router(&self) -> MutexGuard<'_, Option<Router>> {
        self.0.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has to be given to the mesh.
    pub(crate) fn service(&self) -> Service {
        let requests = self.clone();
        Service { tag: Tag::Requests, deliver: Box::new(move |event| requests.take(event)) }
    }

    /// Asks a node, which is known by this name.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub(crate) async fn ask(
        &self,
        node: NodeId,
        name: &Arc<str>,
        question: Question,
    ) -> Result<Reply, Unanswered> {
        if !self.0.fabric.view().nodes.contains_key(&node) || !self.opens(node).await {
            return Err(Unanswered::Unreachable(name.clone()));
        }
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.waiting().insert(id, (node, reply));
        // Whatever comes, nobody waits for it afterwards.
        let _forget = Forget { requests: self, id };
        let Question { method, target, content_type, body, scope, who } = question;
        let head = QuestionHead { id, method, target, content_type, scope, who };
        self.say(node, QUESTION, &head, &body);
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(_) => Err(Unanswered::Lost(name.clone())),
            Err(_) => Err(Unanswered::Late(name.clone())),
        }
    }

    /// Waits a moment for the channel to a node, which opens after the node has come into reach.
    async fn opens(&self, node: NodeId) -> bool {
        let mut open = self.0.open.subscribe();
        let opens = open.wait_for(|open| open.contains(&node));
        tokio::time::timeout(OPENS_WITHIN, opens).await.is_ok_and(|opened| opened.is_ok())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, to: NodeId, kind: u8, head: &impl Serialize, body: &[u8]) {
        let head = serde_json::to_vec(head).unwrap_or_default();
        let mut message = BytesMut::with_capacity(5 + head.len() + body.len());
        message.put_u8(kind);
        message.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
        message.put_slice(&head);
        message.put_slice(body);
        self.0.fabric.tell(ControlMail::Say { tag: Tag::Requests, to, message: message.freeze() });
    }

    // ---- on the control thread --------------------------------------------------------------------

    fn take(&self, event: NodeEvent) {
        match event {
            NodeEvent::Message { node, message } => {
                if self.take_message(node, message).is_none() {
                    tracing::warn!(%node, "a node asks what cannot be understood; run versions that are neighbours");
                }
            }
            NodeEvent::Opened { node, .. } => {
                self.0.open.send_if_modified(|open| open.insert(node));
            }
            NodeEvent::Lost { node } => {
                self.0.open.send_if_modified(|open| open.remove(&node));
                let mut waiting = self.waiting();
                let lost: Vec<u64> =
                    waiting.iter().filter(|(_, (asked, _))| *asked == node).map(|(id, _)| *id).collect();
                for id in lost {
                    // Whoever waits learns of it by the end of the channel.
                    waiting.remove(&id);
                }
            }
            NodeEvent::Cordoned { .. } | NodeEvent::Emptied { .. } => {}
        }
    }

    fn take_message(&self, from: NodeId, mut message: Bytes) -> Option<()> {
        let kind = message.try_get_u8().ok()?;
        let length = usize::try_from(message.try_get_u32().ok()?).ok()?;
        if length > MAX_HEAD || length > message.len() {
            return None;
        }
        let head = message.split_to(length);
        match kind {
            QUESTION => {
                let head: QuestionHead = serde_json::from_slice(&head).ok()?;
                let requests = self.clone();
                match self.0.served.clone().try_acquire_owned() {
                    Ok(permit) => {
                        tokio::spawn(async move {
                            requests.answer(from, head, message).await;
                            drop(permit);
                        });
                    }
                    Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                        let detail = format!(
                            "the node answers {MAX_SERVED} requests of other nodes already; try again"
                        );
                        self.refuse(from, head.id, StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
                    }
                }
            }
            REPLY => {
                let head: ReplyHead = serde_json::from_slice(&head).ok()?;
                let status = StatusCode::from_u16(head.status).ok()?;
                let reply = Reply { status, content_type: head.content_type, body: message };
                let Some(waiting) = self.take_waiting(from, head.id) else {
                    tracing::debug!(node = %from, "an answer has come when nobody waited for it any more");
                    return Some(());
                };
                // Who asked may wait no longer.
                let _ = waiting.send(reply);
            }
            _ => return None,
        }
        Some(())
    }

    /// Who waits for the answer of a node to a question.
    fn take_waiting(&self, from: NodeId, id: u64) -> Option<oneshot::Sender<Reply>> {
        let mut waiting = self.waiting();
        waiting.get(&id).filter(|(asked, _)| *asked == from)?;
        waiting.remove(&id).map(|(_, waiting)| waiting)
    }

    async fn answer(&self, from: NodeId, head: QuestionHead, body: Bytes) {
        let id = head.id;
        let router = self.router().clone();
        let response = match (router, request(head, body)) {
            (Some(router), Some(request)) => TowerToHyperService::new(router).call(request).await,
            (None, _) => {
                let detail = "the node is starting or stopping; try again when it serves".to_owned();
                return self.refuse(from, id, StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
            }
            (_, None) => {
                let detail = "what was asked is no request".to_owned();
                return self.refuse(from, id, StatusCode::BAD_REQUEST, "malformed", detail);
            }
        };
        let Ok(response): Result<Response, _> = response;
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        match axum::body::to_bytes(body, MAX_ANSWER).await {
            Ok(body) => self.reply(from, id, parts.status, content_type, &body),
            Err(_) => {
                let detail =
                    format!("the answer has more than {MAX_ANSWER} bytes; ask the node itself for it");
                self.refuse(from, id, StatusCode::INSUFFICIENT_STORAGE, "limit-reached", detail);
            }
        }
    }

    /// Answers why there is no answer, as the admin API does.
    fn refuse(&self, to: NodeId, id: u64, status: StatusCode, kind: &str, detail: String) {
        let problem = Problem { kind: kind.to_owned(), status: status.as_u16(), detail };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        self.reply(to, id, status, Some("application/problem+json".to_owned()), &body);
    }

    fn reply(&self, to: NodeId, id: u64, status: StatusCode, content_type: Option<String>, body: &[u8]) {
        self.say(to, REPLY, &ReplyHead { id, status: status.as_u16(), content_type }, body);
    }
}

/// Forgets a question when nobody waits for its answer any more.
struct Forget<'a> {
    requests: &'a Requests,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.requests.waiting().remove(&self.id);
    }
}

fn request(head: QuestionHead, body: Bytes) -> Option<Request<Body>> {
    let mut request = Request::builder().method(head.method.as_str()).uri(head.target);
    // Whoever may connect as a node of the fleet is nobody's browser.
    request = request.header(header::HOST, "localhost");
    if let Some(content_type) = head.content_type {
        request = request.header(header::CONTENT_TYPE, HeaderValue::from_str(&content_type).ok()?);
    }
    let mut request = request.body(Body::from(body)).ok()?;
    request.extensions_mut().insert(head.scope);
    request.extensions_mut().insert(OfNode { who: head.who });
    Some(request)
}

/// Marks a request that another node of the fleet has made.
#[derive(Clone, Debug)]
pub(crate) struct OfNode {
    /// Who has asked that node, and what he may do; `None`: it asks for itself.
    pub(crate) who: Option<Caller>,
}

#[cfg(test)]
mod tests {
    use mq_mesh::{Incarnation, Node};
    use mq_model::config::DaemonConfig;
    use tokio::sync::mpsc::UnboundedReceiver;

    use super::super::fabric::View;
    use super::*;

    const ASKED: NodeId = NodeId(7);

    /// The requests of a life of a node, and what it tells its control thread.
    fn requests(incarnation: u64) -> (Requests, UnboundedReceiver<ControlMail>) {
        let config = DaemonConfig::embedded("unused");
        let fabric = Fabric::alone(&config, incarnation, 1);
        let mail = fabric.take_mail().unwrap();
        (Requests::new(Arc::new(fabric)), mail)
    }

    /// Asks without looking whether the node can be reached; gives the number of the question.
    fn wait(requests: &Requests) -> (u64, oneshot::Receiver<Reply>) {
        let id = requests.0.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        requests.waiting().insert(id, (ASKED, reply));
        (id, answer)
    }

    /// What a node that is asked says, as it arrives where it was asked.
    fn said(mail: &mut UnboundedReceiver<ControlMail>) -> Bytes {
        match mail.try_recv() {
            Ok(ControlMail::Say { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_to_a_former_life_of_a_node_is_not_taken_for_one_to_this_one() {
        let (other, mut mail) = requests(1);
        let (before, _answer) = wait(&requests(1_000).0);
        let (now, _) = requests(1_001);
        let (_, mut answer) = wait(&now);
        other.reply(ASKED, before, StatusCode::OK, None, b"late");
        assert!(now.take_message(ASKED, said(&mut mail)).is_some(), "it is late, and not wrong");
        assert!(answer.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_question_waits_for_the_channel_to_a_node_that_has_just_come_into_reach() {
        let (other, mut theirs) = requests(1);
        let (asking, mut mail) = requests(2);
        let name: Arc<str> = "n2".into();
        let node = Node {
            id: ASKED,
            name: name.clone(),
            incarnation: Incarnation(1),
            shards: 1,
            info: Bytes::new(),
            links: Arc::default(),
            is_leaving: false,
        };
        let nodes = BTreeMap::from([(ASKED, Arc::new(node))]);
        asking.0.fabric.publish(&Arc::new(View { nodes, ..View::default() }));
        // Also one that was open before, and is to be again.
        for _ in 0..2 {
            let (requests, name) = (asking.clone(), name.clone());
            let asked = tokio::spawn(async move { requests.ask(ASKED, &name, Question::get("/")).await });
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(mail.try_recv().is_err(), "nothing is said that nobody would hear");
            asking.take(NodeEvent::Opened { node: ASKED, name: "n2".into() });
            let question = loop {
                match mail.try_recv() {
                    Ok(ControlMail::Say { message, .. }) => break message,
                    _ => tokio::task::yield_now().await,
                }
            };
            let length = usize::try_from(question.slice(1..).get_u32()).unwrap();
            let head: QuestionHead = serde_json::from_slice(&question[5..5 + length]).unwrap();
            other.reply(ASKED, head.id, StatusCode::OK, None, b"answer");
            asking.take(NodeEvent::Message { node: ASKED, message: said(&mut theirs) });
            assert_eq!(asked.await.unwrap().unwrap().body, "answer");
            asking.take(NodeEvent::Lost { node: ASKED });
        }
    }

    #[test]
    fn only_the_node_that_was_asked_can_answer() {
        let (other, mut mail) = requests(1);
        let (requests, _) = requests(2);
        let (id, mut answer) = wait(&requests);
        for (from, body) in [(NodeId(8), "forged"), (ASKED, "answer")] {
            other.reply(from, id, StatusCode::OK, None, body.as_bytes());
            requests.take_message(from, said(&mut mail)).unwrap();
        }
        assert_eq!(answer.try_recv().unwrap().body, "answer");
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_says_why() {
        let (asked, mut mail) = requests(1);
        let head = |method: &str| QuestionHead {
            id: 5,
            method: method.to_owned(),
            target: "/".to_owned(),
            content_type: None,
            scope: Scope::Node,
            who: None,
        };
        let (requests, _) = requests(2);
        let mut why = |id| {
            let (reply, mut answer) = oneshot::channel();
            requests.waiting().insert(id, (ASKED, reply));
            requests.take_message(ASKED, said(&mut mail)).unwrap();
            let reply = answer.try_recv().unwrap();
            let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
            (reply.status.as_u16(), problem.detail)
        };
        asked.answer(ASKED, head("GET"), Bytes::new()).await;
        assert_eq!(why(5), (503, "the node is starting or stopping; try again when it serves".to_owned()));
        asked.serve(Router::new());
        asked.answer(ASKED, head("no method"), Bytes::new()).await;
        assert_eq!(why(5).0, 400);
        let long = Router::new().route("/", axum::routing::get(|| async { vec![0; MAX_ANSWER + 1] }));
        asked.serve(long);
        asked.answer(ASKED, head("GET"), Bytes::new()).await;
        let (status, detail) = why(5);
        assert_eq!(status, 507);
        assert!(detail.contains("ask the node itself"), "{detail}");
    }
}
