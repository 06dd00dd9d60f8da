"""Known vulnerabilities of what is installed: `python -m tests.audit`, which launch.sh --test runs beside the tests.

Ends with 1 for one that EXCEPTIONS does not name. Without an answer of the index it warns and ends with 0.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

EXCEPTIONS: Mapping[str, str] = MappingProxyType({})
"""The id of one that has no fixed version yet -> why it does not matter here."""

PATIENCE = 300  # seconds


def judged(answer: dict[str, Any], exceptions: Mapping[str, str] = EXCEPTIONS) -> tuple[list[str], list[str]]:
    """pip-audit's answer as (errors, warnings), a sentence each."""
    packages = answer["dependencies"]
    errors, warnings = [], []
    found: set[str] = set()
    for package in packages:
        for vulnerability in package.get("vulns", ()):
            names = {vulnerability["id"], *vulnerability.get("aliases", ())}
            known = names & exceptions.keys()
            found |= known
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            sentence = f"{package['name']} {package['version']} has {vulnerability['id']}; fixed in: {fixed}."
            if known:
                warnings.append(f"{sentence} Accepted: {exceptions[known.pop()]}")
            else:
                errors.append(sentence)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        warnings.append("The index told of no package: nothing was audited.")
    else:
        warnings += [f"{name} was not audited." for name in unknown]
        warnings += [f"The exception {name} is not needed any more." for name in exceptions.keys() - found]
    return errors, warnings


def audit() -> dict[str, Any] | None:
    """What pip-audit says, or None when it could not ask."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--local",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--timeout",
        "5",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # no JSON: it has ended with an error of the network
        return None


def main() -> int:
    """The exit code."""
    answer = audit()
    errors, warnings = judged(answer) if answer else ([], ["The index could not be asked: nothing was audited."])
    for warning in warnings:
        print(f"warning: {warning}")
    for error in errors:
        print(f"error: {error} Take the fixed version, or add a reasoned exception to tests/audit.py.")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
