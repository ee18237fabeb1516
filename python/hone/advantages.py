"""Advantages as functions of rewards."""

from ._C import group_advantages

__all__ = ["group_advantages"]
