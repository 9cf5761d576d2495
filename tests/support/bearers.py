"""Requests with access tokens, to a server that asks for them (the fixture `guarded`)."""

import itertools

ROOT = "the-root-token"
BASIN = "tokens-basin"
OTHER_BASIN = "others-basin"
EVERYTHING = {"prefix": ""}
made = itertools.count()


def ask(server, token, method, path, body=None, basin=None, headers=()):
    headers = dict(headers)
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return server.request(method, path, json_body=body, basin=basin, headers=headers)


def issue(server, *, by=ROOT, name=None, **members):
    """A new token: its id and its secret."""
    name = name or f"token-{next(made)}"
    members.setdefault("scope", {})
    answer = ask(server, by, "POST", "/v1/access-tokens", {"id": name, **members})
    assert answer.status == 201, answer
    assert set(answer.json()) == {"access_token"}
    return name, answer.json()["access_token"]


def scope(*ops, basins=EVERYTHING, streams=EVERYTHING, access_tokens=EVERYTHING, **members):
    return {"basins": basins, "streams": streams, "access_tokens": access_tokens, "ops": list(ops), **members}


def assert_allowed(answer):
    assert answer.status in (200, 201, 202, 204), answer


def assert_refused(answer, status, code):
    assert (answer.status, answer.json()["code"]) == (status, code), answer
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["message"]
