"""What came of measuring a bundle, here or on a board."""

from __future__ import annotations

from dataclasses import dataclass

from ...devices.errors import HelmsightError
from .address import Address
from .record import Profile
from .trace import Process


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on the board at `address`, or here, where that is None.

    `trace` has its layers over time, where they were asked for. `failed` is what went wrong with them, after the rest.
    """

    address: Address | None
    profile: Profile
    trace: Process = ()
    failed: HelmsightError | None = None

    @property
    def where(self) -> str:
        """The board's address, "" for here."""
        return "" if self.address is None else str(self.address)

    @property
    def title(self) -> str:
        """Its bundle, and where it ran unless that is here: `face on ssh://board`."""
        return self.profile.bundle + (f" on {self.where}" if self.where else "")
