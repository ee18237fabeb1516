"""Reward functions as TRL writes them: f(prompts, completions, **columns) -> list[float | None], once for a whole rollout."""

import asyncio
import concurrent.futures
import inspect
import numbers

from .rewards import name_of


class RewardError(RuntimeError):
    """A reward function failed: names the function and the rollout; the function's own exception is its cause."""


class BatchReward:
    """A reward function of groups: (P)(G) values. `rows` are the data set's own, for prompts that are chat messages; with
    `threads` > 1 the groups are dealt to as many calls at the same time, for functions that wait (HTTP)."""

    def __init__(self, function, rows=None, threads=1):
        self.function, self.rows, self.threads = function, rows, threads

    def __call__(self, groups):
        if self.threads <= 1 or len(groups) < 2:
            return self._score(groups)
        count = min(self.threads, len(groups))
        parts = [groups[len(groups) * i // count:len(groups) * (i + 1) // count] for i in range(count)]
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return [values for part in pool.map(self._score, parts) for values in part]

    def _score(self, groups):
        pairs = [(group.prompt, rollout) for group in groups for rollout in group.rollouts]
        try:
            values = self._call(pairs)
        except Exception as error:
            raise self._blame(pairs, error) from error
        values = iter(self._checked(values, len(pairs)))
        return [[next(values) for _ in group.rollouts] for group in groups]

    def _call(self, pairs):
        values = self.function(**self._arguments(pairs))
        if inspect.isawaitable(values):
            values = asyncio.run(_wait(values))
        return values.tolist() if hasattr(values, "tolist") else values

    def _checked(self, values, count):
        """Floats and None. Raises RewardError for anything else."""
        if not isinstance(values, (list, tuple)):
            found = repr(values)
        elif len(values) != count:
            found = f"{len(values)} values"
        else:
            found = next((repr(v) for v in values if v is not None and not isinstance(v, numbers.Real)), None)
        if found is not None:
            raise RewardError(f"reward '{name_of(self.function)}' returned {found} for {count} completions; return a list of one "
                              "float or None each")
        return [None if value is None else float(value) for value in values]

    def _arguments(self, pairs):
        rows = [self.rows[prompt.id] if self.rows else {"prompt": prompt.text} | prompt.columns for prompt, _ in pairs]
        prompts = [row.get("prompt", prompt.text) for row, (prompt, _) in zip(rows, pairs)]
        completions = [rollout.text if isinstance(prompt, str) else [{"role": "assistant", "content": rollout.text}]
                       for prompt, (_, rollout) in zip(prompts, pairs)]
        own = {"prompts": prompts, "completions": completions, "completion_ids": [rollout.token_ids for _, rollout in pairs]}
        names = dict.fromkeys(name for row in rows for name in row if name not in ("prompt", "completion"))
        return {name: [row.get(name) for row in rows] for name in names} | own

    def _blame(self, pairs, error):
        """The rollout on which the function fails alone, if there is one."""
        name = name_of(self.function)
        for prompt, rollout in pairs if len(pairs) > 1 else []:
            try:
                self._call([(prompt, rollout)])
            except Exception as own:
                if type(own) is type(error):
                    return RewardError(f"reward '{name}' failed on {_place(prompt, rollout)}: {type(own).__name__}: {own}")
        place = _place(*pairs[0]) if len(pairs) == 1 else f"{len(pairs)} completions together, the first {_place(*pairs[0])}"
        return RewardError(f"reward '{name}' failed on {place}: {type(error).__name__}: {error}")


def _place(prompt, rollout):
    return f"prompt {prompt.id}, sample {rollout.sample}: prompt {prompt.text!r}, completion {rollout.text!r}"


async def _wait(values):
    return await values
