//! The search finds the smallest case, and believes nothing that was not tried.

use super::counts::Counts;
use super::edit::{joined, without_epoch, without_steps};
use super::search::{Effort, End, Search, Trial, Tried};
use super::simpler::simpler;
use super::size::Size;
use crate::campaign::problem::Problem;
use crate::case::{Case, Step};

const CASE: &str = "\
crashpoint-case 1
sim toy
profile posix
seed 0x0000000000000001
expect lost-write
fault EIO step=3 sync=1
fault EIO epoch=2 step=1 write=2 always
space pages=40 inodes=9
put a 1
put bee 5000
sleep 50ms
put c hello
reopen
batch put d 7 put e 8 put f 9
crash power step=6 effect=3 down=1s keep=nothing log@0:1 log@4096:2
put g 1
crash power step=1 effect=1 keep=all
put h 2
";

fn case(text: &str) -> Case {
    Case::parse(text).expect("it parses")
}

/// A trial without an engine.
struct Pure<F> {
    fails: F,
    /// Whether a crash that was looked for is found, at the end of the workload.
    finds: bool,
    /// Every candidate that was judged.
    judged: Vec<String>,
    /// How hard a crash was looked for, each time.
    efforts: Vec<Effort>,
    /// The children that use up their CPU time in each replay.
    stuck: u64,
    /// The number of replays after which it cannot go on.
    ends_after: Option<usize>,
}

impl<F: FnMut(&Case) -> bool> Pure<F> {
    fn new(fails: F) -> Self {
        let (judged, efforts) = (Vec::new(), Vec::new());
        Self { fails, finds: false, judged, efforts, stuck: 0, ends_after: None }
    }

    fn shrink(&mut self, text: &str, budget: u64) -> (Case, End, u64) {
        let mut progress = |_: &Case, _| {};
        let mut search = Search::new(self, case(text), budget, &mut progress);
        let end = search.run();
        (search.best().clone(), end, search.recoveries())
    }
}

impl<F: FnMut(&Case) -> bool> Trial for Pure<F> {
    fn reads(&self, candidate: &Case) -> bool {
        ops(candidate).iter().all(
            |op| match op.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["put", _, _] => true,
                ["batch", ref rest @ ..] => {
                    !rest.is_empty()
                        && rest.chunks(3).all(|part| part.len() == 3 && part[0] == "put")
                }
                _ => false,
            },
        )
    }

    fn replay(&mut self, candidate: &Case) -> Result<Tried, Problem> {
        if self.ends_after == Some(self.judged.len()) {
            return Err(Problem::environment("the explorer is gone"));
        }
        self.judged.push(candidate.to_string());
        let failing = (self.fails)(candidate).then(|| candidate.clone());
        let recoveries = Counts::of(candidate).crashes as u64;
        Ok(Tried { failing, recoveries, stuck: self.stuck })
    }

    fn find_crash(&mut self, candidate: &Case, effort: Effort) -> Result<Tried, Problem> {
        self.efforts.push(effort);
        let mut found = candidate.clone();
        found.epochs.truncate(1);
        let first = &mut found.epochs[0];
        let steps = u32::try_from(first.steps.len()).expect("few");
        if let Some(crash) = &mut first.crash {
            crash.position.step = steps;
            crash.position.effect = 9;
        }
        Ok(Tried { failing: self.finds.then_some(found), recoveries: 96, stuck: 0 })
    }
}

fn ops(case: &Case) -> Vec<Vec<String>> {
    let steps = case.epochs.iter().flat_map(|epoch| &epoch.steps);
    let op = |step: &Step| match step {
        Step::Op(words) => Some(words.iter().map(|word| word.text()).collect()),
        Step::Reopen | Step::Sleep(_) | Step::ReadBack => None,
    };
    steps.filter_map(op).collect()
}

fn has(case: &Case, word: &str) -> bool {
    ops(case).iter().flatten().any(|other| other == word)
}

#[test]
fn what_does_not_matter_is_left_out() {
    let mut trial = Pure::new(|case: &Case| has(case, "put"));
    let (best, end, _) = trial.shrink(CASE, 2000);
    assert_eq!(end, End::Minimal);
    assert_eq!(Counts::of(&best), Counts { steps: 1, crashes: 0, faults: 0, turns: 0 });
    assert_eq!(ops(&best), [["put", "a", "0"]]);
}

#[test]
fn what_matters_stays() {
    let fails = |case: &Case| {
        let crashes = Counts::of(case).crashes;
        let always = case.faults.iter().any(|fault| fault.always && fault.epoch == 2);
        let text = case.to_string();
        crashes == 2 && always && has(case, "hello") && text.contains("log@4096:2")
    };
    let mut trial = Pure::new(fails);
    let (best, end, _) = trial.shrink(CASE, 2000);
    assert_eq!(end, End::Minimal);
    assert_eq!(Counts::of(&best), Counts { steps: 1, crashes: 2, faults: 1, turns: 0 });
    assert!(fails(&best), "{best}");
    assert!(!best.to_string().contains("log@0:1"), "{best}");
}

#[test]
fn the_budget_is_kept_and_named() {
    let mut trial = Pure::new(|case: &Case| has(case, "hello"));
    let (best, end, recoveries) = trial.shrink(CASE, 3);
    assert_eq!(end, End::Spent);
    assert!(recoveries <= 4, "{recoveries}");
    assert!(has(&best, "hello"), "{best}");
}

#[test]
fn every_accepted_case_was_replayed_from_its_text_and_is_smaller() {
    let mut trial = Pure::new(|case: &Case| has(case, "7"));
    let mut better = vec![case(CASE)];
    let mut progress = |case: &Case, _| {
        if better.last() != Some(case) {
            better.push(case.clone());
        }
    };
    let mut search = Search::new(&mut trial, case(CASE), 2000, &mut progress);
    assert_eq!(search.run(), End::Minimal);
    for pair in better.windows(2) {
        assert!(Size::of(&pair[1]) < Size::of(&pair[0]), "{}\n{}", pair[0], pair[1]);
        assert!(trial.judged.contains(&pair[1].to_string()), "{}", pair[1]);
        assert_eq!(Case::parse(&pair[1].to_string()), Ok(pair[1].clone()));
    }
    assert!(better.len() > 3);
}

#[test]
fn a_crash_that_was_found_anew_is_replayed_before_it_is_believed() {
    let at_nine = |case: &Case| {
        let crash = case.epochs[0].crash.as_ref();
        let steps = case.epochs[0].steps.len();
        crash.is_some_and(|crash| {
            crash.position.step as usize == steps && crash.position.effect == 9 && steps > 1
        })
    };
    let old = |case: &Case| {
        let crash = case.epochs[0].crash.as_ref();
        case.epochs[0].steps.len() == 6 && crash.is_some_and(|crash| crash.position.effect == 3)
    };
    let mut trial = Pure { finds: true, ..Pure::new(|case: &Case| old(case) || at_nine(case)) };
    let (best, end, _) = trial.shrink(CASE, 9000);
    assert_eq!(end, End::Minimal);
    assert!(at_nine(&best) && best.epochs[0].steps.len() == 2, "{best}");
    let mut liar = Pure { finds: true, ..Pure::new(old) };
    let (best, ..) = liar.shrink(CASE, 9000);
    assert!(old(&best), "{best}");
}

#[test]
fn the_same_case_is_never_replayed_twice() {
    let mut trial = Pure::new(|case: &Case| has(case, "hello") && has(case, "8"));
    trial.shrink(CASE, 2000);
    let mut judged = trial.judged.clone();
    judged.sort();
    judged.dedup();
    assert_eq!(judged.len(), trial.judged.len());
}

#[test]
fn every_single_step_of_the_end_result_matters() {
    let fails = |case: &Case| has(case, "hello") && has(case, "8") && has(case, "bee");
    let (best, end, _) = Pure::new(fails).shrink(CASE, 2000);
    assert_eq!(end, End::Minimal);
    for (number, epoch) in best.epochs.iter().enumerate() {
        for step in 0..epoch.steps.len() {
            let fewer = without_steps(&best, number, step..step + 1);
            assert!(!fails(&fewer), "{fewer}");
        }
    }
}

#[test]
fn faults_and_positions_follow_their_steps() {
    let whole = case(CASE);
    let fewer = without_steps(&whole, 0, 0..2);
    assert_eq!(fewer.faults[0].step, 1);
    assert_eq!(fewer.epochs[0].crash.as_ref().map(|crash| crash.position.step), Some(4));
    let fewer = without_steps(&whole, 0, 1..4);
    assert_eq!(fewer.faults[0].step, 2);
    assert_eq!(fewer.faults[1], whole.faults[1]);
    let one = joined(&whole, 0);
    assert_eq!((one.epochs.len(), one.epochs[0].steps.len()), (2, 7));
    assert_eq!(one.epochs[0].crash.as_ref().map(|crash| crash.position.step), Some(7));
    assert_eq!((one.faults[1].epoch, one.faults[1].step), (1, 7));
    let one = without_epoch(&whole, 0);
    assert_eq!((one.faults.len(), one.faults[0].epoch, one.faults[0].step), (1, 1, 1));
}

#[test]
fn numbers_go_towards_zero_and_texts_get_short() {
    let text = |word: &str| -> Vec<String> {
        let all = simpler(word.as_bytes());
        all.into_iter().map(|word| String::from_utf8(word).expect("text")).collect()
    };
    assert_eq!(text("9"), ["0", "1", "5", "7", "8"]);
    assert_eq!(text("-3")[..3], ["0", "1", "3"]);
    assert_eq!(text("0"), [""; 0]);
    assert_eq!(text("a"), [""; 0]);
    assert_eq!(text("bc"), ["b", "aa"]);
    assert_eq!(text(""), ["0", "a"]);
    assert!(text("key12").contains(&"key6".to_owned()));
    let mut trial = Pure::new(|case: &Case| {
        ops(case).iter().flatten().any(|word| word.parse::<u32>().is_ok_and(|n| n >= 4097))
    });
    let (best, ..) = trial.shrink(CASE, 2000);
    assert_eq!(ops(&best), [["put", "a", "4097"]]);
}

#[test]
fn a_huge_case_that_nothing_reads_ends() {
    let long = "nonsense a b\n".repeat(2000);
    let text = format!("sim toy\nprofile posix\nseed 1\nexpect lost-write\n{long}");
    let mut trial = Pure::new(|_: &Case| true);
    let (best, _, recoveries) = trial.shrink(&text, 200);
    assert!(recoveries <= 201);
    assert!(Counts::of(&best).steps <= 2000);
}

#[test]
fn a_trial_that_cannot_go_on_keeps_the_best_case() {
    let mut trial = Pure { ends_after: Some(9), ..Pure::new(|case: &Case| has(case, "hello")) };
    let (best, end, _) = trial.shrink(CASE, 2000);
    assert_eq!(end, End::Stopped("the explorer is gone".to_owned()));
    assert!(has(&best, "hello") && Size::of(&best) < Size::of(&case(CASE)), "{best}");
}

#[test]
fn a_failure_that_takes_seconds_is_replayed_a_few_times_only() {
    let mut trial = Pure { stuck: 1, ..Pure::new(|case: &Case| has(case, "hello")) };
    let (best, end, _) = trial.shrink(CASE, 2000);
    assert_eq!(end, End::Spent);
    assert!(trial.judged.len() <= 20, "{}", trial.judged.len());
    assert!(Counts::of(&best).steps <= 2, "{best}");
}

#[test]
fn a_case_of_many_bytes_ends() {
    let long = "put \"a\"*9000000 1\n".repeat(5);
    let text = format!("sim toy\nprofile posix\nseed 1\nexpect lost-write\n{long}");
    let mut trial = Pure::new(|_: &Case| false);
    let (best, end, _) = trial.shrink(&text, 200);
    assert_eq!(end, End::Spent);
    assert_eq!(Counts::of(&best).steps, 5);
}

#[test]
fn a_crash_is_looked_for_near_the_old_one_first() {
    let fails = |case: &Case| (Counts::of(case).steps, Counts::of(case).crashes) == (7, 2);
    let mut trial = Pure::new(fails);
    trial.shrink(CASE, 100_000);
    let mut order = Vec::new();
    for effort in trial.efforts {
        if !order.contains(&effort) {
            order.push(effort);
        }
    }
    assert_eq!(order, [Effort::Near, Effort::Anywhere, Effort::Thorough]);
}

#[test]
fn a_fault_that_matters_gets_small_numbers() {
    let fails = |case: &Case| case.faults.iter().any(|fault| fault.nth >= 2);
    let (best, ..) = Pure::new(fails).shrink(&CASE.replace("write=2", "write=37"), 2000);
    let faults: Vec<String> = best.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["fault EIO step=0 write=2"]);
}

#[test]
fn turns_that_do_not_matter_are_left_out() {
    let turns: Vec<String> = (0..40).map(|at| format!("{at}>{}", at % 3 + 1)).collect();
    let text = CASE.replace("put a 1", &format!("turns {}\nput a 1", turns.join(" ")));
    let matters = |case: &Case| {
        let turns = case.epochs[0].turns.iter().flatten();
        turns.filter(|turn| [7, 8, 31].contains(&turn.decision)).count() == 3
    };
    let (best, end, _) = Pure::new(matters).shrink(&text, 2000);
    assert_eq!((end, Counts::of(&best).turns), (End::Minimal, 3));
}
