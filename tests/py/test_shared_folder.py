"""Adapters from one place for several servers: folders that are still being copied."""

import shutil

import pytest
from shared_folder import PEFT, RESCAN, ask, start  # noqa: F401


def test_a_folder_without_its_config_or_weights_is_no_adapter_yet_and_one_when_it_is_whole(start, tmp_path):
    folder = tmp_path / "share"
    (folder / "a").mkdir(parents=True)
    s = start(folder)
    assert s.post(RESCAN, {}).status_code == 200 and ask(s, "a").status_code == 404
    shutil.copy(PEFT / "adapter_config.json", folder / "a")
    assert s.post(RESCAN, {}).status_code == 200
    refused = ask(s, "a")
    assert refused.status_code != 200 and "no weights beside it" in refused.json()["error"]["message"], refused.text
    shutil.copy(PEFT / "adapter_model.safetensors", folder / "a")
    assert s.post(RESCAN, {}).status_code == 200 and ask(s, "a").status_code == 200


@pytest.mark.parametrize("part", [0, 100, 0.999])
def test_weights_that_are_half_copied_are_refused_by_name_and_taken_when_they_are_whole(start, tmp_path, part):
    """Whether a look at the folder came between or not."""
    folder, whole = tmp_path / "share", (PEFT / "adapter_model.safetensors").read_bytes()
    (folder / "a").mkdir(parents=True)
    shutil.copy(PEFT / "adapter_config.json", folder / "a")
    weights = folder / "a" / "adapter_model.safetensors"
    weights.write_bytes(whole[: int(part * len(whole)) if isinstance(part, float) else part])
    s = start(folder)
    refused = ask(s, "a")
    assert refused.status_code != 200 and "adapter_model.safetensors: truncated" in refused.json()["error"]["message"], refused.text
    weights.write_bytes(whole)
    assert ask(s, "a").status_code == 200
    assert s.get("/health").status_code == 200


def test_new_weights_over_old_ones_are_never_a_mixture(start, tmp_path):
    """A generation that grows in place: while it is not whole the old answer, of what is in memory, or an error that names the file."""
    folder, whole = tmp_path / "share", (PEFT / "adapter_model.safetensors").read_bytes()
    (folder / "a").mkdir(parents=True)
    shutil.copy(PEFT / "adapter_config.json", folder / "a")
    weights = folder / "a" / "adapter_model.safetensors"
    weights.write_bytes(whole)
    s = start(folder)
    old = ask(s, "a").json()["choices"][0]["text"]
    for part in (100, len(whole) // 2):
        weights.write_bytes(whole[:part])
        s.post(RESCAN, {})
        answer = ask(s, "a")
        if answer.status_code == 200:
            assert answer.json()["choices"][0]["text"] == old
        else:
            assert "adapter_model.safetensors: truncated" in answer.text, answer.text
    weights.write_bytes(whole)
    s.post(RESCAN, {})
    assert ask(s, "a").json()["choices"][0]["text"] == old


def test_a_folder_that_is_renamed_into_place_is_whole_at_once(start, tmp_path):
    """What docs/operations/nodes.md recommends to whoever copies: names that begin with a dot are not looked at."""
    folder = tmp_path / "share"
    folder.mkdir()
    s = start(folder)
    shutil.copytree(PEFT, folder / ".coming-a")
    assert s.post(RESCAN, {}).status_code == 200
    assert ask(s, "a").status_code == ask(s, ".coming-a").status_code == 404
    (folder / ".coming-a").rename(folder / "a")
    assert s.post(RESCAN, {}).status_code == 200 and ask(s, "a").status_code == 200
