//! The keys of `kai` 0.2 to 0.5, and of `k8s-inventory` up to 1.8 and what is announced behind it: those that are converted,
//! and those that have no meaning here, with why and what to do instead.

/// Keys that are converted. `account-routes` has tables of accounts beneath it.
pub(super) const CONVERTED: &[&str] = &[
    "kubeconfig.path",
    "kubeconfig.cluster",
    "kubeconfig.cluster-cert",
    "kubeconfig.server",
    "kubeconfig.user.type",
    "kubeconfig.user.client-cert",
    "kubeconfig.user.private-key",
    "kubeconfig.user.token",
    "kubernetes.request-timeout-seconds",
    "kubernetes-request-timeout-seconds",
    "namespaces",
    "namespace-selectors.include",
    "namespace-selectors.exclude",
    "missing-tag-policy.policy",
    "missing-tag-policy.tag",
    "ignore-not-running",
    "polling-interval-seconds",
    "anchore.url",
    "anchore.user",
    "anchore.password",
    "anchore.account",
    "anchore.http.insecure",
    "anchore.http.timeout-seconds",
    "verbose-inventory-reports",
    "account-routes",
    "account-route-by-namespace-label.key",
    "account-route-by-namespace-label.default-account",
    "account-route-by-namespace-label.ignore-missing-label",
    "account-route-by-namespace-label.ignore-namespace-missing-label",
    "health-report-interval-seconds",
    "inventory-report-limits.namespaces",
    "inventory-report-limits.payload-threshold-bytes",
    "metadata-collection.nodes.include-annotations",
    "metadata-collection.nodes.include-labels",
    "metadata-collection.nodes.annotations",
    "metadata-collection.nodes.labels",
    "metadata-collection.nodes.disable",
    "metadata-collection.namespaces.include-annotations",
    "metadata-collection.namespaces.include-labels",
    "metadata-collection.namespaces.annotations",
    "metadata-collection.namespaces.labels",
    "metadata-collection.namespaces.disable",
    "metadata-collection.pods.include-annotations",
    "metadata-collection.pods.include-labels",
    "metadata-collection.pods.annotations",
    "metadata-collection.pods.labels",
    "metadata-collection.pods.disable",
    "anchore-registration.registration-id",
    "anchore-registration.integration-name",
    "anchore-registration.integration-description",
];

/// Keys that have no meaning here, with why and what to do.
pub(super) const NOT_HERE: &[(&str, &str)] = &[
    (
        "output",
        "reports go to targets here; `stocktake-agent collect --format kai-json` or `kai-table` prints what kai does",
    ),
    ("quiet", "nothing but warnings is logged unless more is asked for"),
    ("log.structured", "the command line decides: `--log-format json` is one object a line"),
    ("log.level", "the command line or the environment decides: `--verbose`, or `STOCKTAKE_LOG=debug`"),
    ("log.file", "the log goes to stderr, which systemd and Kubernetes keep; redirect it where nobody does"),
    ("check-for-app-update", "their programs do not read it, and ours look for no updates; leave it out"),
    ("dev.profile-cpu", "there is no profile; `/metrics` tells what each look and each delivery took"),
    ("kubernetes.request-batch-size", "pages have 500 pods where there are pages: see `list` of the collector"),
    (
        "kubernetes.worker-pool-size",
        "one list of all namespaces needs no workers; `max_requests_per_minute` of the collector spares the API server",
    ),
    (
        "namespace-selectors.ignore-empty",
        "a namespace without pods is reported, since it is known to be empty; name it in `exclude`",
    ),
    ("mode", "the command decides: `stocktake-agent run` reports always, `stocktake-agent collect` looks once"),
    (
        "missing-registry-override",
        "an image is reported by the name that it was asked for by, with no registry made up",
    ),
    (
        "inventory-collection.method",
        "a cluster is watched where that is allowed, and listed where not; there is nothing to choose",
    ),
    (
        "inventory-collection.informer.cache-sync-timeout-seconds",
        "a look that takes longer than `timeout` is told as incomplete, and the next goes on",
    ),
    ("create-applications-from-deployments", "Anchore's applications are not made here; keep their agent for these"),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CONVERTED.iter().copied().chain(NOT_HERE.iter().map(|(key, _)| *key))
}
