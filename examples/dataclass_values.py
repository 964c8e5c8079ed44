"""Send and return values of your own types.

    python examples/dataclass_values.py [HOST]

Plain data travels by itself.  A dataclass, an enum or a named tuple of yours
travels once you allow it.
"""

import enum
import sys
from dataclasses import dataclass, field

import sremote


@sremote.allow
class Phase(enum.Enum):
    SOLID = "solid"
    LIQUID = "liquid"
    GAS = "gas"


@sremote.allow
@dataclass
class Sample:
    name: str
    kelvin: float
    phase: Phase = Phase.SOLID
    notes: list = field(default_factory=list)


def heat(sample: Sample, kelvin: float) -> Sample:
    sample.kelvin += kelvin
    if sample.kelvin > 273.15:
        sample.phase = Phase.LIQUID
    sample.notes.append(f"heated by {kelvin} K")
    return sample


def main(host: str = "local:") -> None:
    with sremote.connect(host) as client:
        sample = client.call_function(heat, Sample("ice", 260.0), 20.0)
    print(sample)
    print("Liquid:", sample.phase is Phase.LIQUID)


if __name__ == "__main__":
    main(*sys.argv[1:])
