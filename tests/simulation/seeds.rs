//! Seeds that have found something. They are lived again with every run: what they found then may come again.

/// What was wrong, and the seed that showed it. Worlds change with what is drawn in them, so a seed may have become harmless
/// by and by; the core's own test beside the fix stays.
pub const NAMED: &[(&str, u64)] = &[
    ("a teardown did not end with the agent that had the last executor", 9),
    ("a deadline that had passed came again while a teardown waited", 24),
    ("an mpi job waited for a launch that was lost on its way", 36),
    ("an executor that connected before its launch was told ran on without end", 51),
    ("a write that had failed counted as kept when it was said again", 92),
    ("an executor was heard twice when it came back with a lost agent", 78),
    ("a message was heard twice when a lost agent brought it again", 981),
    ("a scheduler came back to a master that knew nothing of its framework's end", 699),
    ("a teardown waited for an executor whose only task was refused", 929),
    ("offers were made to a scheduler before it was welcome", 867),
    ("a framework that was taken over forgot the idle executors of its first scheduler", 1388),
    ("a framework that was torn down before its scheduler was welcome got offers", 3680),
    ("a message was lost when the end of an executor's predecessor was heard of late", 2731),
    ("a master was paused again, for shorter, and what it wanted kept was overtaken", 3987),
    ("a revive was lost in a dying connection", 76),
    ("the answer to a question crossed the end of its task", 1),
    ("a task's end was told twice, before and after its machine had lost power", 863),
];
