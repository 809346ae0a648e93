"""The page's script keeps its promises of size and of form."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

from cometly_forwarder.ingest.browser import AGE_FIELD
from local.stack.checkout import Checkout

ROOT = Checkout.here().root
SCRIPT = ROOT / "src" / "cometly_forwarder" / "ingest" / "client.js"
TAG = ROOT / "client" / "gtm-tag.html"
GUIDE = ROOT / "docs" / "browser.md"


def test_the_script_takes_less_than_two_kilobytes_on_the_wire() -> None:
    assert len(gzip.compress(SCRIPT.read_bytes())) < 2048


def test_the_script_is_valid() -> None:
    check = subprocess.run(["node", "--check", SCRIPT], capture_output=True, text=True, check=False)

    assert (check.returncode, check.stderr) == (0, "")


def test_the_script_spares_browsers_that_know_es2020_and_no_more() -> None:
    assert not re.findall(r"\|\|=|&&=|\?\?=|\.at\(|structuredClone", SCRIPT.read_text("utf-8"))


def test_the_age_of_an_event_is_named_as_the_stack_reads_it() -> None:
    """An unknown field would be left out with a warning, and each late event would be of now."""
    assert f"{AGE_FIELD}: " in SCRIPT.read_text("utf-8")


def test_the_script_can_be_pasted_into_a_page() -> None:
    """What would end an inline script, or begin a comment in one, is not in it."""
    assert not re.search(r"</script|<!--", SCRIPT.read_text("utf-8"), re.IGNORECASE)


def test_the_tag_is_of_the_javascript_that_tag_manager_takes(tmp_path: Path) -> None:
    [source] = re.findall(r"<script>(.*)</script>", TAG.read_text("utf-8"), re.DOTALL)
    code = tmp_path / "tag.js"
    code.write_text(re.sub(r"\{\{[^}]+\}\}", "0", source), "utf-8")

    check = subprocess.run(["node", "--check", code], capture_output=True, text=True, check=False)

    assert (check.returncode, check.stderr) == (0, "")
    newer = r"=>|`|\b(?:const|let|class|async function|await) |\.\.\.|\?\?|\?\."
    assert not re.findall(newer, re.sub(r"//.*", "", source))


def test_the_tag_uses_only_variables_that_the_guide_tells_to_make() -> None:
    """Tag Manager refuses a tag with an unknown variable, even where it stands in a comment."""
    used = re.findall(r"\{\{(.*?)\}\}", TAG.read_text("utf-8"))
    told = re.findall(r"`(DLV - [^`]+)`", GUIDE.read_text("utf-8"))

    assert used
    assert set(used) <= set(told)
