//! Cases read back, and wrong ones say where they are wrong.

use std::time::Duration;

use super::parse::{MOST_CRASHES, parse_duration};
use super::print::show_duration;
use super::*;

const CASE: &str = r#"crashpoint-case 3
# The header write was lost.
# Found by hand.
sim append-log
profile posix
seed 0x92c17f0300000040
expect lost-write
known "tracker: issue 12"
fault ENOSPC step=2 write=1 after=100
space pages=40 inodes=9 EDQUOT delayed
cache evicted
put a "x y"
sleep 50ms
reopen
read-back
crash power step=2 effect=3 in=write:log down=1500ms keep=nothing log@4096:2
put b "v"*5000
crash process step=1 effect=2 replies=3
put c 1
crash process step=1 effect=0 returned ended=2
"#;

#[test]
fn a_case_reads_back() {
    let case = Case::parse(CASE).expect("it parses");
    assert_eq!(case.to_string(), CASE);
    assert_eq!(case.epochs.len(), 3);
    assert_eq!(case.epochs[1].crash.as_ref().map(|crash| crash.position.replies), Some(3));
    assert_eq!(case.epochs[0].steps.len(), 4);
}

#[test]
fn parsing_reports_the_line_of_each_part() {
    let (case, lines) = Case::parse_with_lines(CASE).expect("it parses");
    assert_eq!((lines.sim, lines.profile), (4, 5));
    let first = EpochLines { steps: vec![12, 13, 14, 15], crash: Some(16) };
    let second = EpochLines { steps: vec![17], crash: Some(18) };
    let third = EpochLines { steps: vec![19], crash: Some(20) };
    assert_eq!(lines.epochs, [first, second, third]);
    assert_eq!(lines.epochs.len(), case.epochs.len());
}

#[test]
fn a_case_that_expands_to_too_much_is_refused() {
    let head = "sim a\nprofile posix\nseed 1\nexpect pass\n";
    let crashes = |count| head.to_owned() + &"crash power step=0 effect=0\n".repeat(count);
    assert!(Case::parse(&crashes(MOST_CRASHES)).is_ok());
    let error = Case::parse(&crashes(MOST_CRASHES + 1)).unwrap_err();
    assert_eq!(error.line, 5 + MOST_CRASHES);
    let long = head.to_owned() + &"put \"a\"*40000000\n".repeat(2);
    assert_eq!(Case::parse(&long).unwrap_err().line, 6);
}

#[test]
fn a_wrong_case_names_line_and_column() {
    let wrong = |from: &str, to: &str| {
        let error = Case::parse(&CASE.replace(from, to)).unwrap_err();
        (error.line, error.error.column)
    };
    assert_eq!(wrong("0x92c17f0300000040", "0xzz"), (6, 6));
    assert_eq!(wrong("lost-write", "lost-right"), (7, 8));
    assert_eq!(wrong("50ms", "50 ms"), (13, 10));
    assert_eq!(wrong("50ms", "5x"), (13, 7));
    assert_eq!(wrong("crash power", "crash flood"), (16, 7));
    assert_eq!(wrong("reopen", "sim other"), (14, 1));
    assert_eq!(wrong("reopen", "reopen now"), (14, 8));
    assert_eq!(wrong("reopen", "fault EIO step=1 sync=1"), (14, 1));
    assert_eq!(wrong("EDQUOT delayed", "delayed soon"), (10, 33));
    assert_eq!(wrong("cache evicted", "cache gone"), (11, 7));
    assert_eq!(wrong("profile posix", "sim other"), (5, 1));
    assert_eq!(wrong("sim append-log\n", ""), (19, 1));
    assert_eq!(wrong("\"x y\"", "\"x y"), (12, 7));
}

#[test]
fn durations_read_back() {
    for text in ["0s", "50ms", "1500ms", "7us", "13ns"] {
        let word = Word { bytes: text.into(), column: 1 };
        assert_eq!(show_duration(parse_duration(&word).expect("it parses")), text);
    }
    let word = Word { bytes: "1.5s".into(), column: 1 };
    assert_eq!(parse_duration(&word), Ok(Duration::from_millis(1500)));
}

#[test]
fn a_case_without_a_format_line_has_format_0_and_is_written_in_format_3() {
    let old = CASE.replacen("crashpoint-case 3\n", "", 1);
    let case = Case::parse(&old).expect("it parses");
    let lines = "cache evicted\nidentity shared\nerrors uncertain\ncreation apart\n";
    let shared = CASE.replacen("cache evicted\n", lines, 1);
    assert_eq!(Case::parse(&shared), Ok(case.clone()));
    assert_eq!(case.to_string(), shared);
    assert_eq!(case.identity, Identity::Shared);
    assert_eq!(Case::parse(CASE).map(|case| case.identity), Ok(Identity::PerEpoch));
    let wrong = Case::parse(&shared.replacen("identity shared", "identity stolen", 1)).unwrap_err();
    assert_eq!((wrong.line, wrong.error.column), (12, 10));
    let fault = "fault EIO life=2 step=0 sync=1";
    let old = old.replace("fault ENOSPC step=2 write=1 after=100", fault);
    let case = Case::parse(&old).expect("it parses");
    assert!(case.to_string().contains("fault EIO epoch=2 step=0 sync=1"), "{case}");
    let error = Case::parse(&format!("crashpoint-case 3\n{old}")).unwrap_err();
    assert!(error.error.message.starts_with("expected epoch=N"), "{error}");
}

#[test]
fn the_errors_of_a_case_of_format_1_are_uncertain() {
    let old = CASE.replacen("crashpoint-case 3", "crashpoint-case 1", 1);
    let case = Case::parse(&old).expect("it parses");
    assert_eq!((case.identity, case.errors), (Identity::PerEpoch, Errors::Uncertain));
    assert_eq!(Case::parse(CASE).map(|case| case.errors), Ok(Errors::Judged));
    let wrong = CASE.replacen("cache evicted\n", "errors ignored\n", 1);
    let wrong = Case::parse(&wrong).unwrap_err();
    assert_eq!((wrong.line, wrong.error.column), (11, 8));
}

#[test]
fn the_store_of_a_case_of_format_2_is_created_apart() {
    let old = CASE.replacen("crashpoint-case 3", "crashpoint-case 2", 1);
    let case = Case::parse(&old).expect("it parses");
    assert_eq!((case.errors, case.creation), (Errors::Judged, Creation::Apart));
    assert!(case.to_string().contains("\ncreation apart\n"), "{case}");
    assert_eq!(Case::parse(&case.to_string()), Ok(case));
    assert_eq!(Case::parse(CASE).map(|case| case.creation), Ok(Creation::InSession));
    let wrong = CASE.replacen("cache evicted\n", "creation never\n", 1);
    let wrong = Case::parse(&wrong).unwrap_err();
    assert_eq!((wrong.line, wrong.error.column), (11, 10));
}

#[test]
fn a_case_of_a_later_format_asks_for_a_later_version() {
    let wrong = |first: &str| {
        let error = Case::parse(&CASE.replacen("crashpoint-case 3", first, 1)).unwrap_err();
        (error.line, error.error.column, error.error.message)
    };
    let (line, column, message) = wrong("crashpoint-case 4");
    assert_eq!((line, column), (1, 17));
    assert!(message.contains("format 3") && message.contains("newer crashpoint"), "{message}");
    assert_eq!(wrong("crashpoint-case one").1, 17);
    assert_eq!(wrong("crashpoint-case 0").1, 17);
    assert_eq!(wrong("crashpoint-case").1, 1);
}
