//! Faults that the models switch on, to show that they can fail. Compiled to nothing in a normal build.

/// One deliberate fault in one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A poke wakes nobody.
    BatchSkipsWake,
    /// A poke that comes before the driver sleeps is forgotten.
    BatchForgetsPoke,
    /// The driver lowers the flag of a poke after it has looked, not before.
    BatchLowersPokeLate,
    /// A member whose request was answered, or taken back, stays marked as waiting.
    BatchForgetsWaiter,
    /// Closing leaves the queued waiting.
    BatchForgetsQueued,
    /// A request is queued, or put back, in a closed queue.
    BatchOpenWhenClosed,
    /// A request whose waiter leaves stays queued.
    BatchKeepsLeaver,
    /// A cut takes only one.
    BatchCutsShort,
    /// A member that waits in another queue is counted.
    BatchCountsBlocked,
    /// A dropped batch leaves its waiters waiting.
    BatchForgetsLost,
    /// A dropped batch does not wake the driver.
    BatchDropsSilently,
    /// A request is put back although its waiter has left.
    BatchPutsBackLeaver,
    /// `Signaller::complete` stores the result but wakes nobody.
    CompletionSkipsWake,
    /// A signaller dropped without completing leaves the waiter waiting.
    CompletionForgetsLost,
    /// A waiter that leaves does not tell the driver that asked.
    CompletionLeavesSilently,
    /// The product is published with a relaxed ordering.
    ProductRelaxedPublish,
    /// `ProductCell::complete` ignores its waiters.
    ProductSkipsWake,
    /// A waiter registers without looking at the state again.
    ProductRegistersBlindly,
    /// Two claimants may both be told to produce.
    ProductClaimRaces,
    /// A `Take` dropped after its grant keeps the lane from the next in line (and from everyone).
    PoolForgetsDroppedGrant,
    /// A returned lane is given to the first waiter, who is not told.
    PoolSkipsWake,
    /// When the last lane retires nobody is told.
    PoolForgetsLastRetire,
    /// A lane that comes back is not counted.
    PoolForgetsCount,
    /// `ReadySet::finish` goes idle without looking for marks that came meanwhile.
    ReadyForgetsRecheck,
    /// `ReadySet::finish` goes idle first and registers the waker after.
    ReadyRegistersLate,
    /// A mark does not say in the summary which word it touched.
    ReadySkipsSummary,
    /// A thing that is put back wakes nobody.
    GateSkipsWake,
    /// Who joins the line does not look whether the gate has opened.
    GateJoinsBlindly,
    /// The gate is taken with a relaxed ordering.
    GateRelaxedTake,
    /// Who was woken and leaves without the thing does not wake the next.
    GateForgetsLeaver,
    /// Who waits looks at the count before taking the lock.
    HeadcountLooksEarly,
    /// Who brought the count to 0 does not look whether somebody has entered since.
    HeadcountTellsBlindly,
    /// The count goes down with a relaxed ordering.
    HeadcountRelaxedLeave,
    /// The turn moves on, but the waiter of the next ticket is not told.
    TurnstileSkipsWake,
    /// A waiter registers without looking at the next ticket again.
    TurnstileRegistersBlindly,
    /// The turn is published with a relaxed ordering.
    TurnstileRelaxedPublish,
    /// An alarm earlier than the watch knows of does not wake it.
    AlarmSkipsCall,
    /// When the slack shrinks, the watch sleeps on.
    AlarmSlackSkipsCall,
    /// The watch is not told that the alarms were closed.
    AlarmCloseSkipsCall,
    /// Who rings says that nothing else is set.
    AlarmRingForgetsRest,
    /// A hold that ends does not wake who keeps the pace.
    PaceSkipsNudge,
    /// Time may go on though what the last hold woke has not run.
    PaceForgetsNudge,
    /// A point is counted with a relaxed ordering.
    PointsRelaxedArm,
    /// Two harvesters may have a stream in hand.
    PointsClaimRaces,
    /// What was armed to a stream in hand is not listed.
    PointsUnlistsArmed,
    /// A stream is released without looking whether all was condemned meanwhile.
    PointsForgetsCondemned,
    /// A point is armed without looking whether all was condemned.
    PointsArmsCondemned,
    /// A harvest that finds a fatal error ends only the stream that had it.
    PointsSkipsSweep,
    /// That a point is overdue is told at each harvest.
    PointsTellsTwice,
    /// An `end` that panics leaves its stream in hand.
    PointsKeepsClaim,
    /// A point counts as ended before its `end`.
    PointsCountsEarly,
    /// The first point armed does not wake the driver.
    PointsSkipsWake,
    /// The driver goes to sleep on what it saw before it took the lock.
    PointsSleepsBlindly,
    /// A call that comes before the driver parks is forgotten.
    PointsForgetsCall,
    /// Closing wakes nobody.
    PointsCloseSkipsWake,
}

#[cfg(any(loom, shuttle))]
std::thread_local! {
    // Of std, not of the checker: both run all threads of a model on the test's own OS thread, so this is one switch
    // per test, and tests that run side by side do not disturb each other.
    static FAULT: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Runs `model` with `fault` switched on.
#[cfg(any(loom, shuttle))]
pub fn with<R>(fault: Fault, model: impl FnOnce() -> R) -> R {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            FAULT.set(None);
        }
    }
    let _off = Off;
    FAULT.set(Some(fault));
    model()
}

#[cfg(any(loom, shuttle))]
pub(crate) fn is(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub(crate) const fn is(_fault: Fault) -> bool {
    false
}
