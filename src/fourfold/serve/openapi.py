"""The API as OpenAPI 3.1 describes it (https://spec.openapis.org/oas/v3.1.1), built from what is served."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from starlette.responses import Response

from fourfold.serve.routes import Call, Endpoint, Parameter, answered

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ERRORS = {
    "400": "the request cannot be understood", "401": "a token is needed", "403": "the token does not allow it",
    "404": "there is no such thing", "405": "it cannot be asked that way",
    "408": "the body did not come in time", "409": "it does not fit how things stand",
    "413": "the body is too large", "415": "this kind of body is not taken", "421": "this server has another name",
    "422": "a value is wrong; the message names it", "429": "too much at once; try again after Retry-After",
    "503": "the store cannot be used now", "507": "the disk is full; try again after Retry-After",
}  # fmt: skip
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "message"],
            "properties": {"status": {"type": "integer"}, "message": {"type": "string"}},
        }
    },
}


def description(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole API."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = operation(endpoint)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "fourfold",
            "summary": "Monitoring of machine-learning pipelines after deployment",
            "version": metadata.version("fourfold"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
            "responses": {
                status: {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, text in _ERRORS.items()
            },
        },
    }


def operation(endpoint: Endpoint) -> dict[str, Any]:
    """What is said of one endpoint: by itself, and by its handler's docstring."""
    text = inspect.cleandoc(endpoint.handler.__doc__ or endpoint.summary)
    parameters = [_parameter(parameter) for parameter in endpoint.parameters]
    named = {parameter.name for parameter in endpoint.parameters if parameter.place == "path"}
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(endpoint.path)
        if name not in named
    ]
    said: dict[str, Any] = {
        "summary": endpoint.summary or text.partition("\n")[0].rstrip("."),
        "description": text,
        "security": [] if endpoint.role is None else [{"token": []}, {}],  # {}: open where no token was ever made
        "responses": {
            **_succeeding(endpoint), **{status: {"$ref": f"#/components/responses/{status}"} for status in _ERRORS}
        },
    }  # fmt: skip
    if endpoint.role is not None:
        said["x-role"] = endpoint.role.value
    if parameters:
        said["parameters"] = parameters
    if endpoint.bodies:
        content = {kind: {"schema": schema} for kind, schema in endpoint.bodies.items()}
        said["requestBody"] = {"required": True, "content": content}
    return said


def endpoint(of: Iterable[Endpoint]) -> Endpoint:
    """What serves the description of endpoints, and its own."""
    listed = list(of)

    async def openapi(call: Call) -> Response:
        """The description of this API."""
        return answered(described)

    own = Endpoint("GET", "/openapi.json", openapi, None, "This description", answer={"type": "object"})
    described = description([*listed, own])
    return own


def _succeeding(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is not None:
        return {"200": {"description": "it succeeded", "content": {"application/json": {"schema": endpoint.answer}}}}
    return {"2XX": {"description": "it succeeded"}, "3XX": {"description": "it is elsewhere, or has not changed"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.required or parameter.place == "path",
        "schema": {"type": "array", "items": schema} if parameter.repeated else schema,
    }
