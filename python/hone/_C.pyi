"""
The C++ half of hone.
"""
from __future__ import annotations
import collections.abc
import os
import torch
import typing
__all__: list[str] = ['FinishReason', 'Group', 'Limits', 'Model', 'NamedReward', 'Prompt', 'Reward', 'RewardPart', 'Rollout', 'SandboxPool', 'SandboxResult', 'Score', 'Verdict', 'check_options', 'eval_metrics', 'group_advantages', 'options_table', 'parse_recipe', 'pass_at_k', 'policy_loss', 'reward_metrics', 'reward_names', 'run_command_line', 'run_recipe', 'sandbox_capabilities', 'score_groups', 'set_threads', 'torch_version']
class FinishReason:
    """
    Why a completion ended.
    
    Members:
    
      eos
    
      length
    
      stop
    """
    __members__: typing.ClassVar[dict[str, FinishReason]]
    eos: typing.ClassVar[FinishReason]
    length: typing.ClassVar[FinishReason]
    stop: typing.ClassVar[FinishReason]
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class Prompt:
    """
    What a policy reads.
    """
    def __init__(self, id: typing.SupportsInt | typing.SupportsIndex = 0, text: str = '', token_ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [], columns: dict = {}) -> None:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def columns(self) -> typing.Any:
        """
        the row's other columns, handed to the rewards (dict)
        """
    @columns.setter
    def columns(self, arg1: dict) -> None:
        ...
    @property
    def id(self) -> int:
        """
        row number in its data set, or the row's own integer id
        """
    @id.setter
    def id(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def text(self) -> str:
        """
        what the policy reads
        """
    @text.setter
    def text(self, arg0: str) -> None:
        ...
    @property
    def token_ids(self) -> list[int]:
        """
        text under the policy's tokenizer
        """
    @token_ids.setter
    def token_ids(self, arg0: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
class Rollout:
    """
    One completion of a prompt.
    """
    finish_reason: FinishReason
    def __init__(self, prompt_id: typing.SupportsInt | typing.SupportsIndex = 0, sample: typing.SupportsInt | typing.SupportsIndex = 0, token_ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [], logprobs: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex] = [], text: str = '', finish_reason: FinishReason = FinishReason.eos) -> None:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def logprobs(self) -> list[float]:
        """
        (T) natural log-prob of each token under the distribution it was drawn from
        """
    @logprobs.setter
    def logprobs(self, arg0: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]) -> None:
        ...
    @property
    def policy_version(self) -> int:
        """
        optimizer updates done before this was sampled
        """
    @policy_version.setter
    def policy_version(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def prompt_id(self) -> int:
        ...
    @prompt_id.setter
    def prompt_id(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def sample(self) -> int:
        """
        0 .. G-1 within its group
        """
    @sample.setter
    def sample(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def text(self) -> str:
        """
        decoded completion without the final end token
        """
    @text.setter
    def text(self, arg0: str) -> None:
        ...
    @property
    def token_ids(self) -> list[int]:
        """
        (T) the completion, with the end token if one was drawn
        """
    @token_ids.setter
    def token_ids(self, arg0: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
        ...
class Verdict:
    """
    not_applicable and undecided are never turned into a score.
    
    Members:
    
      correct
    
      wrong
    
      not_applicable
    
      undecided
    """
    __members__: typing.ClassVar[dict[str, Verdict]]
    correct: typing.ClassVar[Verdict]
    not_applicable: typing.ClassVar[Verdict]
    undecided: typing.ClassVar[Verdict]
    wrong: typing.ClassVar[Verdict]
    def __eq__(self, other: typing.Any) -> bool:
        ...
    def __getstate__(self) -> int:
        ...
    def __hash__(self) -> int:
        ...
    def __index__(self) -> int:
        ...
    def __init__(self, value: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __int__(self) -> int:
        ...
    def __ne__(self, other: typing.Any) -> bool:
        ...
    def __repr__(self) -> str:
        ...
    def __setstate__(self, state: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def __str__(self) -> str:
        ...
    @property
    def name(self) -> str:
        ...
    @property
    def value(self) -> int:
        ...
class Score:
    """
    One reward's opinion of one completion.
    """
    def __init__(self, value: typing.SupportsFloat | typing.SupportsIndex | None) -> None:
        ...
    def __repr__(self) -> str:
        ...
    @property
    def reason(self) -> str:
        """
        a sentence for a person
        """
    @property
    def value(self) -> float | None:
        """
        0..1, penalties below 0; None when not applicable or undecided
        """
    @property
    def verdict(self) -> Verdict:
        ...
class RewardPart:
    """
    What one reward function gave.
    """
    @property
    def name(self) -> str:
        ...
    @property
    def score(self) -> Score:
        ...
    @property
    def weight(self) -> float:
        ...
class Reward:
    """
    What a rollout earned: the weighted sum of its applicable parts.
    """
    def __repr__(self) -> str:
        ...
    @property
    def parts(self) -> list[RewardPart]:
        """
        one per reward function, in order
        """
    @property
    def total(self) -> float | None:
        """
        None when no part was applicable
        """
class Group:
    """
    One prompt, its G rollouts and their G rewards.
    """
    @property
    def prompt(self) -> Prompt:
        ...
    @property
    def rewards(self) -> list[Reward]:
        ...
    @property
    def rollouts(self) -> list[Rollout]:
        ...
class NamedReward:
    """
    A reward function with its name and weight.
    """
    @typing.overload
    def __init__(self, name: str, weight: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
        """
        A reward of hone by name, with options: 'cosine:max_len=2000'.
        """
    @typing.overload
    def __init__(self, name: str, function: collections.abc.Callable, weight: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> None:
        """
        function(prompt, rollouts) -> list of float or None, called under the GIL from any thread.
        """
    @property
    def name(self) -> str:
        ...
    @property
    def weight(self) -> float:
        ...
class Model:
    """
    A policy with its tokenizer and chat template. One call at a time computes; see hone.set_threads.
    """
    @staticmethod
    def load(path: os.PathLike | str | bytes, dtype: str = 'float32') -> Model:
        """
        Reads a Hugging Face model folder, or a stage of a run. Raises RuntimeError naming file and remedy.
        """
    def __repr__(self) -> str:
        ...
    def apply_chat_template(self, messages: list, add_generation_prompt: bool = False) -> str:
        """
        The text that the model's chat template makes of messages.
        """
    def close(self) -> None:
        """
        Frees the weights; later calls raise ValueError.
        """
    def decode(self, token_ids: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> str:
        """
        The text of token ids, special tokens kept.
        """
    def documents(self, file: os.PathLike | str | bytes, **kwargs) -> list[tuple[list[int], int]]:
        """
        The rows of a JSONL file as an sft stage reads them: a list of (token ids, index of the first that carries
        loss). Keywords are the stage's options (completion_only_loss, max_length, ..). Raises RuntimeError naming
        file and line.
        """
    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """
        Token ids of a text.
        """
    def entropy(self, token_ids: typing.Any, temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> torch.Tensor:
        """
        Entropy in nats of the distribution of token t+1, (n-1) float32, without gradient.
        """
    def generate(self, prompts: list, n: typing.SupportsInt | typing.SupportsIndex = 1, seed: typing.SupportsInt | typing.SupportsIndex = 1, speculate: bool = False, **kwargs) -> list[list[Rollout]]:
        """
        n completions of every prompt (strings, lists of chat messages, or hone.Prompt): a list of n Rollouts each.
        Keywords are the sampling options (temperature, top_p, max_completion_length, ..; hone.GRPOConfig documents
        them). The same seed gives the same completions, whatever their neighbours. Raises ValueError.
        """
    def logprobs(self, token_ids: typing.Any, temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0) -> torch.Tensor:
        """
        log p of token t+1 given the tokens up to t, of n token ids: (n-1) float32, with gradient to the parameters
        when they require it. Raises ValueError for ids outside the vocabulary.
        """
    def parameters(self) -> dict[str, torch.Tensor]:
        """
        Name in the checkpoint -> tensor float32. The tensors are the policy's own: what is written into them (under
        torch.no_grad()) is what it computes with, and .grad is where backward() leaves its gradient. An expert's
        weight is a slice of a stacked tensor: its gradient is in the whole (see requires_grad_).
        """
    def requires_grad_(self, requires_grad: bool = True) -> None:
        """
        Whether logprobs() records for backward().
        """
    def save(self, path: os.PathLike | str | bytes) -> None:
        """
        Writes a folder that transformers loads, whole or not at all.
        """
    @property
    def config(self) -> typing.Any:
        """
        config.json as a dict
        """
    @property
    def end_token(self) -> int:
        """
        id of the end token
        """
class Limits:
    """
    What a program may use.
    """
    def __init__(self) -> None:
        ...
    @property
    def cpu_s(self) -> float:
        ...
    @cpu_s.setter
    def cpu_s(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
    @property
    def file_mib(self) -> int:
        ...
    @file_mib.setter
    def file_mib(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def memory_mib(self) -> int:
        ...
    @memory_mib.setter
    def memory_mib(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def open_files(self) -> int:
        ...
    @open_files.setter
    def open_files(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def output_bytes(self) -> int:
        """
        of each of stdout and stderr
        """
    @output_bytes.setter
    def output_bytes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def processes(self) -> int:
        ...
    @processes.setter
    def processes(self, arg0: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    @property
    def wall_s(self) -> float:
        """
        from its start to its end
        """
    @wall_s.setter
    def wall_s(self, arg0: typing.SupportsFloat | typing.SupportsIndex) -> None:
        ...
class SandboxResult:
    """
    How a program ended.
    """
    def __repr__(self) -> str:
        ...
    @property
    def cpu_ms(self) -> float:
        ...
    @property
    def exit_code(self) -> int | None:
        ...
    @property
    def peak_mb(self) -> float:
        ...
    @property
    def reason(self) -> str:
        """
        one sentence wherever the verdict is not OK
        """
    @property
    def signal(self) -> int | None:
        ...
    @property
    def stderr(self) -> str:
        ...
    @property
    def stdout(self) -> str:
        ...
    @property
    def verdict(self) -> str:
        """
        OK, WA, RE, TLE, MLE, OLE, SV, CE or IE (a fault of the sandbox, never a reward)
        """
    @property
    def wall_ms(self) -> float:
        ...
class SandboxPool:
    """
    A pool of warm workers. Thread-safe.
    """
    def __init__(self, jobs: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        ...
    def submit(self, done: collections.abc.Callable, program: str, language: str = 'python', stdin: str = '', expected_stdout: str | None = None, prompt: str = '', test: str = '', entry_point: str = '', limits: Limits = ...) -> None:
        """
        Starts a program; done(SandboxResult) is called from a thread of the pool when it has ended.
        """
    @property
    def jobs(self) -> int:
        """
        programs that run at the same time
        """
def check_options(kind: str, options: dict) -> None:
    """
    Raises ValueError naming the option, its value and what is allowed; unknown ones with the nearest name.
    """
def eval_metrics(groups: collections.abc.Sequence[Group], reflection_words: collections.abc.Sequence[str] = []) -> dict[str, float]:
    """
    eval_pass@1 with its interval, eval_pass@k, eval_maj@n, lengths. Raises RuntimeError when nothing was scored.
    """
def group_advantages(rewards: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex | None]], **kwargs) -> torch.Tensor:
    """
    Group-relative advantages, (P, G) float64, of rewards (P, G); None or NaN: not scored. Formula and sources:
    rl/advantage.h. Keywords: scale_rewards, sample_std, advantage_epsilon. Raises RuntimeError when nothing could
    be scored.
    """
def options_table(kind: str) -> list:
    """
    The options of a kind of stage ('rl', 'sft') or of sampling ('sampling'): dicts of name, type, default, help
    and, for numbers and words, allowed.
    """
def parse_recipe(text: str, origin: str = 'recipe') -> str:
    """
    The recipe with every key resolved, as YAML. Raises ValueError naming place, key and what is allowed.
    """
def pass_at_k(n: typing.SupportsInt | typing.SupportsIndex, c: typing.SupportsInt | typing.SupportsIndex, k: typing.SupportsInt | typing.SupportsIndex) -> float:
    """
    1 - C(n-c, k)/C(n, k): the chance that k of n samples, c of them correct, hold a correct one.
    """
def policy_loss(policy_logprobs: torch.Tensor, sampler_logprobs: torch.Tensor, advantages: torch.Tensor, lengths: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], ref_logprobs: torch.Tensor | None = None, **kwargs) -> torch.Tensor:
    """
    The policy loss of an optimizer step's completions, a scalar that backward() can start from. Formulas and
    papers: rl/loss.h.
    
    policy_logprobs: (M) floating, with gradient; sampler_logprobs: (M); lengths: tokens of each of the B
    completions, which follow one another in the M tokens; advantages: (B) or (M); ref_logprobs: (M), for beta > 0.
    Keywords are the options of GRPOConfig that a loss has: loss_type, epsilon, epsilon_high, delta, beta, ..
    Raises ValueError for shapes, dtypes, devices and options that do not fit. Thread-safe.
    """
def reward_metrics(groups: collections.abc.Sequence[Group], reflection_words: collections.abc.Sequence[str] = []) -> dict[str, float]:
    """
    What a step's scored groups say about it, under TRL's metric names.
    """
def reward_names() -> list[str]:
    """
    Every reward of hone by name.
    """
def run_command_line(args: collections.abc.Sequence[str], reward: typing.Any, filter: typing.Any, stage: typing.Any) -> int:
    """
    `hone ARGS..` (args[0] is the program's name); returns its exit code.
    """
def run_recipe(recipe: str, run_dir: os.PathLike | str | bytes, resume: bool = False, threads: typing.SupportsInt | typing.SupportsIndex = 0, reward: typing.Any = None, filter: typing.Any = None, stage: typing.Any = None, loss: typing.Any = None, on_step: typing.Any = None) -> bool:
    """
    Runs a recipe (YAML or JSON text) as `hone train` does, with Python functions in it; see rl/host.h:
    reward(function) -> (name, f), f(groups) -> (P)(G) float or None; filter(function) -> f(row) -> bool or row;
    stage(function, data) -> (rows, metrics); loss(policy_logprobs, ..) -> scalar tensor; on_step(stage, step,
    max_steps, metrics) -> whether to stop. All but the loss are called on this thread. False when on_step stopped
    the run. Raises ValueError for what is wrong with recipe or directory, RuntimeError when a stage fails,
    KeyboardInterrupt on Ctrl-C; progress is then kept and resume=True goes on.
    """
def sandbox_capabilities() -> dict:
    """
    Every isolation layer: whether it works on this machine, and why.
    """
def score_groups(prompts: collections.abc.Sequence[Prompt], rollouts: collections.abc.Sequence[Rollout], rewards: collections.abc.Sequence[NamedReward], threads: typing.SupportsInt | typing.SupportsIndex = 1) -> list[Group]:
    """
    Scores rollouts[p * G + g] for prompts[p] with every reward, in order, on up to `threads` threads over prompts.
    Raises ValueError when the numbers do not fit, RuntimeError for a row whose columns have the wrong type; what a
    Python function raises passes through.
    """
def set_threads(threads: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Threads of hone's kernels from here on; 0: all cores. Changes no result. Not while something computes. As the
    command line does, it also sets ATen to one thread and flushes denormal numbers to zero in the calling thread.
    """
__version__: str = '0.1.0'
torch_version: str = '2.13.0'
