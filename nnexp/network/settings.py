"""One setting: everything that the training of its networks depends on, frozen and validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from nnexp.errors import UsageError, nearest
from nnexp.network import tasks

Activation = Literal["tanh", "sigmoid"]
Loss = Literal["cross_entropy", "mse"]
Encoding = Literal["binary", "bipolar"]
Stop = Literal["none", "correct", "solved", "confident"]
DType = Literal["float64", "float32"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_normal", "normal", "uniform", "orthogonal"]

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)
INITIALIZERS: tuple[Initializer, ...] = get_args(Initializer)

_finite = {"allow_inf_nan": False}


def describe(error: ValidationError, known: tuple[str, ...], prefix: str = "") -> str:
    """One line for the first problem of a pydantic error: the key, its value and what was expected.

    Args:
        error: the error.
        known: the existing keys, of which the one closest to an unknown key is suggested.
        prefix: what to put before the key, such as ``seeds.`` for nested values.
    """
    first = error.errors()[0]
    key = prefix + ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "missing":
        return f"{key}: missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    value = first["input"]
    if first["type"] == "literal_error":
        options = [option.strip().strip("'") for option in first["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{key} = {value!r}: expected one of {', '.join(options)}" + (
            nearest(value, options) if isinstance(value, str) and "(did" in nearest(value, options) else ""
        )
    message = first["msg"].removeprefix("Input should be ")
    return f"{key} = {value!r}: expected {message}"


class Settings(BaseModel):
    """One point of the search space, and how its ``seeds`` networks are trained.

    Every field is a param of the MLflow run. ``task`` may also be passed as a table (a dict) or a `Task`; it is stored
    as the task's ``spec``. `initializers.draw` says what the initial weights of network i depend on.

    Raises:
        UsageError: naming the key, its value and what was expected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task: str = "xnor"
    hidden_size: Annotated[int, Field(ge=1, le=1024)] = 4
    learning_rate: Annotated[float, Field(gt=0, **_finite)] = 0.5
    init: Initializer = "glorot_uniform"
    init_scale: Annotated[float, Field(gt=0, **_finite)] = 1.0
    activation: Activation = "tanh"
    loss: Loss = "cross_entropy"
    momentum: Annotated[float, Field(ge=0, lt=1, **_finite)] = 0.0
    encoding: Encoding = "binary"
    epochs: Annotated[int, Field(ge=1, le=10_000_000)] = 5000
    stop: Stop = "none"
    dtype: DType = "float64"
    seeds: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise UsageError(describe(error, tuple(cls.model_fields))) from None

    @field_validator("task", mode="before")
    @classmethod
    def _spec(cls, task: object) -> object:
        if isinstance(task, Mapping):
            return tasks.from_table(task).spec
        if isinstance(task, tasks.Task):
            return task.spec
        return tasks.get(task).spec if isinstance(task, str) else task

    @property
    def truth_table(self) -> tasks.Task:
        """The task that ``task`` names."""
        return tasks.get(self.task)

    def replace(self, **changes: Any) -> Settings:
        """A copy with some fields changed, validated again."""
        return Settings(**{**self.model_dump(), **changes})
