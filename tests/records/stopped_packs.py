"""Packs that are stopped on their way, and what they were given."""

from __future__ import annotations

import threading

import pytest

from recognition.records.encode import Encoder, Rejected
from recognition.records.layout import LayoutWriter
from recognition.records.listing import list_images
from recognition.records.packing import pack

PEOPLE = {"anna": 17, "bert": 1, "carl": 25, "dora": 4}
COUNT = sum(PEOPLE.values())
EVERY = 10


class Watched:
    """An encoder that remembers what it was given."""

    def __init__(self, settings="some", rejects=()):
        self.settings, self.rejects, self.seen, self.threads = settings, rejects, [], set()

    def __repr__(self):
        return self.settings

    def __call__(self, payload, where):
        self.seen.append(where())
        self.threads.add(threading.get_ident())
        if where().endswith(tuple(self.rejects) or "\0"):
            return Rejected("no face", b"\xff\xd8")
        return Encoder()(payload, where)


def packed(people, out, prepare=None, **options):
    """Pack, with a point every ten images, and return what was told."""
    told = []
    options = {"images_to_a_point": EVERY, **options}
    pack(list_images(people), out, prepare=prepare or Watched(), tell=told.append, **options)
    return told


def at_call(number, owner, name, act):
    """Have `act` done in the call of that number (from 1) of `owner.name`, before the rest of it."""
    original, calls = getattr(owner, name), []

    def counted(*arguments, **named):
        calls.append(name)
        if len(calls) == number:
            act()
        return original(*arguments, **named)

    setattr(owner, name, counted)


def interrupt():
    raise KeyboardInterrupt


def stopped_at(image, people, out, monkeypatch, prepare=None, **options):
    """Pack, and press Ctrl-C at the image of that number (from 1) among those that this call writes."""
    with monkeypatch.context() as patch:
        patch.setattr(LayoutWriter, "add", LayoutWriter.add)
        at_call(image, LayoutWriter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            packed(people, out, prepare, **options)
