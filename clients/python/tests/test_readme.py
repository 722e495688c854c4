"""The README's Python blocks run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from nodes import Cluster

README = Path(__file__).parents[1] / "README.md"


def test_the_blocks_run(own: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    names: dict[str, object] = {}
    for block in blocks:
        code = block
        for number, url in enumerate(own.urls):
            code = code.replace(f"http://127.0.0.1:800{number}", url)
        exec(compile(code, str(README), "exec"), names)  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "hello"
    assert printed[1].startswith("1 by 0.")
    assert printed[2:4] == ["greeting", '["jam", "tea"]']
    assert printed[4].startswith("True [") or printed[4].startswith("True (")
    assert re.fullmatch(r"0\.\w+\.\d+ order/8 new \(\)", printed[5])
    assert printed[6:] == ["flags/dark"]
