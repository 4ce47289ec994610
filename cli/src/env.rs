//! Every environment variable that `mq` reads, in one place. A flag always wins over a variable.

/// The context to use, in place of the current one.
pub const CONTEXT: &str = "MQ_CONTEXT";
/// The AMQP URL to connect to, in place of the context's.
pub const URL: &str = "MQ_URL";
/// The URL of the admin API, in place of the context's.
pub const ADMIN: &str = "MQ_ADMIN";
/// The user that commands are.
pub const USER: &str = "MQ_USER";
/// The address space that commands are about.
pub const SPACE: &str = "MQ_SPACE";
/// The password of that user.
pub const PASSWORD: &str = "MQ_PASSWORD";
/// The secret of the client that `mq login --client-credentials` logs in.
pub const CLIENT_SECRET: &str = "MQ_CLIENT_SECRET";
/// Where passwords and tokens are kept: `system` or `file`.
pub const KEYRING: &str = "MQ_KEYRING";
/// The program that opens a page.
pub const BROWSER: &str = "BROWSER";
/// Certificates to trust besides those of this system.
pub const CA: &str = "MQ_CA";
/// The path of the daemon's binary.
pub const MQD: &str = "MQ_MQD";
/// The configuration file of `ssh`, in place of the user's.
pub const SSH_CONFIG: &str = "MQ_SSH_CONFIG";
/// The base directory of state files; `~/.local/state` when it is not set.
pub const STATE_HOME: &str = "XDG_STATE_HOME";
/// The base directory of configuration files; `~/.config` when it is not set.
pub const CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// The home directory.
pub const HOME: &str = "HOME";
/// Any value but the empty one turns colour off (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";
/// Any value but `0` turns colour on even when the output is not a terminal.
pub const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";
/// Any value but the empty one says that nobody is watching: no spinner, no question.
pub const CI: &str = "CI";

/// The name of the user, as the history of deployments shows it.
pub const LOGIN: &str = "USER";

/// The name of the pod that this runs in, as the objects of a fleet set it.
pub const POD_NAME: &str = "POD_NAME";
/// Where systemd listens to the node that this process is.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Where the API of the cluster is that this runs in, as every pod is told.
pub const KUBERNETES_HOST: &str = "KUBERNETES_SERVICE_HOST";
pub const KUBERNETES_PORT: &str = "KUBERNETES_SERVICE_PORT";

/// The files of contexts of Kubernetes clusters, as `kubectl` has them; `~/.kube/config` when it is not set.
pub const KUBECONFIG: &str = "KUBECONFIG";

/// Name and meaning of every variable that is for people, as `mq help environment` prints them.
pub const ALL: [(&str, &str); 20] = [
    (CONTEXT, "the context to use, in place of the current one"),
    (URL, "the AMQP URL to connect to, in place of the context's"),
    (ADMIN, "the URL of the admin API, in place of the context's"),
    (USER, "the user that commands are, in messaging and in the admin API"),
    (SPACE, "the address space that commands are about, in place of the user's own or `default`"),
    (PASSWORD, "the password of that user; --password-file keeps it out of the environment"),
    (CLIENT_SECRET, "the secret of the client that `mq login --client-credentials` logs in"),
    (KEYRING, "where `mq login` keeps secrets: `system` (default) or `file`"),
    (BROWSER, "the program that `mq login --browser` opens a page with"),
    (CA, "a file with certificates to trust, besides those of this system"),
    (MQD, "the path of the mqd binary that `mq deploy` starts"),
    (KUBECONFIG, "the files with the contexts of Kubernetes clusters, separated by colons"),
    (SSH_CONFIG, "the configuration file of ssh, in place of ~/.ssh/config"),
    (STATE_HOME, "base directory of state; default ~/.local/state"),
    (CONFIG_HOME, "base directory of configuration; default ~/.config"),
    (HOME, "the home directory"),
    (LOGIN, "your name, as `mq deploy history` shows it"),
    (NO_COLOR, "not empty: no colour"),
    (CLICOLOR_FORCE, "not 0: colour even when the output is not a terminal"),
    (CI, "not empty: no spinner and no question"),
];

/// The value of `name`, unless it is absent, empty or not UTF-8.
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of `name` as a path, unless it is absent or empty.
pub fn path(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(Into::into)
}

/// `user@host`, for people.
pub fn whoami() -> String {
    // Without a name the number of the user has to do.
    let user = text(LOGIN).unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}
