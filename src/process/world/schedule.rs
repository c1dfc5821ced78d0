//! The schedule: the threads of a world, the wait of each, and which one runs next.
//!
//! One thread runs at a time. At each scheduling point, and whenever the running thread has to
//! wait, the next one is decided here and nowhere else. In the default order a thread runs as long
//! as it can, and after it the one that was passed over for longest. A [`Plan`] departs from that
//! order, by draws from a seed or by a list of turns. Each departure is one [`Turn`], so that the
//! list of turns replays the run.
//!
//! This file knows no real threads: `baton` makes them follow.

use std::collections::BTreeMap;

use libc::clockid_t;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use super::policy::Plan;
use super::policy::{Policy, below};
pub(crate) use super::wait_for::{ThreadId, WaitFor};
use crate::base::time::Time;
pub use crate::case::turn::Turn;

/// The first thread of a world.
pub(crate) const FIRST: ThreadId = 1;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The event came.
    Came,
    /// Its time was up.
    TimedOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadState {
    Ready,
    Waits {
        on: WaitFor,
        until: Option<Time>,
        since: u64,
    },
    Ended,
    /// Left over from a closed engine: it never runs again.
    Frozen,
}

struct Thread {
    state: ThreadState,
    woken: Woken,
    /// When it last ran or yielded: of the ready threads, the one with the least was passed over
    /// for longest.
    last: u64,
    priority: u64,
    detached: bool,
    /// How often in a row it was found spinning.
    spins: u32,
}

/// The threads of one process.
pub(crate) struct Schedule {
    threads: Vec<Thread>,
    current: ThreadId,
    policy: Policy,
    stream: ChaCha8Rng,
    decisions: u64,
    /// How many scheduling points there were.
    points: u64,
    /// A counter that orders waits and turns.
    count: u64,
    least_priority: u64,
    turn: Option<Turn>,
    /// The clocks of condition variables that were given one.
    pub(crate) clocks: BTreeMap<usize, clockid_t>,
    /// How many threads each barrier waits for.
    pub(crate) barriers: BTreeMap<usize, u32>,
    /// Which `pthread_once_t` is being run, and by which thread.
    pub(crate) once: BTreeMap<usize, ThreadId>,
}

/// The thread that runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This thread.
    Thread(ThreadId),
    /// None before this time.
    At(Time),
    /// None, ever.
    Never,
}

/// For how many scheduling points others run while a thread spins; each time twice as many.
const PATIENCE: u64 = 64;

impl Schedule {
    /// One thread, which runs.
    pub(crate) fn new(plan: Plan) -> Self {
        let seed = if let Plan::Drawn { seed, .. } = plan { seed } else { 0 };
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        let policy = match plan {
            Plan::Drawn { decisions, .. } => Policy::draw(&mut stream, decisions),
            Plan::Listed(turns) => {
                let mut turns = turns.into_iter();
                let next = turns.next();
                Policy::Listed(turns, next)
            }
        };
        let mut schedule = Self {
            threads: Vec::new(),
            current: FIRST,
            policy,
            stream,
            decisions: 0,
            points: 0,
            count: 0,
            least_priority: u64::MAX / 2,
            turn: None,
            clocks: BTreeMap::new(),
            barriers: BTreeMap::new(),
            once: BTreeMap::new(),
        };
        schedule.start();
        schedule
    }

    /// How many threads were ever started.
    pub(crate) fn started(&self) -> usize {
        self.threads.len()
    }

    /// Adds a thread, which is ready to run.
    pub(crate) fn start(&mut self) -> ThreadId {
        self.count += 1;
        // Above every lowered priority.
        let priority = u64::MAX / 2 + self.stream.next_u64() / 2;
        let thread = Thread {
            state: ThreadState::Ready,
            woken: Woken::Came,
            last: self.count,
            priority,
            detached: false,
            spins: 0,
        };
        self.threads.push(thread);
        ThreadId::try_from(self.threads.len()).unwrap_or(ThreadId::MAX)
    }

    /// The thread that runs.
    pub(crate) fn current(&self) -> ThreadId {
        self.current
    }

    /// How many decisions there were so far.
    pub(crate) fn decisions(&self) -> u64 {
        self.decisions
    }

    /// How many threads were ever started.
    pub(crate) fn count_started(&self) -> usize {
        self.threads.len()
    }

    /// The thread that was added last could not be started.
    pub(crate) fn forget(&mut self, id: ThreadId) {
        debug_assert_eq!(id as usize, self.threads.len());
        self.threads.pop();
    }

    /// How many threads wait for this.
    pub(crate) fn waiting(&self, on: WaitFor) -> usize {
        let waits = |thread: &&Thread| match thread.state {
            ThreadState::Waits { on: other, .. } => other == on,
            _ => false,
        };
        self.threads.iter().filter(waits).count()
    }

    fn thread(&mut self, id: ThreadId) -> Option<&mut Thread> {
        self.threads.get_mut(id as usize - 1)
    }

    /// The running thread waits from now on.
    pub(crate) fn wait(&mut self, on: WaitFor, until: Option<Time>) {
        self.count += 1;
        let (since, current) = (self.count, self.current);
        if let Some(thread) = self.thread(current) {
            thread.state = ThreadState::Waits { on, until, since };
            thread.last = since;
        }
    }

    /// The running thread spins: it waits until the others have to wait too, or have run for long.
    /// Returns whether it waits: it does not if no other thread could run meanwhile, if another
    /// thread than `id` runs, or if it waits already.
    pub(crate) fn spin(&mut self, id: ThreadId) -> bool {
        // Two that spin for each other are left to the watch, which names one of them.
        let again = self.thread(id).is_some_and(|thread| thread.spins > 2);
        let can_run = |thread: &Thread| match thread.state {
            ThreadState::Ready | ThreadState::Waits { until: Some(_), .. } => true,
            ThreadState::Waits { on, .. } => matches!(on, WaitFor::Spin(_)) && !again,
            ThreadState::Ended | ThreadState::Frozen => false,
        };
        // It counts itself.
        let able = self.threads.iter().filter(|thread| can_run(thread)).count() > 1;
        let (points, runs) = (self.points, id == self.current);
        let Some(thread) = self.thread(id).filter(|thread| thread.state == ThreadState::Ready)
        else {
            return false;
        };
        if !able || !runs {
            return false;
        }
        let patience = PATIENCE << thread.spins.min(32);
        thread.spins += 1;
        self.wait(WaitFor::Spin(points + patience), None);
        true
    }

    /// How the running thread's last wait ended.
    pub(crate) fn woken(&mut self) -> Woken {
        let current = self.current;
        self.thread(current).map_or(Woken::Came, |thread| thread.woken)
    }

    /// Wakes up to `most` of the threads whose wait `matches`, the longest waiting first; returns
    /// how many.
    pub(crate) fn wake(&mut self, most: usize, matches: impl Fn(&WaitFor) -> bool) -> usize {
        let mut waiting: Vec<(u64, usize)> = Vec::new();
        for (index, thread) in self.threads.iter().enumerate() {
            if let ThreadState::Waits { on, since, .. } = &thread.state
                && matches(on)
            {
                waiting.push((*since, index));
            }
        }
        waiting.sort_unstable();
        waiting.truncate(most);
        for &(_, index) in &waiting {
            self.threads[index].state = ThreadState::Ready;
            self.threads[index].woken = Woken::Came;
        }
        waiting.len()
    }

    /// Wakes all that wait for this. They must be ones that try again: of an object, a lock on a
    /// file, and similar.
    pub(crate) fn wake_all(&mut self, on: WaitFor) -> usize {
        self.wake(usize::MAX, |other| *other == on)
    }

    /// Moves up to `most` of the threads that wait for one word to another; returns how many.
    pub(crate) fn requeue(&mut self, from: usize, to: usize, most: usize) -> usize {
        let mut moved = 0;
        for thread in &mut self.threads {
            if let ThreadState::Waits { on: WaitFor::Word(at, _), .. } = &mut thread.state
                && *at == from
                && moved < most
            {
                *at = to;
                moved += 1;
            }
        }
        moved
    }

    /// The running thread has ended.
    pub(crate) fn end(&mut self) {
        let current = self.current;
        if let Some(thread) = self.thread(current) {
            thread.state = ThreadState::Ended;
        }
        self.wake_all(WaitFor::End(current));
        self.wake_all(WaitFor::Settled);
    }

    /// Whether a thread has ended.
    pub(crate) fn has_ended(&self, id: ThreadId) -> bool {
        self.threads.get(id as usize - 1).is_none_or(|thread| thread.state == ThreadState::Ended)
    }

    /// This thread will not be joined; returns whether it has ended.
    pub(crate) fn detach(&mut self, id: ThreadId) -> bool {
        if let Some(thread) = self.thread(id) {
            thread.detached = true;
        }
        self.has_ended(id)
    }

    /// Whether this thread will not be joined.
    pub(crate) fn is_detached(&self, id: ThreadId) -> bool {
        self.threads.get(id as usize - 1).is_some_and(|thread| thread.detached)
    }

    /// No thread but the running one runs ever again; returns how many were still alive.
    pub(crate) fn freeze_others(&mut self) -> usize {
        let mut frozen = 0;
        for (index, thread) in self.threads.iter_mut().enumerate() {
            let other = index + 1 != self.current as usize;
            if other && !matches!(thread.state, ThreadState::Ended | ThreadState::Frozen) {
                thread.state = ThreadState::Frozen;
                frozen += 1;
            }
        }
        frozen
    }

    /// The thread that runs at this time. The running thread is preferred unless it waits, has
    /// ended, or `yields`.
    pub(crate) fn next(&mut self, now: Time, yields: bool) -> Next {
        self.points += 1;
        self.wake_due(now);
        if yields {
            self.put_last();
        }
        self.count_spins();
        let mut ready = self.ready();
        if ready.is_empty() {
            self.let_spin();
            ready = self.ready();
        }
        let next = match ready.len() {
            0 => return self.next_deadline().map_or(Next::Never, Next::At),
            1 => ready[0],
            _ => self.decide(&ready, yields),
        };
        if next != self.current {
            self.count += 1;
            let (count, current) = (self.count, self.current);
            if let Some(thread) = self.thread(current)
                && thread.state == ThreadState::Ready
            {
                thread.last = count;
            }
            self.current = next;
        }
        Next::Thread(next)
    }

    /// The last decision, if it departed from the default order.
    pub(crate) fn take_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }

    /// The call in which a thread waits for the host, if one does.
    pub(crate) fn awaits_host(&self) -> Option<&'static str> {
        self.threads.iter().find_map(|thread| match thread.state {
            ThreadState::Waits { on: WaitFor::Host(call), .. } => Some(call),
            _ => None,
        })
    }

    /// The wait of each thread, in words; for the report of a deadlock.
    pub(crate) fn waits(&self) -> String {
        let mut words = Vec::new();
        for (index, thread) in self.threads.iter().enumerate() {
            if let ThreadState::Waits { on, .. } = &thread.state {
                words.push(format!("thread {} waits for {on}", index + 1));
            }
        }
        words.join(", ")
    }

    /// Puts the running thread after all others: in the default order, and by its priority.
    fn put_last(&mut self) {
        self.count += 1;
        let (last, current) = (self.count, self.current);
        if let Some(thread) = self.thread(current) {
            thread.last = last;
        }
        self.lower_priority();
    }

    fn lower_priority(&mut self) {
        self.least_priority -= 1;
        let (priority, current) = (self.least_priority, self.current);
        if let Some(thread) = self.thread(current) {
            thread.priority = priority;
        }
    }

    fn most_urgent(&self, ready: &[ThreadId]) -> Option<ThreadId> {
        ready.iter().copied().max_by_key(|id| self.threads[*id as usize - 1].priority)
    }

    fn ready(&self) -> Vec<ThreadId> {
        let ready = |(index, thread): (usize, &Thread)| {
            (thread.state == ThreadState::Ready).then_some(index as ThreadId + 1)
        };
        self.threads.iter().enumerate().filter_map(ready).collect()
    }

    fn wake_due(&mut self, now: Time) {
        for thread in &mut self.threads {
            if let ThreadState::Waits { until: Some(until), .. } = thread.state
                && until <= now
            {
                thread.state = ThreadState::Ready;
                thread.woken = Woken::TimedOut;
            }
        }
    }

    /// A running thread that is here for another reason does not spin any more. Spinning threads
    /// are ready again once the others had enough scheduling points.
    fn count_spins(&mut self) {
        let (current, points) = (self.current as usize, self.points);
        for (index, thread) in self.threads.iter_mut().enumerate() {
            match thread.state {
                ThreadState::Waits { on: WaitFor::Spin(until), .. } if until <= points => {
                    thread.state = ThreadState::Ready;
                }
                ThreadState::Waits { on: WaitFor::Spin(_), .. } => {}
                _ if index + 1 == current => thread.spins = 0,
                _ => {}
            }
        }
    }

    /// No thread is ready: those that spin are, if another thread ran meanwhile. One that spins for
    /// the second time lets time pass first, because each time costs CPU time.
    fn let_spin(&mut self) {
        let (deadline, count) = (self.next_deadline().is_some(), self.count);
        for thread in &mut self.threads {
            if let ThreadState::Waits { on: WaitFor::Spin(_), since, .. } = thread.state
                && since < count
                && (thread.spins == 1 || !deadline)
            {
                thread.state = ThreadState::Ready;
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let deadline = |thread: &Thread| match thread.state {
            ThreadState::Waits { until, .. } => until,
            _ => None,
        };
        self.threads.iter().filter_map(deadline).min()
    }

    /// Decides between several ready threads.
    fn decide(&mut self, ready: &[ThreadId], yields: bool) -> ThreadId {
        let decision = self.decisions;
        self.decisions += 1;
        let default = self.default_order(ready, yields);
        let next = self.drawn(decision, ready, yields).unwrap_or(default);
        self.turn = (next != default).then_some(Turn { decision, thread: next });
        next
    }

    /// The thread that runs unless the plan departs from the default order.
    fn default_order(&self, ready: &[ThreadId], yields: bool) -> ThreadId {
        if !yields && ready.contains(&self.current) {
            return self.current;
        }
        let last = |id: &ThreadId| self.threads[*id as usize - 1].last;
        ready.iter().copied().min_by_key(last).unwrap_or(self.current)
    }

    /// The thread that the plan runs instead, if it departs from the default order here.
    fn drawn(&mut self, decision: u64, ready: &[ThreadId], yields: bool) -> Option<ThreadId> {
        match &mut self.policy {
            Policy::Walk { one_in } => {
                if below(&mut self.stream, *one_in) != 0 {
                    return None;
                }
                // A thread that yields does not run again at once.
                let current = self.current;
                let others = ready.iter().copied().filter(|&id| !yields || id != current);
                let others: Vec<ThreadId> = others.collect();
                let any = below(&mut self.stream, others.len() as u64);
                others.get(usize::try_from(any).unwrap_or(0)).copied()
            }
            Policy::Priorities { lowered_at } => {
                if lowered_at.contains(&decision) {
                    self.lower_priority();
                }
                self.most_urgent(ready)
            }
            Policy::Lowered { one_in } => {
                if below(&mut self.stream, *one_in) == 0 {
                    self.lower_priority();
                }
                self.most_urgent(ready)
            }
            Policy::Listed(rest, next) => {
                let turn = next.filter(|turn| turn.decision <= decision)?;
                *next = rest.next();
                // If the engine has changed, the thread may not be ready, or not exist.
                ready.contains(&turn.thread).then_some(turn.thread)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_default_order() -> Schedule {
        Schedule::new(Plan::Listed(Vec::new()))
    }

    #[test]
    fn a_thread_runs_until_it_waits_and_then_the_one_passed_over_longest_runs() {
        let mut schedule = in_default_order();
        let (second, third) = (schedule.start(), schedule.start());
        assert_eq!(schedule.next(Time(0), false), Next::Thread(FIRST));
        schedule.wait(WaitFor::Time, Some(Time(100)));
        assert_eq!(schedule.next(Time(0), false), Next::Thread(second));
        assert_eq!(schedule.next(Time(0), true), Next::Thread(third));
        schedule.wait(WaitFor::Condition(7), None);
        assert_eq!(schedule.next(Time(0), false), Next::Thread(second));
        schedule.wait(WaitFor::Condition(7), None);
        assert_eq!(schedule.next(Time(0), false), Next::At(Time(100)));
        assert_eq!(schedule.next(Time(100), false), Next::Thread(FIRST));
        assert_eq!(schedule.woken(), Woken::TimedOut);
        assert_eq!(schedule.wake(1, |on| *on == WaitFor::Condition(7)), 1);
        schedule.end();
        assert_eq!(schedule.next(Time(100), false), Next::Thread(third));
        schedule.wait(WaitFor::End(second), None);
        assert_eq!(schedule.next(Time(100), false), Next::Never);
        let words = "thread 2 waits for a condition variable, thread 3 waits for the end of \
                     thread 2";
        assert_eq!(schedule.waits(), words);
    }

    #[test]
    fn threads_that_wait_for_a_word_are_woken_in_order_and_may_be_moved() {
        let mut schedule = in_default_order();
        let (second, third) = (schedule.start(), schedule.start());
        schedule.wait(WaitFor::Word(1, u32::MAX), None);
        schedule.next(Time(0), false);
        schedule.wait(WaitFor::Word(1, u32::MAX), None);
        assert_eq!(schedule.next(Time(0), false), Next::Thread(third));
        assert_eq!(schedule.wake(1, |on| matches!(on, WaitFor::Word(1, _))), 1);
        assert_eq!(schedule.requeue(1, 2, 5), 1);
        schedule.wait(WaitFor::Time, None);
        assert_eq!(schedule.next(Time(0), false), Next::Thread(FIRST));
        assert_eq!(schedule.wake(9, |on| matches!(on, WaitFor::Word(2, _))), 1);
        assert_eq!(schedule.next(Time(0), true), Next::Thread(second));
    }

    fn drawn(seed: u64) -> Plan {
        Plan::Drawn { seed, decisions: None }
    }

    /// Runs three threads that always stay ready; returns which ones ran, and the turns.
    fn turns(plan: Plan) -> (Vec<ThreadId>, Vec<Turn>) {
        let mut schedule = Schedule::new(plan);
        schedule.start();
        schedule.start();
        let (mut order, mut turns) = (Vec::new(), Vec::new());
        for step in 0..300 {
            if let Next::Thread(id) = schedule.next(Time(step), step % 7 == 0) {
                order.push(id);
            }
            turns.extend(schedule.take_turn());
        }
        (order, turns)
    }

    #[test]
    fn the_departures_from_the_default_order_replay_the_run() {
        for seed in 0..50 {
            let (order, departures) = turns(drawn(seed));
            assert_eq!(turns(drawn(seed)).0, order);
            let (again, same) = turns(Plan::Listed(departures.clone()));
            assert_eq!((again, same), (order, departures), "seed {seed}");
        }
    }

    #[test]
    fn seeds_give_different_schedules() {
        let mut all: Vec<_> = (0..50).map(|seed| turns(drawn(seed)).0).collect();
        all.sort();
        all.dedup();
        assert!(all.len() > 25, "{} of 50", all.len());
    }

    #[test]
    fn a_thread_that_spins_waits_until_others_wait_or_have_run_for_long() {
        let mut schedule = in_default_order();
        assert!(!schedule.spin(FIRST), "there is no other thread");
        let second = schedule.start();
        assert!(!schedule.spin(second), "it does not run");
        assert!(schedule.spin(FIRST));
        for _ in 0..PATIENCE {
            assert_eq!(schedule.next(Time(0), false), Next::Thread(second));
        }
        assert_eq!(schedule.next(Time(0), true), Next::Thread(FIRST));
        // The second time others have twice as many points, and time may pass.
        assert!(schedule.spin(FIRST));
        for _ in 1..2 * PATIENCE - 1 {
            assert_eq!(schedule.next(Time(0), true), Next::Thread(second));
        }
        schedule.wait(WaitFor::Time, Some(Time(7)));
        assert_eq!(schedule.next(Time(0), false), Next::At(Time(7)));
        assert_eq!(schedule.next(Time(7), true), Next::Thread(FIRST));
        // After a call in between, a thread spins for the first time again.
        assert_eq!(schedule.next(Time(7), false), Next::Thread(FIRST));
        assert!(schedule.spin(FIRST));
        assert_eq!(schedule.next(Time(7), false), Next::Thread(second));
        schedule.wait(WaitFor::Time, Some(Time(9)));
        assert_eq!(schedule.next(Time(7), false), Next::Thread(FIRST));
        assert!(schedule.spin(FIRST), "time can pass");
        assert_eq!(schedule.next(Time(7), false), Next::At(Time(9)), "no thread ran meanwhile");
        assert_eq!(schedule.next(Time(9), false), Next::Thread(second));
        schedule.wait(WaitFor::Condition(1), None);
        assert_eq!(schedule.next(Time(9), false), Next::Thread(FIRST));
        assert!(!schedule.spin(FIRST), "no other thread can run");
    }

    #[test]
    fn a_thread_that_outlived_its_engine_never_runs_again() {
        let mut schedule = in_default_order();
        let second = schedule.start();
        assert_eq!(schedule.freeze_others(), 1);
        assert_eq!(schedule.next(Time(0), true), Next::Thread(FIRST));
        assert!(!schedule.has_ended(second));
    }
}
