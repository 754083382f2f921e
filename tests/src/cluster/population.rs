//! What a cluster of so many pods looks like: nodes, namespaces of uneven size, and `ReplicaSets` with their pods. The
//! same number gives the same cluster.

/// Pods a node, the usual limit being 110.
const PODS_A_NODE: usize = 50;
/// Of these the first has a tenth of all pods.
const NAMESPACES: usize = 100;

/// A cluster that is to be made.
#[derive(Debug)]
pub struct Population {
    /// How many pods there are.
    pub pods: usize,
    /// How many nodes there are.
    pub nodes: usize,
    /// Names of namespaces.
    pub namespaces: Vec<String>,
    /// With at least one pod each.
    pub replica_sets: Vec<ReplicaSet>,
}

/// A `ReplicaSet` and its pods.
#[derive(Debug, Clone)]
pub struct ReplicaSet {
    /// Which of all it is.
    pub number: usize,
    /// The namespace's place in the list.
    pub namespace: usize,
    /// The name of the application, and of the Deployment.
    pub app: String,
    /// Number of its first pod among all.
    pub first_pod: usize,
    /// How many it has.
    pub pods: usize,
}

/// A pod and where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Which of all pods it is.
    pub number: usize,
    /// Which of all `ReplicaSets` it is of.
    pub replica_set: usize,
    /// Which node it is on.
    pub node: usize,
    /// The name of the application.
    pub app: &'a str,
    /// The name of the namespace.
    pub namespace: &'a str,
}

impl Population {
    /// A cluster with so many pods.
    #[must_use]
    pub fn new(pods: usize) -> Self {
        let nodes = pods.div_ceil(PODS_A_NODE).max(1);
        let namespaces = (0..NAMESPACES).map(|number| format!("team-{number:02}")).collect();
        let mut replica_sets = Vec::new();
        let mut first_pod = 0;
        for (namespace, mut left) in sizes(pods).into_iter().enumerate() {
            while left > 0 {
                let number = replica_sets.len();
                // Ten to twenty, so that the average is what large clusters have.
                let count = (10 + number % 11).min(left);
                replica_sets.push(ReplicaSet {
                    number,
                    namespace,
                    app: format!("service-{number}"),
                    first_pod,
                    pods: count,
                });
                first_pod += count;
                left -= count;
            }
        }
        Self { pods, nodes, namespaces, replica_sets }
    }

    /// The pods of a `ReplicaSet`. A scheduler spreads them over the nodes.
    pub fn pods_of<'a>(&'a self, set: &'a ReplicaSet) -> impl Iterator<Item = Placed<'a>> {
        let namespace = &self.namespaces[set.namespace];
        (set.first_pod..set.first_pod + set.pods).map(move |number| Placed {
            number,
            replica_set: set.number,
            node: number % self.nodes,
            app: &set.app,
            namespace,
        })
    }
}

/// How many pods each namespace has: a tenth in the first, the others after Zipf's law, so that a few are large and most
/// are small.
fn sizes(pods: usize) -> Vec<usize> {
    let first = pods / 10;
    let weight = |rank: usize| 1_000_000 / (rank + 3);
    let all: usize = (0..NAMESPACES - 1).map(weight).sum();
    let mut sizes = vec![first];
    sizes.extend((0..NAMESPACES - 1).map(|rank| (pods - first) * weight(rank) / all));
    // What rounding left over.
    sizes[1] += pods - sizes.iter().sum::<usize>();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_is_in_one_replica_set_and_a_tenth_in_one_namespace() {
        for pods in [100, 2000, 10_000] {
            let population = Population::new(pods);
            let mut numbers: Vec<usize> = Vec::new();
            let mut in_first = 0;
            for set in &population.replica_sets {
                assert!((1..=20).contains(&set.pods));
                numbers.extend(population.pods_of(set).map(|pod| pod.number));
                in_first += if set.namespace == 0 { set.pods } else { 0 };
            }
            assert_eq!(numbers, (0..pods).collect::<Vec<_>>());
            assert_eq!(in_first, pods / 10);
        }
    }
}
