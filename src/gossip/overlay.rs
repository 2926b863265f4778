//! The edges along which deltas travel.

use std::collections::VecDeque;

use super::version::Rank;

/// The shape of the network in good weather.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Overlay {
    /// Everything goes through the lowest rank that is believed reachable. The only
    /// shape that repairs itself around a node that stays away.
    #[default]
    Hub,
    /// A tree in which every inner node has this many children.
    Tree(u16),
    /// The neighbours that the client's `topology` message names; a hub until then.
    Topology,
    /// All nodes are neighbours of each other and forward everything.
    Flood,
}

/// The neighbours of a fixed shape, and its diameter in hops.
pub(super) struct Shape {
    pub(super) neighbours: Vec<Rank>,
    pub(super) hops: u32,
}

impl Overlay {
    /// The shape for node `rank` of `nodes`, if it is fixed.
    pub(super) fn shape(&self, rank: Rank, nodes: u16) -> Option<Shape> {
        match *self {
            Overlay::Hub | Overlay::Topology => None,
            Overlay::Tree(fanout) => Some(Shape {
                neighbours: tree(rank.0, nodes, fanout.max(1)),
                hops: diameter(nodes, |node| tree(node, nodes, fanout.max(1))),
            }),
            Overlay::Flood => {
                let neighbours = (0..nodes).filter(|r| *r != rank.0).map(Rank).collect();
                Some(Shape { neighbours, hops: 1 })
            }
        }
    }
}

/// Parent and children of `node` in a complete tree numbered level by level.
fn tree(node: u16, nodes: u16, fanout: u16) -> Vec<Rank> {
    let parent = node.checked_sub(1).map(|n| n / fanout);
    let first = u32::from(node) * u32::from(fanout) + 1;
    let children = first..(first + u32::from(fanout)).min(u32::from(nodes));
    let children = children.filter_map(|child| u16::try_from(child).ok());
    parent.into_iter().chain(children).map(Rank).collect()
}

/// The longest shortest path of a connected graph.
pub(super) fn diameter(nodes: u16, neighbours: impl Fn(u16) -> Vec<Rank>) -> u32 {
    let edges: Vec<Vec<Rank>> = (0..nodes).map(neighbours).collect();
    (0..nodes).map(|start| eccentricity(&edges, start)).max().unwrap_or(0)
}

fn eccentricity(edges: &[Vec<Rank>], start: u16) -> u32 {
    let mut distance = vec![None; edges.len()];
    distance[usize::from(start)] = Some(0);
    let mut queue = VecDeque::from([(usize::from(start), 0)]);
    let mut farthest = 0;
    while let Some((node, far)) = queue.pop_front() {
        farthest = far;
        for next in edges[node].iter().map(|rank| rank.index()) {
            if distance.get(next) == Some(&None) {
                distance[next] = Some(far + 1);
                queue.push_back((next, far + 1));
            }
        }
    }
    farthest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_connected_and_symmetric() {
        for (nodes, fanout) in [(1, 2), (2, 1), (5, 1), (25, 4), (25, 24), (200, 3)] {
            for node in 0..nodes {
                for next in tree(node, nodes, fanout) {
                    assert!(tree(next.0, nodes, fanout).contains(&Rank(node)));
                }
            }
        }
        let hops = |nodes, fanout| Overlay::Tree(fanout).shape(Rank(0), nodes).unwrap().hops;
        assert_eq!((hops(1, 2), hops(5, 1), hops(25, 24), hops(25, 4)), (0, 4, 2, 5));
    }
}
