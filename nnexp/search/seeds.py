"""The tables of a sweep file that say how many networks each setting gets: adaptive seeds, and the race."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from nnexp.errors import UsageError
from nnexp.network.settings import describe


class AdaptiveSeeds(BaseModel):
    """Train ``min`` networks of a setting, then more in rounds, up to ``max``.

    The rounds end when the confidence interval of the recovery rate is narrower than ``width``.

    Raises:
        UsageError: naming the key, its value and what was expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    min: Annotated[int, Field(ge=1, le=10_000_000)]
    max: Annotated[int, Field(ge=1, le=10_000_000)]
    width: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: ModelWrapValidatorHandler[AdaptiveSeeds]) -> AdaptiveSeeds:
        try:
            seeds = handler(values)
        except ValidationError as error:
            raise UsageError(describe(error, tuple(cls.model_fields), "seeds.")) from None
        if seeds.min > seeds.max:
            raise UsageError(f"seeds.min = {seeds.min}: expected at most seeds.max, which is {seeds.max}")
        return seeds


class RaceTable(BaseModel):
    """The table ``[race]``: every setting is trained with ``start`` networks, and the better ones with ever more.

    Attributes:
        start: networks in the first round; the total doubles in each further round, up to the sweep's ``seeds``.
        confidence: the probability that the best setting is found: that neither race nor play-off drops it.
        tolerance: settings whose rates differ by at most this need not be told apart.

    Raises:
        UsageError: naming the key, its value and what was expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    start: Annotated[int, Field(ge=1, le=10_000_000)] = 32
    confidence: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)] = 0.95
    tolerance: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.02

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: ModelWrapValidatorHandler[RaceTable]) -> RaceTable:
        try:
            return handler(values)
        except ValidationError as error:
            raise UsageError(describe(error, tuple(cls.model_fields), "race.")) from None
