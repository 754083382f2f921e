//! Every route, and who may ask it.

/// Method, path, and the roles that may: (a)dmin, read-(w)rite, (r)ead-only, (i)nventory-agent; `s`: only admins of the account
/// `admin`; `*`: everybody, without credentials.
pub(super) const ROUTES: [(&str, &str, &str); 69] = [
    ("GET", "/livez", "*"),
    ("GET", "/readyz", "*"),
    ("GET", "/version", "*"),
    ("GET", "/metrics", "awr"),
    ("GET", "/v1/openapi.json", "awr"),
    ("GET", "/v1/agents", "awr"),
    ("GET", "/v1/sources", "awr"),
    ("PATCH", "/v1/sources/{id}", "aw"),
    ("GET", "/v1/scopes", "awr"),
    ("GET", "/v1/workloads", "awr"),
    ("GET", "/v1/pods", "awr"),
    ("GET", "/v1/containers", "awr"),
    ("GET", "/v1/containers/{id}", "awr"),
    ("GET", "/v1/images", "awr"),
    ("GET", "/v1/where", "awr"),
    ("GET", "/v1/changes", "awr"),
    ("GET", "/v1/events", "awr"),
    ("GET", "/v1/subscriptions", "awr"),
    ("POST", "/v1/subscriptions", "aw"),
    ("GET", "/v1/subscriptions/{id}", "awr"),
    ("PATCH", "/v1/subscriptions/{id}", "aw"),
    ("DELETE", "/v1/subscriptions/{id}", "aw"),
    ("GET", "/v1/dead-letters", "awr"),
    ("POST", "/v1/dead-letters/replay", "aw"),
    ("GET", "/v1/accounts", "s"),
    ("POST", "/v1/accounts", "s"),
    ("DELETE", "/v1/accounts/{name}", "s"),
    ("GET", "/v1/users", "a"),
    ("POST", "/v1/users", "a"),
    // Whoever is a user may change their own password; these are tokens.
    ("PATCH", "/v1/users/{name}", "a"),
    ("DELETE", "/v1/users/{name}", "a"),
    ("GET", "/v1/tokens", "a"),
    ("POST", "/v1/tokens", "a"),
    ("DELETE", "/v1/tokens/{name}", "a"),
    ("GET", "/v1/audit", "a"),
    ("POST", "/v1/reports", "awi"),
    ("POST", "/v1/scopes", "awi"),
    ("POST", "/v1/enterprise/inventories", "awi"),
    ("GET", "/v1/enterprise/inventories", "awr"),
    ("POST", "/v1/enterprise/kubernetes-inventory", "awi"),
    ("POST", "/v1/enterprise/ecs-inventory", "awi"),
    ("GET", "/v2/inventories", "awr"),
    ("DELETE", "/v2/inventories", "aw"),
    ("POST", "/v2/kubernetes-inventory", "awi"),
    ("POST", "/v2/ecs-inventory", "awi"),
    ("GET", "/v2/kubernetes-namespaces", "awr"),
    ("DELETE", "/v2/kubernetes-namespaces", "aw"),
    ("GET", "/v2/kubernetes-namespaces/{uid}", "awr"),
    ("GET", "/v2/kubernetes-nodes", "awr"),
    ("GET", "/v2/kubernetes-nodes/{uid}", "awr"),
    ("GET", "/v2/kubernetes-pods", "awr"),
    ("GET", "/v2/kubernetes-pods/{uid}", "awr"),
    ("GET", "/v2/kubernetes-containers", "awr"),
    ("GET", "/v2/ecs-services", "awr"),
    ("GET", "/v2/ecs-tasks", "awr"),
    ("GET", "/v2/ecs-containers", "awr"),
    ("GET", "/v2/subscriptions", "awr"),
    ("POST", "/v2/subscriptions", "aw"),
    ("GET", "/v2/subscriptions/{id}", "awr"),
    ("PUT", "/v2/subscriptions/{id}", "aw"),
    ("DELETE", "/v2/subscriptions/{id}", "aw"),
    ("GET", "/v2/system/integrations", "awr"),
    ("POST", "/v2/system/integrations/registration", "awi"),
    ("GET", "/v2/system/integrations/{uuid}", "awr"),
    ("DELETE", "/v2/system/integrations/{uuid}", "aw"),
    ("POST", "/v2/system/integrations/{uuid}/health-report", "awi"),
    ("HEAD", "/v1/containers", "awr"),
    ("HEAD", "/v2/inventories", "awr"),
    ("HEAD", "/livez", "*"),
];

/// Questions that the foreign lists take, in which something of the other account is named, or that are needed.
pub(super) fn questions(path: &str) -> &'static [&'static str] {
    match path {
        "/v2/inventories" | "/v1/enterprise/inventories" => &[
            "inventory_type=kubernetes&context=redcluster/redspace",
            "context=redkai/redspace",
            "image_digest=sha256:7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7ed7",
            "inventory_type=ecs&context=arn:redecs",
        ],
        "/v2/kubernetes-namespaces" => &["page=1", "cluster_name=redcluster"],
        "/v2/kubernetes-nodes"
        | "/v2/kubernetes-pods"
        | "/v2/kubernetes-containers"
        | "/v2/ecs-services"
        | "/v2/ecs-tasks"
        | "/v2/ecs-containers" => &["page=1", "page=1&page_size=2"],
        "/v2/subscriptions" => &["subscription_key=redcluster/redspace", "subscription_type=runtime_inventory"],
        "/v2/system/integrations" => &["only_degraded=false"],
        "/v2/system/integrations/{uuid}" => &["force=true"],
        _ => &[],
    }
}
