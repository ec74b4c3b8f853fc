"""Answers to checks against what had been acknowledged when they were given (P7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import billow
from tests.chaos.compare import WRONG, Breach
from tests.chaos.ledger import Item

STALE_S: Final = 1.0  # P7: how long "not found" is remembered, and a red may be missed when cache and replica were lost
NEVER: Final = float("inf")


@dataclass(slots=True)
class Life:
    """What the ledgers know of one invoice: when each change was first asked for, and first acknowledged."""

    asked: float = NEVER
    there: float = NEVER
    gross: int = 0
    red_asked: float = NEVER
    red: float = NEVER  # acknowledged, or seen by a check
    first_check: float = NEVER


@dataclass(slots=True)
class Judgement:
    """Breaches, and how many answers were older than a red but within what is allowed while something is broken."""

    breaches: list[Breach] = field(default_factory=list)
    checked: int = 0
    stale: int = 0


def verify(items: Sequence[Item], *, disturbed: Callable[[float, float], bool]) -> Judgement:
    """Judges every answer to a check. `disturbed` tells whether anything was broken between two moments."""
    lives = _lives(items)
    judgement = Judgement()
    asked = [item for item in items if item.intent.op == "verify" and item.acknowledged]
    for item in sorted(asked, key=lambda item: item.ended):
        judgement.checked += 1
        life = lives[item.intent.number]
        text = _judge(item, life, judgement, disturbed)
        if text:
            judgement.breaches.append(Breach(WRONG, "P7", f"invoice {item.intent.number}", text, item.ended))
        if item.answer is not None and item.answer.state == billow.INVOICE_STATE_FULLY_RED:
            life.red = min(life.red, item.ended)  # what one has seen the next one may not miss
    return judgement


def _lives(items: Sequence[Item]) -> dict[str, Life]:
    """Gathers the lives of all invoices."""
    lives: dict[str, Life] = defaultdict(Life)
    first_asked: dict[tuple[str, str], float] = {}
    for item in items:
        if item.intent.op == "issue":
            key = (item.intent.seller, item.intent.request)
            first_asked[key] = min(first_asked.get(key, NEVER), item.intent.at)
    for item in items:
        intent, answer = item.intent, item.answer
        if intent.op == "issue" and answer is not None and item.acknowledged:
            life = lives[answer.number]
            life.asked = min(life.asked, first_asked[intent.seller, intent.request])
            life.there = min(life.there, answer.at)
            life.gross = answer.gross
        elif intent.op == "red":
            life = lives[intent.number]
            life.red_asked = min(life.red_asked, intent.at)
            if item.acknowledged:
                life.red = min(life.red, item.ended)
        elif intent.op == "verify":
            life = lives[intent.number]
            life.first_check = min(life.first_check, intent.at)
    return lives


def _judge(item: Item, life: Life, judgement: Judgement, disturbed: Callable[[float, float], bool]) -> str:
    """Returns what is wrong with an answer; "" when nothing is."""
    intent, answer = item.intent, item.answer
    if answer is None:
        return ""
    sent, ended = intent.at, answer.at
    if answer.outcome == billow.VERIFICATION_OUTCOME_NOT_FOUND:
        remembered = life.first_check < life.there and sent <= life.there + STALE_S
        if sent >= life.there and not remembered:
            return f"not found {sent - life.there:.3f} s after it was acknowledged"
        return ""
    if answer.outcome not in {billow.VERIFICATION_OUTCOME_MATCH, billow.VERIFICATION_OUTCOME_MISMATCH}:
        return f"an outcome that cannot be: {answer.outcome}"
    if ended < life.asked and life.asked != NEVER:
        return "found before anybody had asked for it"
    if intent.mode == "unknown":
        return ""  # a number guessed: whatever date and total may be, it is there or it is not
    matches = answer.outcome == billow.VERIFICATION_OUTCOME_MATCH
    if life.there != NEVER and matches != (intent.gross == life.gross):
        return f"a total of {intent.gross} {'matches' if matches else 'does not match'} {life.gross}"
    if not matches:
        return ""
    if answer.state == billow.INVOICE_STATE_FULLY_RED:
        if ended < life.red_asked:
            return "red before anybody had asked for that"
        return "" if answer.red == -intent.gross else f"red by {answer.red}, not {-intent.gross}"
    if answer.state != billow.INVOICE_STATE_NORMAL or answer.red:
        return f"a state that cannot be: {answer.state}, red {answer.red}"
    if sent < life.red:
        return ""
    if sent <= life.red + STALE_S and disturbed(life.red - STALE_S, sent):
        judgement.stale += 1
        return ""
    return f"said to be as issued {sent - life.red:.3f} s after its red invoice was acknowledged"
