"""A stand-in for NDIF on this machine: nnsight's own protocol, one model, one worker, in a process of its own.

    python tests/remote/server.py MODEL_FOLDER PORT KEY

It knows torch, transformers and nnsight, as a real server does, and refuses to import the course's helpers: a request that leans on them
fails here as it would there.
"""

from __future__ import annotations

import io
import json
import sys
import uuid

import anyio._backends._asyncio  # noqa: F401 - before nnsight, see helpers/models.py
import anyio.streams.tls  # noqa: F401
import torch
import uvicorn
import zstandard
from fastapi import FastAPI, Form, Header, HTTPException, Request, UploadFile, WebSocket
from nnsight import TransformersModel
from nnsight.modeling import huggingface
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing import tracer as tracing
from transformers import AutoModelForCausalLM, AutoTokenizer


class NoHelpers:
    """An import hook: the course's own package does not exist on a server."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in ("helpers", "tests"):
            raise ModuleNotFoundError(f"No module named {name!r} on the server")


def load(folder: str) -> TransformersModel:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    huggingface._ID_CACHE[folder] = folder
    return TransformersModel(network, tokenizer=tokenizer, task="text-generation")


def execute(model: TransformersModel, blob: bytes, envelope: RequestModel) -> dict:
    """Run a request on the live model; what it saved, by name."""
    model._remoteable_set_env(envelope.env)
    tracer = RequestModel.deserialize(blob, model._remoteable_persistent_objects(), envelope.compress)
    tracing.inc()  # results come back to depth one, as in an ordinary trace
    try:
        tracer.execute(tracer.info.code)
        saved = tracing._saves()
        return {name: value for name, value in tracer.info.frame.f_locals.items() if id(value) in saved}
    finally:
        tracing.dec()


def application(folder: str, key: str) -> FastAPI:
    app, model, sockets = FastAPI(), load(folder), {}

    @app.websocket("/subscribe")
    async def subscribe(socket: WebSocket) -> None:
        await socket.accept()
        session = uuid.uuid4().hex
        sockets[session] = socket
        await socket.send_text(json.dumps({"session_id": session}))
        try:
            while True:
                await socket.receive_text()
        except Exception:  # the client is gone
            sockets.pop(session, None)

    @app.post("/request")
    async def request(http: Request, blob: UploadFile, data: str = Form(), ndif_api_key: str = Header(default="")) -> object:
        if ndif_api_key != key:
            raise HTTPException(401, "invalid API key")
        envelope, job = RequestModel.model_validate_json(data), uuid.uuid4().hex
        wanted = json.loads(envelope.model_key.split(":", 1)[1])["repo_id"]
        if wanted != folder:
            raise HTTPException(404, f"model {wanted} is not deployed here")
        socket = sockets[envelope.session_id]
        content = await blob.read()
        try:
            buffer = io.BytesIO()
            torch.save(execute(model, content, envelope), buffer)
            result = zstandard.ZstdCompressor(level=3).compress(buffer.getvalue()) if envelope.compress else buffer.getvalue()
            await socket.send_bytes(ResponseModel(id=job, status=Status.COMPLETED, data=result).pickle())
        except Exception as error:  # a job's failure is the client's to read, not the server's end
            await socket.send_text(ResponseModel(id=job, status=Status.ERROR, description=f"{type(error).__name__}: {error}").model_dump_json())
        return json.loads(ResponseModel(id=job, status=Status.RECEIVED).model_dump_json())

    return app


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.meta_path.insert(0, NoHelpers())
    uvicorn.run(application(sys.argv[1], sys.argv[3]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
