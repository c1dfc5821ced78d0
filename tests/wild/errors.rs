//! An error with code of its own: what it says, what caused it and its end are the engine's.

use std::fmt;
use std::path::{Path, PathBuf};

use crashpoint::Error;
use expect_test::expect;

use super::{Act, OPEN, Snapshot, gist, says};

acts! {
    Looks "looks" |dir| Err(Looking::at(dir, "the file"));
}

/// An error that looks for its file, and panics if that is not there, whatever is done to it.
struct Looking {
    file: PathBuf,
    name: &'static str,
    cause: Option<Box<Looking>>,
}

impl Looking {
    fn at(dir: &Path, name: &'static str) -> Error {
        let file = dir.join(OPEN);
        let cause = Box::new(Self { file: file.clone(), name: "its cause", cause: None });
        Box::new(Self { file, name, cause: Some(cause) })
    }

    fn look(&self) {
        assert!(self.file.exists(), "{} looked at the host", self.name);
    }
}

impl fmt::Display for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look();
        write!(f, "{} is there", self.name)
    }
}

impl fmt::Debug for Looking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look();
        f.write_str("There")
    }
}

impl std::error::Error for Looking {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.look();
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn the_text_and_the_end_of_an_error_see_the_simulated_disk() {
    let run = says(crashpoint::check_store::<Snapshot<Looks, false>>).expect("in the run");
    expect![[r#"
        FAIL looks on posix: returned an error without a reason
        class    op-failed  (op-failed:put.There)
        step 1, put: the file is there: its cause is there
    "#]]
    .assert_eq(&gist(&run));
    let recovery = says(crashpoint::check_store::<Snapshot<Looks, true>>).expect("in recovery");
    expect![[r#"
        FAIL looks on posix: cannot be opened after a crash during its creation
        class    create-interrupted  (create-interrupted:open-failed.There)
        the file is there: its cause is there
    "#]]
    .assert_eq(&gist(&recovery));
}
