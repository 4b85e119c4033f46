"""The HTTP interface: predictions and embeddings of files in memory, what the model is, and the page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ecgcmr import __version__
from ecgcmr.errors import UserError
from ecgcmr.inference.serve.bounded_body import CLOSE
from ecgcmr.inference.serve.guard import RETRY, Guard
from ecgcmr.inference.serve.limits import Limits
from ecgcmr.inference.serve.pipeline import Busy, Job, Pipeline
from ecgcmr.inference.serve.predictor import Upload, Wanted
from ecgcmr.inference.serve.schemas import Embeddings, Health, Predictions, form, refusals
from ecgcmr.inference.serve.uploads import read_form, recordings

PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
"""Path -> file beside this one, and its type."""

PATHS = (*PAGE, "/v1/predict", "/v1/embed", "/v1/model", "/healthz", "/openapi.json")


def make_app(pipeline: Pipeline, card: Mapping[str, Any], limits: Limits, names: Collection[str] = ()) -> Guard:
    """Return the application.

    Args:
        pipeline: Works on recordings; whoever made it closes it.
        card: What the model is; plain values for JSON.
        limits: Bounds.
        names: Host names by which it may be asked for, beside addresses and ``localhost``.
    """
    # FastAPI's pages of documentation load scripts from elsewhere.
    app = FastAPI(title="ecgcmr", version=__version__, docs_url=None, redoc_url=None, description=_DESCRIPTION)
    covariates = [str(name) for name in card.get("covariates") or ()]
    described: dict[str, Any] = {"openapi_extra": form(limits.files, covariates), "responses": refusals()}

    @app.post("/v1/predict", response_model=Predictions, **described)
    async def predict(request: Request, tracing: bool = False) -> Response:
        """Predictions of one or several recordings; `tracing=true` adds a picture of each."""
        return await answer(request, "predict", tracing)

    @app.post("/v1/embed", response_model=Embeddings, **described)
    async def embed(request: Request) -> Response:
        """Embeddings of one or several recordings."""
        return await answer(request, "embed", False)

    async def answer(request: Request, kind: Literal["predict", "embed"], tracing: bool) -> Response:
        """Hand the recordings of a request to the pipeline and wait for them."""
        if kind == "predict" and not card.get("targets"):
            raise HTTPException(422, "this model gives embeddings alone: send files to /v1/embed", CLOSE)
        uploads, fields = await read_form(request, limits.files)
        groups = recordings(uploads)
        wanted = _wanted(kind, fields, covariates, tracing)
        request.state.recordings = len(groups)
        try:
            jobs = pipeline.submit(groups, wanted)
        except Busy as error:
            raise HTTPException(503, "the server has no place for more recordings now; try again", RETRY) from error
        return await _answered(jobs, [group[0] for group in groups], limits.work_seconds)

    @app.get("/v1/model")
    async def model() -> dict[str, Any]:
        """What the model is: targets with units and reference ranges, preparation, training data as counts, limits."""
        return {**card, "limits": {"request_bytes": limits.request_bytes, "files": limits.files}}

    @app.get("/healthz", response_model=Health, responses={503: {"model": Health}})
    async def healthz() -> Response:
        """Whether recordings can be worked on."""
        healthy = pipeline.is_alive
        return JSONResponse({"status": "ok" if healthy else "stopped"}, 200 if healthy else 503)

    async def failed(request: Request, error: Exception) -> Response:
        """Say nothing of an error of our own."""
        return JSONResponse({"detail": "internal error"}, 500, CLOSE)  # the guard logs it

    app.add_exception_handler(Exception, failed)
    for path, (file, kind) in PAGE.items():
        app.add_api_route(path, _file(file, kind), include_in_schema=False)
    return Guard(app, limits, names, PATHS)


_DESCRIPTION = "Predictions and embeddings of 12-lead ECGs. Research use only, not a medical device."


async def _answered(jobs: Sequence[Job], files: Sequence[Upload], seconds: float) -> Response:
    """Wait for the answers of a request.

    Raises:
        HTTPException: 503 they took too long.
    """
    waiting = [asyncio.wrap_future(job.answer) for job in jobs]
    try:
        _, late = await asyncio.wait(waiting, timeout=seconds)
    finally:
        for job in jobs:  # of those that have been answered nothing is left to leave out
            job.abandoned = True
    if late:
        for one in waiting:
            one.add_done_callback(_seen)
        raise HTTPException(503, "the recordings took too long; send fewer at a time, or try again", RETRY)
    results: list[dict[str, Any]] = []
    failed = []
    for file, one in zip(files, waiting, strict=True):
        error = one.exception()
        if error is None:
            results += one.result()
        elif isinstance(error, UserError):
            failed.append({"file": file.name, "reason": str(error)})
        else:
            raise error
    if not results:
        return JSONResponse({"detail": "no file could be read", "failed": failed}, 422)
    return JSONResponse({"results": results, "failed": failed})


def _seen(future: asyncio.Future[Any]) -> None:
    """Look at what became of an answer that comes too late, which asyncio would complain of otherwise."""
    if not future.cancelled():
        future.exception()


def _wanted(
    kind: Literal["predict", "embed"], fields: Mapping[str, str], covariates: Sequence[str], tracing: bool
) -> Wanted:
    """Read the fields beside the files.

    Raises:
        HTTPException: 422 a field is not known, or no number.
    """
    numbers = {}
    for name, value in fields.items():
        if name == "sex":
            if value not in ("female", "male"):
                raise HTTPException(422, "sex: must be female or male; leave it out where it is not known")
            continue
        if name not in covariates:
            raise HTTPException(422, f"{name[:40]}: is no field of this form; it has {', '.join(['sex', *covariates])}")
        try:
            numbers[name] = float(value)
        except ValueError:
            numbers[name] = math.nan
        if not math.isfinite(numbers[name]):
            raise HTTPException(422, f"{name}: must be a number")
    return Wanted(kind, fields.get("sex"), numbers, tracing)


def _file(name: str, kind: str) -> Any:
    content = (Path(__file__).parent / "page" / name).read_bytes()

    async def file() -> Response:
        return Response(content, media_type=kind)

    return file
