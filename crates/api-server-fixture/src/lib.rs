//! A small API server of Kubernetes, on loopback, for tests.
//!
//! It keeps JSON objects, and answers as the real one does to what our programs and kubectl ask: get, list, watch,
//! create, replace, patch and delete, with resource versions and their conflicts, status subresources, selectors, and
//! the logs of pods. It knows no schema, no quotas and no rights; a test that wants a refusal sets a [`Fault`].
//!
//! It runs in a thread of its own, so that tests with and without a runtime use it alike.

mod fault;
pub mod objects;
mod pod_log;
mod request;
mod selector;
mod serve;
mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use crate::fault::{Fault, How};
pub use crate::request::Seen;
use crate::store::Store;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. It ends with this value.
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the server's tasks and the test have in common.
pub(crate) struct Shared {
    store: Mutex<Store>,
    /// For the test, which waits as a thread.
    changed: Condvar,
    /// For watches and logs that are followed, which wait as tasks.
    version: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn look(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody who waits look again.
    pub(crate) fn tell(&self) {
        self.version.send_modify(|version| *version += 1);
        self.changed.notify_all();
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let result = change(&mut self.look());
        self.tell();
        result
    }

    pub(crate) fn listen(&self) -> tokio::sync::watch::Receiver<u64> {
        self.version.subscribe()
    }
}

impl ApiServer {
    /// Starts a server at a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// If the machine has no port, thread or temporary folder left.
    #[must_use]
    pub fn start() -> ApiServer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("the address of a socket");
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::default()),
            changed: Condvar::new(),
            version: tokio::sync::watch::Sender::new(0),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve::serve(listener, of_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = ApiServer { shared, address, folder, stop: Some(stop), thread: Some(thread) };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text("127.0.0.1")).expect("a file");
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A configuration file that leads to it: the context `fixture`, whose namespace is `workspaces`.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The same as text, with another name of this machine.
    #[must_use]
    pub fn kubeconfig_text(&self, host: &str) -> String {
        let port = self.address.port();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fixture\n\
             clusters:\n- name: fixture\n  cluster: {{server: 'http://{host}:{port}'}}\n\
             users:\n- name: jessie\n  user: {{token: token-of-jessie}}\n\
             contexts:\n- name: fixture\n  context: {{cluster: fixture, user: jessie, namespace: workspaces}}\n"
        )
    }

    /// A folder that goes with the server.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts an object there as it is, status included, whether it is new or not.
    ///
    /// # Panics
    ///
    /// If it has no kind that is known, or no name.
    pub fn put(&self, object: Value) {
        self.shared.change(|store| store.put(object));
    }

    /// An object, if it is there; of the whole cluster's resources the namespace is empty.
    #[must_use]
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.list(plural).into_iter().find(|object| {
            let metadata = &object["metadata"];
            metadata["name"] == name && metadata["namespace"].as_str().unwrap_or_default() == namespace
        })
    }

    /// All objects of a resource, by its plural name.
    #[must_use]
    pub fn list(&self, plural: &str) -> Vec<Value> {
        self.shared.look().of(plural)
    }

    /// Deletes an object, as somebody else would.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.shared.change(|store| store.remove_by(plural, namespace, name));
    }

    /// Takes a resource away, as if its definition was not installed.
    pub fn uninstall(&self, plural: &str) {
        self.shared.change(|store| store.uninstall(plural));
    }

    /// What a container's log is. A line may begin with its time, as `kubectl logs --timestamps` prints it, and a
    /// space; a line without has the time of the line before.
    pub fn set_log(&self, namespace: &str, pod: &str, container: &str, text: &str) {
        self.shared.change(|store| store.log(namespace, pod, container).set(text));
    }

    /// Further lines of it.
    pub fn append_log(&self, namespace: &str, pod: &str, container: &str, text: &str) {
        self.shared.change(|store| store.log(namespace, pod, container).append(text));
    }

    /// The container has ended: who follows its log comes to an end.
    pub fn end_log(&self, namespace: &str, pod: &str, container: &str) {
        self.shared.change(|store| store.log(namespace, pod, container).end());
    }

    /// What becomes of pods that are created through the server, in the place of a kubelet: the function may change the
    /// pod, and give the log of its first container.
    pub fn run_pods(&self, kubelet: impl Fn(&mut Value) -> Option<String> + Send + 'static) {
        self.shared.look().kubelet = Some(Box::new(kubelet));
    }

    /// Who asks, as SelfSubjectReview tells; `None`: this server does not know that resource.
    pub fn set_user(&self, name: Option<&str>) {
        self.shared.look().user = name.map(str::to_owned);
    }

    /// Lets requests fail from now on.
    pub fn fail(&self, fault: Fault) {
        self.shared.look().faults.push(fault);
    }

    /// Lets no request fail any more.
    pub fn mend(&self) {
        self.shared.look().faults.clear();
    }

    /// All that was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.look().seen.clone()
    }

    /// Waits until something is so. It looks again whenever an object or a log changed, or something was asked.
    ///
    /// # Panics
    ///
    /// If it does not become so in time.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&ApiServer) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut listener = self.shared.listen();
        loop {
            listener.borrow_and_update();
            if is_so(self) {
                return;
            }
            let store = self.shared.look();
            if listener.has_changed().unwrap_or(false) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what}");
            // Who changes something does so under this lock, and tells afterwards; a tenth of a second bounds what is
            // missed in between.
            let short = left.min(Duration::from_millis(100));
            drop(self.shared.changed.wait_timeout(store, short).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
