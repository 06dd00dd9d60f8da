"""What is made of pip-audit's answers."""

import subprocess

import pytest

from tests import audit

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "exceptions", "errors", "warnings"),
    [
        ([GOOD], {}, [], []),
        ([GOOD, BAD], {}, ["b 2 has PYSEC-1; fixed in: 3."], []),
        ([GOOD, BAD], {"CVE-1": "not used."}, [], ["b 2 has PYSEC-1; fixed in: 3. Accepted: not used."]),
        ([GOOD], {"CVE-1": "not used."}, [], ["The exception CVE-1 is not needed any more."]),
        ([GOOD, UNKNOWN], {}, [], ["c was not audited."]),
        ([UNKNOWN, UNKNOWN], {}, [], ["The index told of no package: nothing was audited."]),
    ],
)
def test_findings_are_errors_and_silence_is_a_warning(packages, exceptions, errors, warnings):
    assert audit.judged({"dependencies": packages}, exceptions) == (errors, warnings)


@pytest.mark.parametrize(("said", "code"), [({"dependencies": [BAD]}, 1), ({"dependencies": [GOOD]}, 0), (None, 0)])
def test_exit_codes(monkeypatch, said, code):
    monkeypatch.setattr(audit, "audit", lambda: said)
    assert audit.main() == code


def test_a_network_that_fails_is_no_answer(monkeypatch):
    def failing(*_, **__):
        return subprocess.CompletedProcess([], 1, "", "ERROR:pip_audit: connection refused")

    monkeypatch.setattr(audit.subprocess, "run", failing)
    assert audit.audit() is None and audit.main() == 0
