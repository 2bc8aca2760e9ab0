"""What a channel is made with: checked, compared as a whole, and understood by other versions of klaw."""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import FrozenInstanceError, asdict

import pytest

from klaw_core.runtime.channels.settings import ChannelSettings, checkpoint_path

SOME = ChannelSettings(capacity=3, persistent=True, orphan_grace=1)


def strings_in(pickled: bytes) -> set[object]:
    return {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}


def test_they_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SOME.capacity = 4


def test_a_capacity_is_none_only_for_what_is_unbounded():
    assert ChannelSettings.of_queue(3, True).capacity is None
    with pytest.raises(TypeError, match="^capacity must be an int, not NoneType$"):
        ChannelSettings.of_queue(None, False)


def test_the_same_settings_are_equal_however_they_were_written():
    assert ChannelSettings(orphan_grace=1).orphan_grace == 1.0
    assert asdict(ChannelSettings(orphan_grace=1)) == asdict(ChannelSettings(orphan_grace=1.0))
    assert ChannelSettings(kind="broadcast", capacity=5) == ChannelSettings(
        kind="broadcast", capacity=8
    )


def test_a_checkpoint_dir_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path("kept") == str(tmp_path / "kept")
    assert checkpoint_path(None) is None


@pytest.mark.parametrize("settings", [ChannelSettings(), SOME], ids=["default", "some"])
def test_they_can_be_pickled(settings):
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_default_does_not_travel_so_that_an_older_klaw_need_not_know_the_setting():
    assert {"capacity", "persistent", "orphan_grace"} <= strings_in(pickle.dumps(SOME))
    assert not {"checkpoint_dir", "overflow"} & strings_in(pickle.dumps(SOME))


def test_a_setting_that_this_klaw_does_not_know_is_refused():
    unpickle, (given,) = SOME.__reduce__()
    with pytest.raises(TypeError, match="max_bytes"):
        unpickle(given | {"max_bytes": 5})


def test_they_are_found_in_what_an_actor_of_another_klaw_tells():
    told = {"protocol": 1, "name": "jobs", **asdict(SOME), "max_bytes": 5}
    del told["overflow"]
    assert ChannelSettings.found_in(told) == SOME
