"""The scenes of the pocket world, and how one is played: facts are drawn, turns are spoken, the end is told.

A scene is a list of turns, each a speaker and a phrase slot. What is settled often differs from what was first
proposed: `settled` renames the facts for the telling (the time agreed on is `time2`, the one who does it is `c`), so
no telling can be had by copying the first line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from trainables.pocket.words import CASUAL, FACT_WORDS, NAMES

T = TypeVar("T")

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Scene:
    """One course of events: the slot of its telling, its turns ("a:plan.ask"), and the facts settled on."""

    telling: str
    turns: str
    settled: dict[str, str] = field(default_factory=dict)


SCENES: tuple[Scene, ...] = (
    Scene("plan", "a:plan.ask b:plan.later a:ok b:plan.where a:plan.place b:ok", {"time": "time2"}),
    Scene("plan", "a:plan.ask b:plan.dayno a:ok+plan.place b:ok", {"day": "day2"}),
    Scene("plan", "a:plan.ask b:plan.where a:plan.place b:plan.placeno a:ok", {"place": "place2"}),
    Scene("plan", "a:plan.ask b:plan.later a:ok+plan.place b:plan.placeno a:ok", {"time": "time2", "place": "place2"}),
    Scene("plan", "a:plan.ask b:plan.where a:plan.place b:ok"),
    Scene("errand.other", "a:errand.ask b:errand.no a:errand.who b:errand.suggest a:errand.cyes", {"doer": "c"}),
    Scene("errand.other", "a:errand.ask b:errand.no a:errand.who b:errand.suggest a:errand.cno", {"doer": "a"}),
    Scene("errand.agree", "a:errand.ask b:errand.no a:errand.plead b:errand.swap a:thanks"),
    Scene("errand.agree", "a:errand.ask b:errand.when a:ok b:errand.sure a:thanks", {"day": "day2"}),
    Scene("event.no", "a:event.ask b:event.who a:event.with b:event.no a:pity"),
    Scene("event.yes", "a:event.ask b:event.who a:event.with b:event.yes a:thanks"),
    Scene("event.yes", "a:event.ask b:event.yes a:event.swap b:ok", {"bring": "bring2"}),
    Scene("news", "a:news.tease b:news.what a:news.tell b:news.react a:news.meet b:ok"),
    Scene("news", "a:news.tease b:news.what a:news.tell+news.meet b:news.dayno a:ok", {"day": "day2"}),
    Scene("news.other", "a:news.heard b:news.what a:news.tellc b:news.visit a:ok"),
    Scene("lost.bring", "a:lost.ask b:lost.check a:lost.notthere b:lost.found a:lost.when b:lost.bring",
          {"finder": "c", "place": "place2"}),
    Scene("lost.fetch", "a:lost.ask b:lost.check a:lost.notthere b:lost.found a:lost.fetch", {"place": "place2"}),
    Scene("lost.bring", "a:lost.ask b:lost.mine a:lost.when b:lost.bringb a:thanks", {"finder": "b"}),
    Scene("gift", "a:gift.ask b:gift.idea a:gift.hasit b:ok+gift.buy a:thanks", {"gift": "gift2", "buyer": "b"}),
    Scene("gift", "a:gift.ask b:gift.idea a:gift.hasit b:ok a:gift.buy", {"gift": "gift2", "buyer": "a"}),
    Scene("gift", "a:gift.ask b:gift.idea a:gift.like b:ok+gift.buy", {"buyer": "b"}),
    Scene("borrow", "a:borrow.ask b:borrow.lent a:borrow.where b:borrow.cplace a:thanks", {"lender": "c"}),
    Scene("borrow", "a:borrow.ask b:borrow.sure a:thanks", {"lender": "b"}),
    Scene("borrow", "a:borrow.ask b:borrow.sure a:borrow.far b:ok", {"lender": "b", "place": "place2"}),
    Scene("borrow.day", "a:borrow.ask b:borrow.need a:borrow.wait b:ok"),
    Scene("dinner", "a:dinner.ask b:dinner.no a:ok+dinner.who b:dinner.self a:ok",
          {"food": "food2", "cook": "b", "helper": "a"}),
    Scene("dinner", "a:dinner.ask b:dinner.no a:ok+dinner.who b:dinner.you a:ok",
          {"food": "food2", "cook": "a", "helper": "b"}),
    Scene("dinner", "a:dinner.ask b:ok+dinner.who a:dinner.self b:ok", {"cook": "a", "helper": "b"}),
    Scene("dinner", "a:dinner.ask b:ok+dinner.who a:dinner.you b:ok", {"cook": "b", "helper": "a"}),
    Scene("late.wait", "a:late.ask b:late.notyet a:late.wait b:thanks"),
    Scene("late.wait", "a:late.ask b:late.notyet a:late.wait b:late.update a:ok", {"time": "time2"}),
    Scene("late.ahead", "a:late.ask b:late.notyet a:late.ahead b:ok"),
    Scene("move", "a:move.ask b:move.moved a:move.why b:move.reason a:thanks"),
    Scene("move.cancel", "a:move.ask b:move.cancelled a:move.why b:move.reason a:pity"),
    Scene("move.same", "a:move.ask b:move.still a:move.where b:move.place a:thanks"),
)  # fmt: skip


@dataclass(frozen=True)
class Story:
    """One played scene: its chat, the slot it is told with, and the settled facts."""

    dialogue: str
    telling: str
    facts: dict[str, str]


def pick(rng: Random, options: Sequence[T]) -> T:
    """Return one of the options; built on `Random.random`, the one stream that Python promises never to change."""
    return options[int(rng.random() * len(options))]


def pick_several(rng: Random, options: Sequence[T], count: int) -> list[T]:
    """Return `count` different options in random order."""
    left = list(options)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]


def draw_facts(rng: Random) -> dict[str, str]:
    """Return a fresh value for every fact slot: names `a` to `d`, and `day`, `day2`, `time`, ..."""
    facts = dict(zip("abcd", pick_several(rng, NAMES, 4), strict=True))
    for slot, (words, count) in FACT_WORDS.items():
        for number, word in enumerate(pick_several(rng, words, count), start=1):
            facts[slot if number == 1 else f"{slot}{number}"] = word
    return facts


def fill(template: str, facts: Mapping[str, str]) -> str:
    """Return the template with its facts, starting in upper case where it holds a whole sentence."""
    text = template.format_map(facts)
    return text[0].upper() + text[1:] if template.endswith(".") else text


def speak(rng: Random, slots: str, phrases: Phrases, facts: Mapping[str, str]) -> str:
    """Return what is said for one slot, or for several joined by "+"."""
    return " ".join(pick(rng, phrases[slot]).format_map(facts) for slot in slots.split("+"))


def add_small_talk(rng: Random, turns: list[tuple[str, str]], phrases: Phrases, facts: Mapping[str, str]) -> None:
    """Put a greeting before the first turn, and now and then small talk, an aside or a goodbye."""
    kind = rng.random()
    if kind < 0.35:
        turns[0] = ("a", speak(rng, "greet", phrases, facts) + " " + turns[0][1])
    elif kind < 0.5:
        turns[:0] = [("a", speak(rng, "hello", phrases, facts)), ("b", speak(rng, "hello.back", phrases, facts))]
    elif kind < 0.8:
        opening = speak(rng, "hello", phrases, facts) + " " + speak(rng, "talk.ask", phrases, facts)
        turns[:0] = [("a", opening), ("b", speak(rng, "talk.answer", phrases, facts))]
    elif rng.random() < 0.5:
        turns[-1] = (turns[-1][0], turns[-1][1] + ". " + speak(rng, "aside", phrases, facts))
    if rng.random() < 0.25:
        turns.append(("b" if turns[-1][0] == "a" else "a", speak(rng, "bye", phrases, facts)))


def type_casually(rng: Random, text: str) -> str:
    """Return the text with some words shortened or mistyped as in a hurry."""
    swaps = {word: typed for word, typed in CASUAL if rng.random() < 0.5}
    return " ".join(swaps.get(word, word) for word in text.split(" "))


def play(rng: Random, phrases: Phrases, scenes: Sequence[Scene] = SCENES) -> Story:
    """Return one story told in the given phrases."""
    scene, facts = pick(rng, scenes), draw_facts(rng)
    turns = []
    for turn in scene.turns.split(" "):
        speaker, slots = turn.split(":")
        turns.append((speaker, speak(rng, slots, phrases, facts)))
    add_small_talk(rng, turns, phrases, facts)
    if rng.random() < 0.2:
        turns = [(speaker, type_casually(rng, text)) for speaker, text in turns]
    dialogue = "\n".join(f"{facts[speaker]}: {text}" for speaker, text in turns)
    settled = {**facts, **{slot: facts[source] for slot, source in scene.settled.items()}}
    return Story(dialogue, scene.telling, settled)


def tell(rng: Random, story: Story, tellings: Phrases, count: int) -> list[str]:
    """Return the end of the story in `count` different wordings."""
    return [fill(template, story.facts) for template in pick_several(rng, tellings[story.telling], count)]
