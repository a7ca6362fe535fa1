"""A damaged or missing asset is found, and the message says how to get it back."""

import json

import pytest

from course_lib import assets


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A folder with one small asset in place of the real ones."""
    file = tmp_path / "thing.bin"
    file.write_bytes(b"honest bytes")
    entry = {"file": "thing.bin", "bytes": 12, "sha256": assets.sha256(file)}
    (tmp_path / "manifest.json").write_text(json.dumps({"thing": entry}))
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    monkeypatch.setattr(assets, "MANIFEST", tmp_path / "manifest.json")
    assets.manifest.cache_clear(), assets.path.cache_clear()
    yield file
    assets.manifest.cache_clear(), assets.path.cache_clear()


def test_an_intact_asset_is_found(copy):
    assert assets.path("thing") == copy and assets.verify() == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "is missing; get it back with: git checkout"),
        (lambda file: file.write_bytes(b"short"), "is damaged .5 bytes instead of 12.; get it back with"),
        (lambda file: file.write_bytes(b"hOnest bytes"), "its sha256 differs"),
    ],
)
def test_damage_is_named_with_its_remedy(copy, damage, message):
    damage(copy)
    with pytest.raises(assets.AssetError, match=message):
        assets.path("thing")
    assert len(assets.verify()) == 1


def test_an_unknown_name_lists_what_there_is(copy):
    with pytest.raises(ValueError, match="name must be one of 'thing'; got 'other'"):
        assets.path("other")


def test_every_shipped_asset_is_intact_and_has_licence_source_and_card():
    assert assets.verify() == []
    for entry in assets.manifest().values():
        assert entry["licence"] and entry["source"]
        assert (assets.FOLDER / entry["card"]).is_file()


def test_all_shipped_files_stay_within_a_hundred_and_twenty_megabytes():
    assert sum(entry["bytes"] for entry in assets.manifest().values()) <= 120e6


def test_results_are_read_by_the_name_of_their_benchmark(copy):
    copy.write_text('{"cut_only": {"rows": []}}')
    entry = {"file": copy.name, "bytes": copy.stat().st_size, "sha256": assets.sha256(copy)}
    assets.MANIFEST.write_text(json.dumps({"pruning_results": entry}))
    assert assets.results("pruning") == {"cut_only": {"rows": []}}
    with pytest.raises(ValueError, match="name must be one of 'pruning_results'"):
        assets.results("other")
