//! `mq operator`: keeps the addresses, spaces, profiles, users, roles and connectors of a fleet as the objects of its cluster
//! say, and fleets themselves ([`fleet`]).
//!
//! One process works at a time: the holder of a lease. It lists the objects of each kind, watches them, and for each makes
//! the fleet what the object says by the admin API, and the object's status what the fleet says. An object is looked at
//! when it changes, and every minute, so that what somebody else has done to the fleet is made good again; one that is not
//! as it is to be, every few seconds; and a connector when the fleet, asked as often, says something else of it.
//!
//! An object gets a finalizer before anything is made for it, so that the cluster forgets it only when the fleet has: an
//! address that holds messages keeps its object.

mod address;
mod condition;
mod connector;
mod fleet;
mod lease;
mod role;
mod secret;
mod space;
mod user;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use jiff::Timestamp;
use mq_model::custom::{self, GROUP, VERSION};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use self::{
    condition::{Verdict, is_settled, is_unreachable, status_change},
    fleet::Fleets,
    lease::Lease,
};
use crate::{
    args::operator::Operator as Arguments,
    client::{admin::Admin, amqp::interrupted, tls::Trust},
    cluster::{Change, Cluster, Kind, Watch},
    context::read_bounded,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::http_url,
};

/// How often every object is looked at, whether it has changed or not.
const RESYNC: Duration = Duration::from_secs(60);
/// How often those are looked at that are not as they are to be, or are to go.
const RETRY: Duration = Duration::from_secs(5);
/// How long to wait after a failure that concerns everything.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether the files of certificates have changed, and the largest of them in bytes.
const PERIOD: Duration = Duration::from_secs(10);
const MAX_FILE: u64 = 64 << 10;
/// What keeps an object until the fleet has forgotten what it stands for.
const FINALIZER: &str = "mq.messaging/fleet";
/// The version of the objects.
const API: &str = "mq.messaging/v1";

const ADDRESSES: Kind = Kind { version: API, plural: "addresses" };
const CONNECTORS: Kind = Kind { version: API, plural: "connectors" };
const PROFILES: Kind = Kind { version: API, plural: "profiles" };
const ROLES: Kind = Kind { version: API, plural: "roles" };
const SPACES: Kind = Kind { version: API, plural: "addressspaces" };
const USERS: Kind = Kind { version: API, plural: "users" };

/// What is kept as the objects say.
struct Operator {
    cluster: Cluster,
    admin: Admin,
}

/// What the operator is at with one kind.
struct Kept {
    kind: Kind,
    /// None while the cluster does not know the kind: its definition may come later than this program.
    watch: Option<Watch>,
    version: String,
    objects: BTreeMap<String, Value>,
    /// The objects that are to be looked at.
    due: BTreeSet<String>,
}

pub(super) async fn run(args: &Arguments, admin: Option<&str>, output: &Output) -> Outcome<Exit> {
    debug_assert_eq!(API, format!("{GROUP}/{VERSION}"));
    if admin.is_none() && !args.fleets {
        return Err(Failure::usage("the operator has nothing to look after").help(
            "say with --admin where the admin API of a fleet is, or --fleets to look after fleets themselves",
        ));
    }
    let cluster = Cluster::of_pod()?;
    let operator = match admin {
        Some(admin) => {
            let url: Url = http_url(admin)?;
            let identity = args.certificate.clone().zip(args.certificate_key.clone());
            let trust = Trust { ca: args.authority.clone(), identity, ..Trust::default() };
            Some(Operator { cluster: cluster.clone(), admin: Admin::trusting(url, &trust)? })
        }
        None => None,
    };
    let fleets = match args.fleets {
        true => Some(Fleets::new(cluster.as_deployer(), &args.lease)?),
        false => None,
    };
    let mut lease = Lease::new(cluster, &args.lease, &args.identity);
    tokio::select! {
        ended = lead(&mut lease, operator.as_ref(), fleets.as_ref(), output) => {
            ended?;
            Err(Failure::failed("another process holds the lease now"))
        }
        // Whoever comes next need not wait for the lease to run out.
        exit = interrupted() => {
            lease.release().await;
            Ok(exit)
        }
        () = renewed(args) => {
            lease.release().await;
            output.talk("its certificates have changed: it ends, to begin with the new ones");
            Ok(Exit::Ok)
        }
    }
}

/// Waits until one of the files by which the operator is known, or knows the nodes, has changed. The cluster starts again
/// what ends.
async fn renewed(args: &Arguments) {
    let files: Vec<&PathBuf> =
        [&args.authority, &args.certificate, &args.certificate_key].into_iter().flatten().collect();
    // One that cannot be read at the moment says nothing.
    let read =
        || -> Option<Vec<String>> { files.iter().map(|file| read_bounded(file, MAX_FILE).ok()).collect() };
    let mut known = read();
    loop {
        tokio::time::sleep(PERIOD).await;
        match (read(), &known) {
            (Some(now), Some(before)) if now != *before => return,
            (now @ Some(_), None) => known = now,
            _ => {}
        }
    }
}

/// Waits for the lease, and works while it is held. Ends when it is lost.
async fn lead(
    lease: &mut Lease,
    operator: Option<&Operator>,
    fleets: Option<&Fleets>,
    output: &Output,
) -> Outcome {
    output.talk(&format!("waiting for the lease `{}`", lease.name()));
    lease.acquire(output).await;
    output.talk("the lease is held: objects are looked after");
    let of_fleet = async {
        match operator {
            Some(operator) => operator.work(output).await,
            None => std::future::pending().await,
        }
    };
    let fleets = async {
        match fleets {
            Some(fleets) => fleets.work(output).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        lost = lease.keep() => lost,
        () = of_fleet => Ok(()),
        () = fleets => Ok(()),
    }
}

impl Operator {
    /// Looks after the objects of every kind; never ends.
    async fn work(&self, output: &Output) {
        loop {
            if let Err(failure) = self.follow(output).await {
                output.warn(&format!("{failure}; everything is looked at again"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lists what is there and follows the changes, until they are not known any more.
    async fn follow(&self, output: &Output) -> Outcome {
        // What others name is there before those: a profile before its spaces, a space before what is in it.
        let mut all = [
            self.kept(PROFILES, output).await?,
            self.kept(SPACES, output).await?,
            self.kept(ROLES, output).await?,
            self.kept(USERS, output).await?,
            self.kept(ADDRESSES, output).await?,
            self.kept(CONNECTORS, output).await?,
        ];
        let mut resync = tokio::time::interval(RESYNC);
        let mut retry = tokio::time::interval(RETRY);
        for ticks in [&mut resync, &mut retry] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let [profiles, spaces, roles, users, addresses, connectors] = &mut all;
            tokio::select! {
                change = profiles.next() => self.take(profiles, change?).await?,
                change = spaces.next() => self.take(spaces, change?).await?,
                change = roles.next() => self.take(roles, change?).await?,
                change = users.next() => self.take(users, change?).await?,
                change = addresses.next() => self.take(addresses, change?).await?,
                change = connectors.next() => self.take(connectors, change?).await?,
                _ = resync.tick() => {
                    for kept in all.iter_mut().filter(|kept| kept.watch.is_none()) {
                        *kept = self.kept(kept.kind, output).await?;
                    }
                    all.iter_mut().for_each(Kept::look_at_all);
                }
                _ = retry.tick() => {
                    connectors.due.extend(connector::changed(&self.admin, &connectors.objects).await);
                    all.iter_mut().for_each(Kept::look_at_unsettled);
                }
            }
            // Those that name what has come, or has gone, have something else to say.
            let [profiles, spaces, roles, users, ..] = &mut all;
            for (named, naming) in [(profiles, spaces), (roles, users)] {
                if !named.due.is_empty() {
                    naming.look_at_all();
                }
            }
            for kept in &mut all {
                self.look(kept, output).await;
            }
        }
    }

    async fn kept(&self, kind: Kind, output: &Output) -> Outcome<Kept> {
        let mut kept = Kept {
            kind,
            watch: None,
            version: String::new(),
            objects: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        let listed = match self.cluster.list(kind).await {
            Err(failure) if failure.exit == Exit::NotFound => {
                let plural = kind.plural;
                output.warn(&format!(
                    "the cluster has no {plural}.{GROUP}; apply what `mq render crds` prints"
                ));
                return Ok(kept);
            }
            listed => listed?,
        };
        kept.watch = Some(self.cluster.watch(kind, &listed.version).await?);
        kept.version = listed.version;
        listed.items.into_iter().for_each(|object| kept.note(object));
        Ok(kept)
    }

    /// Takes a change, or begins another watch where one is over.
    async fn take(&self, kept: &mut Kept, change: Option<Change>) -> Outcome {
        match change {
            Some(Change::Object(object)) => kept.note(object),
            Some(Change::Gone(object)) => kept.forget(&object),
            Some(Change::Bookmark(version)) => kept.version = version,
            None => kept.watch = Some(self.cluster.watch(kept.kind, &kept.version).await?),
        }
        Ok(())
    }

    /// Looks at the objects that are due. While nobody of the fleet answers, one is enough to know that: the others wait.
    async fn look(&self, kept: &mut Kept, output: &Output) {
        while let Some(name) = kept.due.pop_first() {
            let Some(object) = kept.objects.get(&name) else { continue };
            match self.reconcile(kept.kind, object).await {
                Ok(Some(object)) => {
                    let is_alone = is_unreachable(&object);
                    kept.put(object);
                    if is_alone {
                        return;
                    }
                }
                Ok(None) => {
                    kept.objects.remove(&name);
                }
                // It comes again with what has changed, or with the next look at everything.
                Err(failure) => output.warn(&format!("{} {name}: {failure}", kept.kind.plural)),
            }
        }
    }

    /// Makes the fleet what the object says, and the object's status what the fleet says. `None`: the object is gone.
    async fn reconcile(&self, kind: Kind, object: &Value) -> Outcome<Option<Value>> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if object["metadata"]["deletionTimestamp"].is_string() {
            return self.forget(kind, name, object).await;
        }
        let mut object = object.clone();
        if !is_protected(&object) {
            let change = finalizers(&object, true);
            object = self.cluster.merge(kind, &[name], &change).await?;
        }
        let verdict = self.ensure(kind, &object).await;
        self.tell(kind, name, object, &verdict).await.map(Some)
    }

    async fn ensure(&self, kind: Kind, object: &Value) -> Verdict {
        let ensured = match kind {
            PROFILES => space::ensure_profile(&self.admin, object).await,
            SPACES => space::ensure(&self.admin, object).await,
            ROLES => role::ensure(&self.admin, object).await,
            ADDRESSES => address::ensure(&self.admin, object).await,
            CONNECTORS => connector::ensure(&self.admin, &self.cluster, object).await,
            _ => user::ensure(&self.admin, &self.cluster, object).await,
        };
        match (ensured, custom::named(kind.plural, object)) {
            (Ok(verdict), Some((name, _))) => verdict.with("name", name),
            (Ok(verdict), None) => verdict,
            (Err(failure), _) => Verdict::failed(failure),
        }
    }

    /// Takes from the fleet what the object stood for, and lets the object go.
    async fn forget(&self, kind: Kind, name: &str, object: &Value) -> Outcome<Option<Value>> {
        if !is_protected(object) {
            return Ok(None);
        }
        let forgotten = self.remove(kind, object).await;
        match forgotten.unwrap_or_else(|failure| Some(Verdict::failed(failure))) {
            Some(verdict) => self.tell(kind, name, object.clone(), &verdict).await.map(Some),
            None => {
                self.cluster.merge(kind, &[name], &finalizers(object, false)).await?;
                Ok(None)
            }
        }
    }

    /// Takes it from the fleet. A verdict says why that cannot be done now; what the fleet refuses, it says itself.
    async fn remove(&self, kind: Kind, object: &Value) -> Outcome<Option<Verdict>> {
        let Some((name, space)) = taken(kind, object) else { return Ok(None) };
        let admin = address::in_space(&self.admin, space);
        let removed = match kind {
            PROFILES => admin.delete_profile(name).await,
            SPACES => admin.delete_space(name, false, false).await,
            ROLES => admin.delete_role(name).await,
            ADDRESSES => return address::forget(&admin, name, object).await,
            CONNECTORS => admin.delete_connector(name).await,
            _ => admin.delete_user(name).await,
        };
        address::found(removed)?;
        Ok(None)
    }

    /// Writes the status, when it is another one than before.
    async fn tell(&self, kind: Kind, name: &str, object: Value, verdict: &Verdict) -> Outcome<Value> {
        match status_change(&object, verdict, Timestamp::now()) {
            Some(status) => self.cluster.merge(kind, &[name, "status"], &json!({ "status": status })).await,
            None => Ok(object),
        }
    }
}

impl Kept {
    /// The next change. Cancel-safe, as that of the watch.
    async fn next(&mut self) -> Outcome<Option<Change>> {
        match &mut self.watch {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    }

    fn look_at_all(&mut self) {
        self.due.extend(self.objects.keys().cloned());
    }

    fn look_at_unsettled(&mut self) {
        let unsettled = self.objects.iter().filter(|(_, object)| !is_settled(object));
        self.due.extend(unsettled.map(|(name, _)| name.clone()));
    }

    /// Notes what a list or a watch has told.
    fn note(&mut self, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.version = object["metadata"]["resourceVersion"].as_str().unwrap_or(&self.version).to_owned();
        // What this process has written comes back; it has been looked at.
        let is_known = self.objects.get(&name).is_some_and(|known| {
            known["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"]
        });
        if !is_known {
            self.due.insert(name.clone());
        }
        self.objects.insert(name, object);
    }

    /// Forgets an object that is gone. Nothing stands for it any more: else its finalizer would have kept it.
    fn forget(&mut self, object: &Value) {
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            version.clone_into(&mut self.version);
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.objects.remove(name);
        self.due.remove(name);
    }

    /// Keeps the object as it has become by what this process did.
    fn put(&mut self, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.objects.insert(name, object);
    }
}

/// Name and space of what the fleet has for the object; `None`: it has never taken what the object says. What it took,
/// and would not take any more as the object says it now, is there nevertheless.
fn taken(kind: Kind, object: &Value) -> Option<(&str, Option<&str>)> {
    let is_taken = object["status"]["name"].is_string() || custom::check(kind.plural, object).is_ok();
    custom::named(kind.plural, object).filter(|_| is_taken)
}

fn is_protected(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == FINALIZER))
}

/// The change that adds the finalizer to those of others, or takes it away. It is refused when the object has changed.
fn finalizers(object: &Value, is_wanted: bool) -> Value {
    let others = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let mut finalizers: Vec<Value> = others.filter(|one| *one != FINALIZER).cloned().collect();
    if is_wanted {
        finalizers.push(FINALIZER.into());
    }
    json!({
        "metadata": {
            "finalizers": finalizers,
            "resourceVersion": object["metadata"]["resourceVersion"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_fleet_has_taken_goes_with_its_object_whatever_that_says_now() {
        for kind in [USERS, ROLES] {
            let mut object = json!({ "metadata": { "name": "one" }, "spec": { "grants": ["fly:#"] } });
            assert_eq!(taken(kind, &object), None, "it may be of somebody else");
            object["status"] = json!({ "name": "one" });
            assert_eq!(taken(kind, &object), Some(("one", None)));
            object["spec"] = json!({ "grants": [], "space": "acme" });
            object["status"] = json!({});
            assert_eq!(taken(kind, &object), Some(("one", Some("acme"))), "what is good may have been taken");
        }
    }

    #[test]
    fn the_finalizers_of_others_stay() {
        let object = json!({ "metadata": { "finalizers": ["a/b"], "resourceVersion": "7" } });
        let change = finalizers(&object, true);
        assert_eq!(change["metadata"]["finalizers"], json!(["a/b", FINALIZER]));
        assert_eq!(change["metadata"]["resourceVersion"], "7");
        assert!(is_protected(&change));
        assert_eq!(finalizers(&change, false)["metadata"]["finalizers"], json!(["a/b"]));
    }
}
