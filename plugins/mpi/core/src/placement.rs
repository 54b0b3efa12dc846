//! Which rank runs on which node.

use crate::messages::Distribution;

/// The node of each rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    node_of_rank: Vec<u32>,
    nodes: u32,
}

impl Placement {
    /// Places as many ranks as there are slots; `slots[node]` of them on each node.
    pub fn new(slots: &[u32], distribution: Distribution) -> Self {
        let nodes = u32::try_from(slots.len()).expect("a gang has fewer than 2^32 agents");
        let node_of_rank = match distribution {
            Distribution::Block => {
                (0..nodes).zip(slots).flat_map(|(node, slots)| std::iter::repeat_n(node, *slots as usize)).collect()
            }
            Distribution::Cyclic => {
                let rounds = slots.iter().copied().max().unwrap_or(0);
                let round = |round| (0..nodes).filter(move |node| slots[*node as usize] > round);
                (0..rounds).flat_map(round).collect()
            }
        };
        Self { node_of_rank, nodes }
    }

    /// How many ranks there are.
    pub fn size(&self) -> u32 {
        u32::try_from(self.node_of_rank.len()).expect("slots are counted in 32 bits")
    }

    /// The ranks of a node, ascending.
    pub fn ranks_of(&self, node: u32) -> Vec<u32> {
        (0..).zip(&self.node_of_rank).filter(|(_, at)| **at == node).map(|(rank, _)| rank).collect()
    }

    /// The node of a rank.
    pub fn node_of(&self, rank: u32) -> Option<u32> {
        self.node_of_rank.get(rank as usize).copied()
    }

    /// The value of `PMI_process_mapping`: blocks of (first node, nodes, ranks on each); the list starts again when ranks are
    /// left over.
    pub fn process_mapping(&self) -> String {
        let blocks = shortest_period(blocks(&self.node_of_rank));
        let blocks: Vec<String> = blocks
            .iter()
            .map(|block| format!("({},{},{})", block.first_node, block.nodes, block.ranks_per_node))
            .collect();
        format!("(vector,{})", blocks.join(","))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first_node: u32,
    nodes: u32,
    ranks_per_node: u32,
}

fn blocks(node_of_rank: &[u32]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for run in node_of_rank.chunk_by(|a, b| a == b) {
        let (node, count) = (run[0], u32::try_from(run.len()).expect("ranks are counted in 32 bits"));
        match blocks.last_mut() {
            Some(last) if last.ranks_per_node == count && last.first_node + last.nodes == node => last.nodes += 1,
            _ => blocks.push(Block { first_node: node, nodes: 1, ranks_per_node: count }),
        }
    }
    blocks
}

fn shortest_period(mut blocks: Vec<Block>) -> Vec<Block> {
    let repeats = |period: &usize| blocks.chunks(*period).all(|chunk| chunk == &blocks[..*period]);
    let period = (1..blocks.len()).find(repeats).unwrap_or(blocks.len());
    blocks.truncate(period);
    blocks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn block_fills_a_node_before_the_next_and_cyclic_goes_round() {
        let block = Placement::new(&[2, 1], Distribution::Block);
        assert_eq!((block.ranks_of(0), block.ranks_of(1)), (vec![0, 1], vec![2]));
        let cyclic = Placement::new(&[1, 3], Distribution::Cyclic);
        assert_eq!((cyclic.ranks_of(0), cyclic.ranks_of(1)), (vec![0], vec![1, 2, 3]));
    }

    #[test]
    fn mappings_are_as_mpich_writes_them() {
        let table: [(&[u32], Distribution, &str); 5] = [
            (&[4], Distribution::Block, "(vector,(0,1,4))"),
            (&[2, 2, 2, 2], Distribution::Block, "(vector,(0,4,2))"),
            (&[3, 3, 2], Distribution::Block, "(vector,(0,2,3),(2,1,2))"),
            (&[2, 2, 2, 2], Distribution::Cyclic, "(vector,(0,4,1))"),
            (&[2, 1], Distribution::Cyclic, "(vector,(0,2,1),(0,1,1))"),
        ];
        for (slots, distribution, mapping) in table {
            assert_eq!(Placement::new(slots, distribution).process_mapping(), mapping, "{slots:?}");
        }
    }

    /// As a library reads it.
    fn expand(mapping: &str, size: usize) -> Vec<u32> {
        let numbers: Vec<u32> =
            mapping.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        let once: Vec<u32> = numbers
            .chunks(3)
            .flat_map(|block| (block[0]..block[0] + block[1]).flat_map(|node| vec![node; block[2] as usize]))
            .collect();
        once.iter().copied().cycle().take(size).collect()
    }

    proptest! {
        #[test]
        fn every_slot_is_filled_and_the_mapping_tells_the_same(
            slots in proptest::collection::vec(1u32..6, 1..8),
            cyclic in any::<bool>(),
        ) {
            let distribution = if cyclic { Distribution::Cyclic } else { Distribution::Block };
            let placement = Placement::new(&slots, distribution);
            for (node, slots) in (0..).zip(&slots) {
                prop_assert_eq!(placement.ranks_of(node).len(), *slots as usize);
            }
            let told = expand(&placement.process_mapping(), placement.size() as usize);
            prop_assert_eq!(told, placement.node_of_rank);
        }
    }
}
