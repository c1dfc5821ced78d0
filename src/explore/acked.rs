//! Acknowledgements outside of the steps' own promises.

use std::rc::Rc;

use crate::base::digest::{Digest, hash};
use crate::oracle::CrashKind;
use crate::sim::engine::Level;

/// The acknowledgements that cover one kind of crash, in order.
#[derive(Clone, Default)]
pub(crate) struct Acked {
    texts: Vec<String>,
    /// Identifies the list, so that no list is compared or copied for each crash state.
    digest: Digest,
}

impl Acked {
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    fn push(&mut self, text: &str) {
        self.digest = Digest(hash(&[&self.digest.0.to_le_bytes()[..], text.as_bytes()].concat()));
        self.texts.push(text.to_owned());
    }
}

/// All acknowledgements, by the kind of crash that they cover. A clone shares them.
#[derive(Clone, Default)]
pub(crate) struct Acks {
    process: Rc<Acked>,
    power: Rc<Acked>,
}

impl Acks {
    /// Adds an acknowledgement.
    pub(crate) fn push(&mut self, level: Level, text: &str) {
        for (acked, least) in
            [(&mut self.process, Level::Flushed), (&mut self.power, Level::Durable)]
        {
            if level >= least {
                Rc::make_mut(acked).push(text);
            }
        }
    }

    /// The acknowledgements that cover such a crash.
    pub(crate) fn surviving(&self, kind: CrashKind) -> &Rc<Acked> {
        match kind {
            CrashKind::Process => &self.process,
            CrashKind::Power => &self.power,
        }
    }
}
