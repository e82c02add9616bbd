"""The numbers of the rules, which a scenario may name without importing what checks them."""

from typing import Final

NUMBERS: Final = tuple(f"INV-{number:02}" for number in range(1, 47))
"""All rules, also those that no check is written for."""
