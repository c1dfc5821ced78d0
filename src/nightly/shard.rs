//! A shard: which part of a campaign this process does, from a flag or from a scheduler.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Part `index` of `of`: the counters that are `index` modulo `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Counted from 0.
    pub(crate) index: u64,
    /// The number of shards.
    pub(crate) of: u64,
}

/// Why a text or the environment names no shard.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ShardError(String);

impl Shard {
    /// The whole of a campaign.
    pub(crate) const WHOLE: Self = Self { index: 0, of: 1 };

    /// Whether it has this counter.
    pub(crate) fn has(self, counter: u64) -> bool {
        counter % self.of == self.index
    }

    fn new(index: u64, of: u64) -> Result<Self, String> {
        match (index, of) {
            (_, 0) => Err("there must be at least one shard".to_owned()),
            _ if index >= of => {
                Err(format!("shards are counted from 0: the last of {of} is {}/{of}", of - 1))
            }
            _ => Ok(Self { index, of }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = |why: String| ShardError(format!("`{text}` is not a shard: {why}"));
        let shape = || wrong("expected I/N, such as 0/3".to_owned());
        let (index, of) = text.split_once('/').ok_or_else(shape)?;
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse::<u64>().map_err(|_| shape()),
            false => Err(shape()),
        };
        Self::new(number(index)?, number(of)?).map_err(wrong)
    }
}

/// A scheduler that tells each of its tasks which one it is.
struct Scheduler {
    name: &'static str,
    /// The variable with the number of the task.
    index: &'static str,
    /// The variable with the number of tasks, if there is one.
    of: Option<&'static str>,
    /// The number of the first task: a constant, or a variable and its default.
    first: First,
}

enum First {
    Is(u64),
    In(&'static str),
}

/// In the order in which they are asked.
const SCHEDULERS: [Scheduler; 7] = [
    Scheduler {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        of: Some("SLURM_ARRAY_TASK_COUNT"),
        first: First::In("SLURM_ARRAY_TASK_MIN"),
    },
    Scheduler {
        name: "Bazel",
        index: "TEST_SHARD_INDEX",
        of: Some("TEST_TOTAL_SHARDS"),
        first: First::Is(0),
    },
    Scheduler {
        name: "Buildkite",
        index: "BUILDKITE_PARALLEL_JOB",
        of: Some("BUILDKITE_PARALLEL_JOB_COUNT"),
        first: First::Is(0),
    },
    // GitLab counts its nodes from 1, CircleCI from 0.
    Scheduler {
        name: "CircleCI",
        index: "CIRCLE_NODE_INDEX",
        of: Some("CIRCLE_NODE_TOTAL"),
        first: First::Is(0),
    },
    Scheduler {
        name: "GitLab",
        index: "CI_NODE_INDEX",
        of: Some("CI_NODE_TOTAL"),
        first: First::Is(1),
    },
    // These do not say how many tasks there are: the job file sets it.
    Scheduler { name: "Kubernetes", index: "JOB_COMPLETION_INDEX", of: None, first: First::Is(0) },
    Scheduler { name: "HyperQueue", index: "HQ_TASK_ID", of: None, first: First::Is(0) },
];

/// The variable that says how many tasks there are where the scheduler does not.
pub(crate) const SHARDS: &str = "CRASHPOINT_SHARDS";

/// The shard that a scheduler's variables name, and the scheduler: the first one of the list whose
/// variable is set. `variable` looks one up.
///
/// # Errors
/// A variable has no number, or the numbers do not fit.
pub(crate) fn of_environment(
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(Shard, &'static str)>, ShardError> {
    let number = |name: &str| match variable(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => value.parse::<u64>().map(Some).map_err(|_| {
            ShardError(format!("{name}=`{value}` is not a number; --shard I/N overrides it"))
        }),
    };
    for Scheduler { name, index, of, first } in &SCHEDULERS {
        let Some(task) = number(index)? else { continue };
        let Some(of) = number(of.unwrap_or(SHARDS))? else {
            // An array of one task has no count, and neither has a job that is none of an array.
            let why = format!("{index} is set, and {} is not", of.unwrap_or(SHARDS));
            return Err(ShardError(format!("{why}; set it, or give --shard I/N")));
        };
        let first = match first {
            First::Is(first) => *first,
            First::In(variable) => number(variable)?.unwrap_or(0),
        };
        let task = task.checked_sub(first).ok_or_else(|| {
            ShardError(format!("{index}={task} is below {first}, the first of {name}'s tasks"))
        })?;
        let shard = Shard::new(task, of).map_err(|why| ShardError(format!("{index}: {why}")))?;
        return Ok(Some((shard, name)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_reads_back_and_what_is_none_is_refused() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, of: 3 }));
        assert_eq!(Shard { index: 2, of: 3 }.to_string(), "2/3");
        for wrong in ["3/2", "2/2", "0/0", "1", "a/2", "-1/2", "+1/2", "1/2/3", "/", ""] {
            let error = wrong.parse::<Shard>().expect_err("no shard").to_string();
            assert!(error.starts_with(&format!("`{wrong}` is not a shard: ")), "{error}");
        }
        let error = "3/2".parse::<Shard>().expect_err("no shard").to_string();
        assert_eq!(error, "`3/2` is not a shard: shards are counted from 0: the last of 2 is 1/2");
    }

    #[test]
    fn each_counter_is_in_one_shard() {
        for of in 1..8 {
            for counter in 0..50 {
                let has = |index| Shard { index, of }.has(counter);
                assert_eq!((0..of).filter(|&index| has(index)).count(), 1);
            }
        }
    }

    fn named(variables: &[(&str, &str)]) -> Result<Option<(Shard, &'static str)>, ShardError> {
        let of = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        of_environment(&of)
    }

    #[test]
    fn schedulers_name_the_shard_in_a_fixed_order() {
        let shard = |index, of, name| Ok(Some((Shard { index, of }, name)));
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "11"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("CI_NODE_INDEX", "1"),
            ("CI_NODE_TOTAL", "9"),
        ];
        assert_eq!(named(&slurm), shard(1, 3, "Slurm"));
        assert_eq!(named(&slurm[3..]), shard(0, 9, "GitLab"));
        let circle = [("CIRCLE_NODE_INDEX", "0"), ("CIRCLE_NODE_TOTAL", "2")];
        assert_eq!(named(&circle), shard(0, 2, "CircleCI"));
        let kubernetes = [("JOB_COMPLETION_INDEX", "4"), ("CRASHPOINT_SHARDS", "5")];
        assert_eq!(named(&kubernetes), shard(4, 5, "Kubernetes"));
        let bazel = [("TEST_SHARD_INDEX", "1"), ("TEST_TOTAL_SHARDS", "2")];
        assert_eq!(named(&bazel), shard(1, 2, "Bazel"));
        let buildkite = [("BUILDKITE_PARALLEL_JOB", "1"), ("BUILDKITE_PARALLEL_JOB_COUNT", "2")];
        assert_eq!(named(&buildkite), shard(1, 2, "Buildkite"));
        let hyperqueue = [("HQ_TASK_ID", "1"), ("CRASHPOINT_SHARDS", "2")];
        assert_eq!(named(&hyperqueue), shard(1, 2, "HyperQueue"));
        assert_eq!(named(&[]), Ok(None));
    }

    #[test]
    fn an_environment_that_does_not_fit_is_an_error_and_not_the_whole() {
        for (variables, says) in [
            (vec![("JOB_COMPLETION_INDEX", "4")], "CRASHPOINT_SHARDS is not"),
            (
                vec![("JOB_COMPLETION_INDEX", "5"), ("CRASHPOINT_SHARDS", "5")],
                "the last of 5 is 4/5",
            ),
            (vec![("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "2")], "is below 1"),
            (vec![("TEST_SHARD_INDEX", "x")], "`x` is not a number"),
        ] {
            let error = named(&variables).expect_err("it does not fit").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
