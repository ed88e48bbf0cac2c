"""Why a candidate or a run ended as it did: machine codes, each with a sentence its owner can act on."""

from typing import Final

# -- Candidates -------------------------------------------------------------------------------------------------------
GAIN_VERIFIED: Final = "gain_verified"
NO_GAIN: Final = "no_gain"
PAIRS_SPENT: Final = "pairs_spent"
NOT_CONFIRMED: Final = "not_confirmed"
REBASE_CONFLICT: Final = "rebase_conflict"
REBASE_REFUSED: Final = "rebase_refused"
NOTHING_NEW: Final = "nothing_new"
DUPLICATE_TREE: Final = "duplicate_tree"
SMOKE_FAILED: Final = "smoke_failed"
SMOKE_NOT_RUN: Final = "smoke_not_run"
RUN_FAILED: Final = "run_failed"
EVALUATION_FAILED: Final = "evaluation_failed"
TIP_NOT_EVALUATED: Final = "tip_not_evaluated"
NO_HOSTS: Final = "no_hosts"
NO_SECOND_CLASS: Final = "no_second_class"
TOOK_TOO_LONG: Final = "took_too_long"
NEVER_REVEALED: Final = "never_revealed"

# -- Runs -------------------------------------------------------------------------------------------------------------
VALID: Final = "valid"
NOT_NEEDED: Final = "not_needed"
NEVER_FINISHED: Final = "never_finished"
VANISHED: Final = "vanished"
GAVE_UP: Final = "gave_up"
NOT_EVALUATED: Final = "not_evaluated"
AUDIT_FAILED: Final = "audit_failed"
OTHER_WEIGHTS: Final = "other_weights"
OTHER_ROOT: Final = "other_root"

# What a runner says of a run that ended by the tree's own doing (see `gpu_workers.runner.conversation.RunFailed`). An owner's word sends
# the run on; only the trusted pool's decides.
TREE_FAULTS: Final = frozenset({
    "interface_missing",
    "trainer_malformed",
    "logits_malformed",
    "logits_not_finite",
    "state_unsaveable",
    "state_too_large",
    "state_malformed",
    "state_changed_shape",
    "state_unknown_name",
    "too_many_parameters",
    "weights_not_finite",
    "raised",
    "exited",
    "memory",
    "wall_clock",
    "cpu",
    "output",
    "protocol",
})  # fmt: skip

MESSAGES: Final = {
    GAIN_VERIFIED: "The gain over the tip was verified; the commit is the new tip.",
    NO_GAIN: "The replays show no gain of the size that the bounty asks for. Measure with several seeds before you send the next one.",
    PAIRS_SPENT: "After all pairs the gain is neither verified nor refuted. A larger effect decides sooner.",
    NOT_CONFIRMED: "The gain on the first hardware class was not confirmed on a second one. Look for an effect that does not depend on it.",
    REBASE_CONFLICT: "The commit changes lines that the new tip changed too. Make it on the current tip and send it again.",
    REBASE_REFUSED: "On the new tip the commit breaks a limit of the bounty. Make it on the current tip and send it again.",
    NOTHING_NEW: "The new tip has everything that the commit changes. Send something else.",
    DUPLICATE_TREE: "On the new tip the commit is a tree that was judged before. Send something else.",
    SMOKE_FAILED: "The short run refused the commit. Run the smoke test of the owner's program on it, mend it and send it again.",
    SMOKE_NOT_RUN: "Nobody could do the short run in time. This is not your commit's fault; send it again later.",
    RUN_FAILED: "Training ended with an error or passed a limit, at the trusted pool too. Run it for all steps before you send it again.",
    EVALUATION_FAILED: "The trained model failed a check of the evaluation. Its logits must be causal, independent and without memory.",
    TIP_NOT_EVALUATED: "The tip itself could not be evaluated, so nothing can be compared with it. Send the commit again later.",
    NO_HOSTS: "No host of the bounty's hardware came in time. This is not your commit's fault; send it again later.",
    NO_SECOND_CLASS: "No host of a second hardware class came in time to confirm the gain. Send it again later.",
    TOOK_TOO_LONG: "The replays were not done in time. This is not your commit's fault; send it again later.",
    NEVER_REVEALED: "The announced commit was not sent in time. Announce it again, and send it within the time that the answer names.",
    VALID: "The run is valid.",
    NOT_NEEDED: "The run was not needed any more; the part done is paid.",
    NEVER_FINISHED: "The run was not finished by those who took it.",
    VANISHED: "The run was sealed and its report or checkpoints never came. Keep the program running until a run is done.",
    GAVE_UP: "You gave the run back after its report was sealed.",
    NOT_EVALUATED: "We could not evaluate the run. This is not your fault; it is paid as done.",
    AUDIT_FAILED: "A segment of the run, trained again, gives other weights than the run's checkpoint.",
    OTHER_WEIGHTS: "A checkpoint that was handed in is not the one that the report committed to.",
    OTHER_ROOT: "The outcome of the run is known, and it is another one.",
}
