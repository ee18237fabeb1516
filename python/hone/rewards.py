"""hone's rewards outside of a run."""

from . import _C

names = _C.reward_names


def score(reward_funcs, completions, prompts=None, *, weights=None, threads=1, **columns):
    """Scores completions (a list of texts) and returns one Reward each, with its total and named parts.

    reward_funcs: a reward's name ("math", "cosine:max_len=2000"), a function f(prompts, completions, **columns) -> list of
    float or None, or a list of these; weights: one each. prompts: a text each. columns: a list of values each (answer,
    numbers, target, ..). Prompts are scored on `threads` threads, functions under the GIL. Raises ValueError for lengths
    that differ, and what a function raises.
    """
    functions = reward_funcs if isinstance(reward_funcs, (list, tuple)) else [reward_funcs]
    weights = [1.0] * len(functions) if weights is None else list(weights)
    prompts = [""] * len(completions) if prompts is None else list(prompts)
    for name, values in {"weights": (weights, functions), "prompts": (prompts, completions)}.items():
        if len(values[0]) != len(values[1]):
            raise ValueError(f"{name} has {len(values[0])} entries for {len(values[1])}; give one each")
    for name, values in columns.items():
        if len(values) != len(completions):
            raise ValueError(f"column {name} has {len(values)} values for {len(completions)} completions; give one each")
    rows = [_C.Prompt(i, text, [], {name: values[i] for name, values in columns.items()}) for i, text in enumerate(prompts)]
    rollouts = [_C.Rollout(prompt_id=i, text=text) for i, text in enumerate(completions)]
    groups = _C.score_groups(rows, rollouts, [_named(f, w) for f, w in zip(functions, weights)], threads)
    return [group.rewards[0] for group in groups]


def math(gold, pred):
    """Score of an answer (text, with or without \\boxed) against the gold answer; see rewards/math_reward.h."""
    return score("math", [pred], answer=[gold])[0].parts[0].score


def name_of(function):
    """What TRL calls a reward function in its metrics."""
    function = getattr(function, "func", function)  # functools.partial
    return getattr(function, "__name__", type(function).__name__)


def _named(function, weight):
    if isinstance(function, str):
        return _C.NamedReward(function, weight)
    if not callable(function):
        raise TypeError(f"reward_funcs holds {function!r}; give the name of a reward or a function")

    def call(prompt, rollouts):
        columns = {name: [value] * len(rollouts) for name, value in prompt.columns.items()}
        return function(prompts=[prompt.text] * len(rollouts), completions=[r.text for r in rollouts], **columns)

    return _C.NamedReward(name_of(function), call, weight)
