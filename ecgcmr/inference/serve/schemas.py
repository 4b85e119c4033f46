"""Forms of what is sent and answered, for the OpenAPI description of the server."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from ecgcmr.inference.serve.uploads import FIELD


class Failed(BaseModel):
    """A file that could not be read."""

    file: str = Field(description="The file's own name")
    reason: str


class Phenotype(BaseModel):
    """A predicted number."""

    name: str
    value: float | None
    unit: str
    low: float | None = Field(description="Lower end of the prediction interval")
    high: float | None
    level: float | None = Field(description="Probability that the truth lies within it")


class Risk(BaseModel):
    """A yes or no, or an event to come."""

    name: str
    probability: float | None
    relative_hazard: float | None = Field(None, description="Of an event, over that of a subject at log risk 0")


class Prediction(BaseModel):
    """What the model says of one recording, as `ecgcmr infer` writes it."""

    file: str
    quality: dict[str, Any] = Field(description="What was found of the recording itself")
    in_distribution: bool | None = Field(description="Whether it lies where the training recordings do")
    refused: str | None = Field(description="Why there is no prediction; null if there is one")
    phenotypes: list[Phenotype]
    risks: list[Risk]
    model: dict[str, str]
    tracing: str | None = Field(None, description="Address of a PNG (data:), where tracing=true asks for it")


class Embedding(BaseModel):
    """The embedding of a recording, or of one window of a long one."""

    file: str
    recording: int
    embedding: list[float] | None
    quality: float | None = Field(description="Mean quality of the leads, 0 to 1")
    in_distribution: bool | None
    refused: str | None
    model: dict[str, str]


class Predictions(BaseModel):
    """Answer of `POST /v1/predict`."""

    results: list[Prediction]
    failed: list[Failed]


class Embeddings(BaseModel):
    """Answer of `POST /v1/embed`."""

    results: list[Embedding]
    failed: list[Failed]


class Refusal(BaseModel):
    """Why a request was not answered."""

    detail: str | list[Any]
    failed: list[Failed] = Field([], description="Where files were sent and none of them could be read")


class Health(BaseModel):
    """Answer of `GET /healthz`."""

    status: str


REFUSALS = {
    400: "The form is broken, or the host name is not that of this server",
    403: "Sent by a page of another site",
    408: "The request took too long to arrive",
    413: "Too large, or too many files",
    415: "No form",
    422: "No file could be read, or a field is wrong",
    503: "No place now; Retry-After says when to ask again",
}


def refusals() -> dict[int | str, dict[str, Any]]:
    """Return the documented answers of a request with files that is not answered."""
    return {status: {"model": Refusal, "description": text} for status, text in REFUSALS.items()}


def form(most: int, covariates: list[str]) -> dict[str, Any]:
    """Return the description of the form with files.

    Args:
        most: Most files.
        covariates: That the model takes beside the ECG.
    """
    files = {
        "type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": most,
        "description": "Recordings of any supported format; a WFDB header with its signal files, a bare table with "
        "its ecg.yaml",
    }  # fmt: skip
    fields: dict[str, Any] = {FIELD: files, "sex": {"type": "string", "enum": ["female", "male"]}}
    fields |= {name: {"type": "number"} for name in covariates if name != "sex"}
    schema = {"type": "object", "properties": fields, "required": [FIELD]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
