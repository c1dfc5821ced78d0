//! The policy of a schedule: how departures from the default order are drawn or listed.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::case::turn::Turn;

/// The source of a process's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A seed decides how turns are drawn (often or seldom, by chance or by priorities), and each
    /// draw.
    Drawn {
        /// The seed.
        seed: u64,
        /// How many decisions the run is expected to have, if another schedule of it has shown
        /// that: changes of priority that happen only a few times are then spread over the run.
        decisions: Option<u64>,
    },
    /// Only these departures from the default order.
    Listed(Vec<Turn>),
}

/// Within how many decisions priorities are lowered if their number is unknown: as many as a short
/// workload has.
const HORIZON: u64 = 1 << 11;

/// How departures from the default order are drawn.
pub(super) enum Policy {
    /// One decision in this many goes to a random thread.
    Walk { one_in: u64 },
    /// The thread with the highest priority runs; at these decisions the running one gets the
    /// lowest (probabilistic concurrency testing, Burckhardt et al., ASPLOS 2010).
    Priorities { lowered_at: Vec<u64> },
    /// The same, but the running one gets the lowest at one decision in this many: in a long run an
    /// order that needs one change of priorities is tried at many places.
    Lowered { one_in: u64 },
    /// At the decisions of a list.
    Listed(std::vec::IntoIter<Turn>, Option<Turn>),
}

impl Policy {
    /// Different runs are scheduled in different ways: one way often shows what another seldom
    /// does.
    pub(super) fn draw(stream: &mut ChaCha8Rng, decisions: Option<u64>) -> Self {
        match below(stream, 9) {
            0 => Self::Walk { one_in: 2 },
            1 => Self::Walk { one_in: 8 },
            2 => Self::Walk { one_in: 64 },
            3 => Self::Lowered { one_in: 4 },
            4 => Self::Lowered { one_in: 16 },
            5 => Self::Lowered { one_in: 64 },
            more => {
                let changes = more - 5;
                let horizon = match decisions {
                    Some(decisions) => decisions.max(1),
                    None => HORIZON >> below(stream, 6),
                };
                let lowered = (0..changes).map(|_| below(stream, horizon)).collect();
                Self::Priorities { lowered_at: lowered }
            }
        }
    }
}

/// One of `0..bound`, nearly uniform.
pub(super) fn below(stream: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(stream.next_u64()) * u128::from(bound)) >> 64) as u64
}
