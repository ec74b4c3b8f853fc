"""Tokens at Envoy: whose are believed, and what of them the servers are told (docs/adr/0042)."""

from __future__ import annotations

from typing import Any, Final

from stack import edge_secret
from stack.options import RunFolder, StackOptions

FILTER: Final = "envoy.filters.http.jwt_authn"
TYPE: Final = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
LIFETIME_S_MAX: Final = 3_600  # a token that lives longer is refused: nothing takes it back before its end
SKEW_S: Final = 5  # between the clocks of Envoy and of whoever makes tokens
CLAIMS: Final = {"x-billow-tenant": "billow_tenant", "x-billow-scopes": "scope"}


def jwt_filter(options: StackOptions) -> dict[str, Any]:
    """The filter that verifies tokens; without keys for them it is off, and a token is taken for a wrong API key.

    What begins as an API key does is the servers' business, every other bearer must be a good token.
    """
    config: dict[str, Any] = {"@type": TYPE}
    if not options.jwt_keys:
        return {"name": FILTER, "disabled": True, "typed_config": config}
    config["providers"] = {
        "billow": {
            "issuer": options.jwt_issuer,
            "audiences": [options.jwt_audience],
            "require_expiration": True,
            "max_lifetime": f"{LIFETIME_S_MAX}s",
            "clock_skew_seconds": SKEW_S,
            "local_jwks": {"filename": options.jwt_keys},
            "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
            "forward": False,
            "claim_to_headers": [{"header_name": name, "claim_name": claim} for name, claim in CLAIMS.items()],
        }
    }
    key = {"name": "authorization", "string_match": {"prefix": "bearer bk_", "ignore_case": True}, "invert_match": True}
    bearer = {"name": "authorization", "present_match": True}
    match = {"prefix": "/", "headers": [bearer, key]}
    config["rules"] = [{"match": match, "requires": {"provider_name": "billow"}}]
    return {"name": FILTER, "typed_config": config}


def header_mutations(folder: RunFolder, options: StackOptions) -> list[dict[str, Any]]:
    """What is done to the headers of every request first: nobody but Envoy speaks to the servers in our name."""
    mutations: list[dict[str, Any]] = [{"remove_on_match": {"key_matcher": {"prefix": "x-billow-"}}}]
    if options.jwt_keys:
        header = {"key": "x-billow-edge", "value": edge_secret.ensure(folder)}
        mutations.append({"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}})
    return mutations
