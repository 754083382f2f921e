//! The grammar of `clusters`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Shape;

pub(crate) const AFTER_HELP: &str = "\
Examples:
  kubectl config view --raw --flatten --minify | stocktake clusters test prod --kubeconfig -
  kubectl config view --raw --flatten --minify | stocktake clusters add prod --kubeconfig -
  stocktake clusters add prod --server https://10.0.0.1:6443 --certificate-authority ca.pem \\
      --bearer-token-file token
  stocktake clusters add web-7 --docker tcp://10.0.0.7:2376 --certificate-authority ca.pem \\
      --client-certificate cert.pem --client-key key.pem
  stocktake clusters list

The server looks at them itself; no agent is needed there. Credentials are read from files (`-` for
standard input), are kept encrypted by the server, and are never shown again.";

#[derive(Debug, Subcommand)]
pub(crate) enum Clusters {
    /// List what the server looks at, and how that goes.
    List {
        #[command(flatten)]
        shape: Shape,
    },
    /// Show one with all that is known of it.
    Get {
        /// Its name.
        name: String,
    },
    /// Have the server look at a cluster or a Docker host from now on.
    Add(Box<Add>),
    /// Look once, and keep nothing of it: at one that the server has, or at what is said, before it is added. Exit status 1 if it is not
    /// seen.
    Test(Box<Test>),
    /// Look at it again.
    Enable {
        /// Its name.
        name: String,
    },
    /// Look at it no longer. What was seen of it ages.
    Disable {
        /// Its name.
        name: String,
    },
    /// Look at it no longer, and forget its credential. What was seen of it ages.
    Remove {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What it is to be called, in the inventory too.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) given: Given,
    /// Seconds between two looks [default: 300].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) interval: Option<i64>,
    /// Do not look at it yet.
    #[arg(long)]
    pub(crate) disabled: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Its name.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// What is looked at, and as whom. Files may be `-`, for standard input, once.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is looked at")]
#[group(id = "given")]
pub(crate) struct Given {
    /// A kubeconfig that names no files and no programs.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "docker", "certificate_authority", "client_certificate"])]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which of its contexts, if it is not the current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) kube_context: Option<String>,
    /// URL of an API server: `https://10.0.0.1:6443`.
    #[arg(long, value_name = "URL", conflicts_with = "docker")]
    pub(crate) server: Option<String>,
    /// Address of a Docker daemon: `tcp://10.0.0.7:2376`.
    #[arg(long, value_name = "HOST", requires = "certificate_authority")]
    pub(crate) docker: Option<String>,
    /// Certificates in PEM that vouch for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate_authority: Option<PathBuf>,
    /// A bearer token for the API server.
    #[arg(long, value_name = "FILE", requires = "server", conflicts_with = "client_key")]
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// A client's certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub(crate) client_key: Option<PathBuf>,
    /// Only these namespaces of a cluster: names, globs, or regular expressions between slashes. May be given several times.
    #[arg(long = "namespace", value_name = "NAME", conflicts_with = "docker")]
    pub(crate) namespaces: Vec<String>,
    /// Leave out nodes and namespaces themselves, which a token for single namespaces may not read.
    #[arg(long, conflicts_with = "docker")]
    pub(crate) no_cluster_objects: bool,
}
