//! One saved case of each released format replays: `formats/N.txt` has format N.

use crashpoint::check_case;

#[test]
fn a_case_of_each_format_replays() {
    let cases = [
        include_str!("formats/0.txt"),
        include_str!("formats/1.txt"),
        include_str!("formats/2.txt"),
    ];
    for case in cases {
        let sims = sims::registry().sims;
        let sim = sims.iter().find(|sim| case.contains(&format!("sim {}\n", sim.name)));
        let sim = sim.expect("the case of a sim that is shipped");
        assert_eq!(check_case(sim, case), Ok(()), "{case}");
    }
    let format = |case: &str| {
        let first = case.lines().next().unwrap_or_default();
        first.strip_prefix("crashpoint-case ").map(str::to_owned)
    };
    assert_eq!(cases.map(format), [None, Some("1".to_owned()), Some("2".to_owned())]);
}
