"""The policy losses as functions of tensors: grpo, bnpo, dapo, dr_grpo, gspo, cispo, sapo, each the loss_type of that
name. Formulas and papers: rl/loss.h."""

from . import _C

policy_loss = _C.policy_loss


def _loss(loss_type):
    def loss(policy_logprobs, sampler_logprobs, advantages, lengths, ref_logprobs=None, **options):
        return _C.policy_loss(policy_logprobs, sampler_logprobs, advantages, lengths, ref_logprobs, loss_type=loss_type, **options)
    loss.__name__ = loss.__qualname__ = loss_type
    loss.__doc__ = f"policy_loss with loss_type={loss_type!r}:\n\n{_C.policy_loss.__doc__.split(chr(10), 1)[1].strip()}"
    return loss


_WORDS = next(row["allowed"] for row in _C.options_table("rl") if row["name"] == "loss_type").split(", ")
globals().update({word: _loss(word) for word in _WORDS})
__all__ = ["policy_loss", *_WORDS]
