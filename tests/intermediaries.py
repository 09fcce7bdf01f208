"""
What stands between the client and the API says when something went wrong, and what that means for the bill.

Each row is written after what its vendor documents: the fields, the status, the headers. `AFTER_THE_WORK` are answers
that can come although the image was made. `REFUSALS` are errors of an API's own, of which the source says that
nothing is billed for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

from burncloud_images.errors import Billing

__all__ = ["AFTER_THE_WORK", "REFUSALS", "Answer", "Refusal"]

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}
TEXT = {"content-type": "text/plain"}


@attrs.frozen(kw_only=True)
class Answer:
    """
    An answer that was given after the whole request had been passed on.

    Attributes:
        vendor: Whose, and what happened.
        status: HTTP status.
        headers: Those that tell of its origin, or that a client might believe.
        body: As the vendor writes it.
        source: Where that is documented.
        billed: What the source says of the money, as far as it says anything.
    """

    vendor: str
    status: int
    headers: Mapping[str, str]
    body: str
    source: str
    billed: Billing = Billing.MAYBE


@attrs.frozen(kw_only=True)
class Refusal:
    """
    An error that costs nothing.

    Attributes:
        name: Whose, and its code.
        status: HTTP status.
        error: The error object.
        source: Where it is said that nothing is billed.
        dialect: What the server has to be known as; None if the code alone says it.
        again: Whether it is worth another attempt.
    """

    name: str
    status: int
    error: Mapping[str, object]
    source: str
    dialect: str | None = None
    again: bool = True


def problem(status: int, name: str, retry_after: int | None) -> str:
    """Return what Cloudflare writes for who asks for JSON."""
    fields = {
        "type": f"https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx/{status}/",
        "title": f"Error {status}: {name}",
        "status": status,
        "detail": "The origin web server did not answer as it should.",
        "instance": "9a1b2c3d4e5f6789",
        "error_code": status,
        "error_name": name.lower().replace(" ", "_"),
        "error_category": "origin",
        "ray_id": "9a1b2c3d4e5f6789",
        "zone": "images.example",
        "cloudflare_error": True,
        "retryable": retry_after is not None,
        "retry_after": retry_after,
        "owner_action_required": True,
    }
    return json.dumps(fields)


def page(title: str, text: str = "") -> str:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>"


CLOUDFLARE = {"server": "cloudflare", "cf-ray": "9a1b2c3d4e5f6789-FRA"}
CLOUDFLARE_JSON = {**CLOUDFLARE, "content-type": "application/json; charset=utf-8", "retry-after": "120"}
CLOUDFLARE_HTML = {**CLOUDFLARE, "content-type": "text/html; charset=UTF-8"}
CHANGELOG = "developers.cloudflare.com/changelog 2026-04-27: Structured error responses for Cloudflare 5xx errors"
LIMITS = "developers.cloudflare.com/fundamentals/reference/connection-limits: Between Cloudflare and origin server"
OPENAI_CLOUDFLARE = "community.openai.com 219369: Error code 524, type cf_gateway_timeout, of api.openai.com"
ENVOY = "envoyproxy.io/docs/envoy: Access logging, response flag UC; Response Code Details"
LITELLM = "docs.litellm.ai/docs/proxy/error_reference: The error payload"
API_GATEWAY = "aws.amazon.com/premiumsupport/knowledge-center/api-gateway-504-errors"
ONE_API = "songquanpeng/one-api relay/controller/image.go: a deferred function takes the quota once upstream said 200"
NEW_API = "QuantumNous/new-api controller/relay.go: ReturnPreConsumedQuota in a deferred function, for any error"

AFTER_THE_WORK = (
    Answer(
        vendor="Cloudflare 520 as JSON",
        status=520,
        headers=CLOUDFLARE_JSON,
        body=problem(520, "Web server returned an unknown error", 60),
        source=CHANGELOG,
    ),
    Answer(
        vendor="Cloudflare 520 as HTML",
        status=520,
        headers=CLOUDFLARE_HTML,
        body=page("images.example | 520: Web server is returning an unknown error"),
        source=LIMITS,
    ),
    Answer(
        vendor="Cloudflare 522 as JSON, the request was not acknowledged within 90 s",
        status=522,
        headers=CLOUDFLARE_JSON,
        body=problem(522, "Connection timed out", 120),
        source=LIMITS,
    ),
    Answer(
        vendor="Cloudflare 522 as HTML",
        status=522,
        headers=CLOUDFLARE_HTML,
        body=page("images.example | 522: Connection timed out"),
        source=LIMITS,
    ),
    Answer(
        vendor="Cloudflare 524 as JSON",
        status=524,
        headers=CLOUDFLARE_JSON,
        body=problem(524, "A timeout occurred", 120),
        source=CHANGELOG,
    ),
    Answer(
        vendor="Cloudflare 524 as HTML",
        status=524,
        headers=CLOUDFLARE_HTML,
        body=page("images.example | 524: A timeout occurred"),
        source=LIMITS,
    ),
    Answer(
        vendor="Cloudflare 502 as JSON",
        status=502,
        headers=CLOUDFLARE_JSON,
        body=problem(502, "Bad gateway", 60),
        source=CHANGELOG,
    ),
    Answer(
        vendor="Cloudflare 504 as a problem",
        status=504,
        headers={**CLOUDFLARE_JSON, "content-type": "application/problem+json; charset=utf-8"},
        body=problem(504, "Gateway time-out", 60),
        source=CHANGELOG,
    ),
    Answer(
        vendor="Cloudflare in front of OpenAI, 502 in the API's form",
        status=502,
        headers={**CLOUDFLARE, **JSON},
        body='{"error":{"code":502,"message":"Bad gateway.","param":null,"type":"cf_bad_gateway"}}',
        source=OPENAI_CLOUDFLARE,
    ),
    Answer(
        vendor="Cloudflare in front of OpenAI, 524 in the API's form",
        status=524,
        headers={**CLOUDFLARE, **JSON},
        body='{"error":{"code":524,"message":"Gateway timeout.","param":null,"type":"cf_gateway_timeout"}}',
        source=OPENAI_CLOUDFLARE,
    ),
    Answer(
        vendor="Kong 502",
        status=502,
        headers={**JSON, "server": "kong/3.9.0"},
        body='{"message":"An invalid response was received from the upstream server","request_id":"4a"}',
        source="Kong/kong kong/error_handlers.lua: BODIES",
    ),
    Answer(
        vendor="Kong 504",
        status=504,
        headers={**JSON, "server": "kong/3.9.0"},
        body='{"message":"The upstream server is timing out"}',
        source="Kong/kong kong/error_handlers.lua: BODIES",
    ),
    Answer(
        vendor="AWS API Gateway 504",
        status=504,
        headers={**JSON, "x-amzn-requestid": "r", "x-amzn-errortype": "InternalServerErrorException"},
        body='{"message": "Endpoint request timed out"}',
        source=API_GATEWAY,
    ),
    Answer(
        vendor="AWS API Gateway 502",
        status=502,
        headers={**JSON, "x-amzn-requestid": "r", "x-amzn-errortype": "InternalServerErrorException"},
        body='{"message": "Internal server error"}',
        source="docs.aws.amazon.com/apigateway: Gateway response types, INTEGRATION_FAILURE",
    ),
    Answer(
        vendor="AWS Application Load Balancer 502, the target closed the connection",
        status=502,
        headers={**HTML, "server": "awselb/2.0"},
        body="<html><head><title>502 Bad Gateway</title></head><body><center>502 Bad Gateway</center></body></html>",
        source="docs.aws.amazon.com/elasticloadbalancing: Troubleshoot your Application Load Balancers, HTTP 502",
    ),
    Answer(
        vendor="CloudFront 504",
        status=504,
        headers={**HTML, "server": "CloudFront", "x-cache": "Error from cloudfront", "via": "1.1 a.cloudfront.net"},
        body=page("504 Gateway Timeout ERROR", "The request could not be satisfied."),
        source="docs.aws.amazon.com/AmazonCloudFront: HTTP 504 status code (Gateway Timeout)",
    ),
    Answer(
        vendor="Azure API Management 500, the backend did not answer",
        status=500,
        headers=JSON,
        body='{ "statusCode": 500, "message": "Internal server error", "activityId": "6c0f9e5e-1d5c" }',
        source="learn.microsoft.com/azure/api-management: Error handling in policies; forward-request, timeout",
    ),
    Answer(
        vendor="Apigee 504, the target did not answer within 55 s",
        status=504,
        headers=JSON,
        body='{"fault":{"faultstring":"Gateway Timeout","detail":{"errorcode":'
        '"messaging.adaptors.http.flow.GatewayTimeout","reason":"TARGET_READ_TIMEOUT"}}}',
        source="cloud.google.com/apigee/docs: 504 Gateway Timeout, TARGET_READ_TIMEOUT",
    ),
    Answer(
        vendor="Apigee 503, the target closed the connection",
        status=503,
        headers=JSON,
        body='{"fault":{"faultstring":"The Service is temporarily unavailable","detail":{"errorcode":'
        '"messaging.adaptors.http.flow.ServiceUnavailable"}}}',
        source="docs.apigee.com: 503 Service Unavailable, premature closure by the backend server",
    ),
    Answer(
        vendor="Fastly 503, first byte timeout",
        status=503,
        headers={**HTML, "server": "Varnish", "retry-after": "0", "x-served-by": "cache-fra"},
        body=page("503 first byte timeout", "Error 54113"),
        source="fastly.com/documentation: Fastly-generated errors; bereq.first_byte_timeout",
    ),
    Answer(
        vendor="Varnish 503, backend fetch failed",
        status=503,
        headers={"content-type": "text/html; charset=utf-8", "server": "Varnish", "retry-after": "5"},
        body=page("503 Backend fetch failed", "Guru Meditation: XID: 32770"),
        source="varnish-cache builtin.vcl: vcl_backend_error, Retry-After 5",
    ),
    Answer(
        vendor="Envoy 503 UC",
        status=503,
        headers={**TEXT, "server": "envoy"},
        body="upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        source=ENVOY,
    ),
    Answer(
        vendor="Envoy 504 UT",
        status=504,
        headers={**TEXT, "server": "envoy"},
        body="upstream request timeout",
        source=ENVOY,
    ),
    Answer(
        vendor="Istio 503 UC with x-envoy headers",
        status=503,
        headers={**TEXT, "server": "istio-envoy", "x-envoy-upstream-service-time": "61000"},
        body="upstream connect error or disconnect/reset before headers. reset reason: connection termination",
        source="istio/istio issue 55138: 503 during POST, connection termination",
    ),
    Answer(
        vendor="Heroku H12, the application goes on",
        status=503,
        headers={**HTML, "server": "Heroku", "via": "1.1 heroku-router"},
        body=page("Application Error"),
        source="devcenter.heroku.com/articles/request-timeout: your application will not know",
    ),
    Answer(
        vendor="Akamai 504, in read",
        status=504,
        headers={**HTML, "server": "AkamaiGHost"},
        body="<HTML><HEAD><TITLE>Gateway Timeout - In read </TITLE></HEAD><BODY><H1>Gateway Timeout</H1>"
        "Reference #1.eb77568.1682323459.b66c091</BODY></HTML>",
        source="techdocs.akamai.com/property-mgr/docs/read-timeout",
    ),
    Answer(
        vendor="Akamai 503",
        status=503,
        headers={**HTML, "server": "AkamaiGHost"},
        body="<HTML><BODY>An error occurred while processing your request.<p>Reference #97.3598c0ba</BODY></HTML>",
        source="IBM Cloud CDN: I received a 503 error message",
    ),
    Answer(
        vendor="APISIX 504",
        status=504,
        headers={"content-type": "text/html; charset=utf-8", "server": "APISIX/3.11.0"},
        body="<html><head><title>504 Gateway Time-out</title></head><body><center>openresty</center></body></html>",
        source="apache/apisix: upstream timeout.read, the page of OpenResty",
    ),
    Answer(
        vendor="APISIX 502 in JSON",
        status=502,
        headers={**JSON, "server": "APISIX/3.11.0", "x-apisix-upstream-status": "502"},
        body='{"error_msg":"failed to read the answer of upstream"}',
        source="apache/apisix apisix/core/response.lua: error_msg",
    ),
    Answer(
        vendor="Traefik 502, upstream closed the connection",
        status=502,
        headers={"content-type": "text/plain; charset=utf-8"},
        body="Bad Gateway",
        source="traefik/traefik pkg/proxy/httputil/proxy.go: ComputeStatusCode, io.EOF",
    ),
    Answer(
        vendor="Traefik 504",
        status=504,
        headers={"content-type": "text/plain; charset=utf-8"},
        body="Gateway Timeout",
        source="traefik/traefik pkg/proxy/httputil/proxy.go: ComputeStatusCode, Timeout()",
    ),
    Answer(
        vendor="Traefik 500, any other failure",
        status=500,
        headers={"content-type": "text/plain; charset=utf-8"},
        body="Internal Server Error",
        source="traefik/traefik pkg/proxy/httputil/proxy.go: ComputeStatusCode",
    ),
    Answer(
        vendor="nginx 502",
        status=502,
        headers={**HTML, "server": "nginx/1.27.0"},
        body="<html><head><title>502 Bad Gateway</title></head><body><hr><center>nginx/1.27.0</center></body></html>",
        source="nginx.org: ngx_http_upstream_module, upstream prematurely closed connection",
    ),
    Answer(
        vendor="nginx 502 with an error_page in JSON",
        status=502,
        headers={**JSON, "server": "nginx"},
        body='{"error":"bad_gateway","message":"upstream failed","code":502,"type":"gateway_error"}',
        source="nginx.org: ngx_http_core_module, error_page",
    ),
    Answer(
        vendor="HAProxy 504",
        status=504,
        headers=HTML,
        body="<html><body><h1>504 Gateway Time-out</h1>The server didn't respond in time.</body></html>",
        source="docs.haproxy.org configuration.txt: Haproxy may emit the following status codes by itself",
    ),
    Answer(
        vendor="Vercel 504",
        status=504,
        headers={**TEXT, "x-vercel-error": "FUNCTION_INVOCATION_TIMEOUT"},
        body="An error occurred with your deployment\n\nFUNCTION_INVOCATION_TIMEOUT",
        source="vercel.com/docs/errors/FUNCTION_INVOCATION_TIMEOUT",
    ),
    Answer(
        vendor="LiteLLM 500",
        status=500,
        headers={**JSON, "x-litellm-version": "1.80.0", "x-litellm-call-id": "c"},
        body='{"error":{"message":"litellm.InternalServerError: InternalServerError: OpenAIException - Connection '
        'error.","type":null,"param":null,"code":"500"}}',
        source=LITELLM,
    ),
    Answer(
        vendor="LiteLLM 500 with a type",
        status=500,
        headers=JSON,
        body='{"error":{"message":"litellm.APIConnectionError: APIConnectionError: OpenAIException - Expecting value",'
        '"type":"None","param":"None","code":"500"}}',
        source=LITELLM,
    ),
    Answer(
        vendor="LiteLLM 500, an error of its own",
        status=500,
        headers=JSON,
        body='{"error":{"message":"\'NoneType\' object has no attribute \'cost\'","type":"None","param":"None",'
        '"code":"500"}}',
        source="BerriAI/litellm litellm/proxy/_types.py, ProxyException: what is None becomes a text",
    ),
    Answer(
        vendor="LiteLLM 503, the code of an overloaded API in its text",
        status=503,
        headers=JSON,
        body='{"error":{"message":"litellm.ServiceUnavailableError: OpenAIException - server_is_overloaded",'
        '"type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}',
        source=LITELLM + "; its own attempts before may have been billed",
    ),
    Answer(
        vendor="Portkey 500",
        status=500,
        headers=JSON,
        body='{"status":"failure","message":"Something went wrong"}',
        source="Portkey-AI/gateway src/handlers/imageGenerationsHandler.ts",
    ),
    Answer(
        vendor="one-api 500, the answer of upstream could not be read",
        status=500,
        headers={**JSON, "x-oneapi-request-id": "2026"},
        body='{"error":{"message":"unexpected EOF (request id: 2026)","type":"one_api_error","param":"",'
        '"code":"read_response_body_failed"}}',
        source=ONE_API,
        billed=Billing.YES,
    ),
    Answer(
        vendor="one-api 500, the answer of upstream was not understood",
        status=500,
        headers=JSON,
        body='{"error":{"message":"invalid character","type":"one_api_error","param":"",'
        '"code":"unmarshal_response_body_failed"}}',
        source=ONE_API,
        billed=Billing.YES,
    ),
    Answer(
        vendor="new-api 500, under a name that nobody has recognised",
        status=500,
        headers={**JSON, "x-oneapi-request-id": "2026"},
        body='{"error":{"message":"unexpected EOF (request id: 2026)","type":"new_api_error","param":"",'
        '"code":"bad_response"}}',
        source=NEW_API + "; but a server in front of it may have asked twice",
    ),
    Answer(
        vendor="new-api passes a 524 of its upstream on",
        status=524,
        headers=JSON,
        body='{"error":{"message":"bad response status code 524","type":"upstream_error","param":"524",'
        '"code":"bad_response_status_code"}}',
        source="QuantumNous/new-api issue 556",
    ),
    Answer(
        vendor="a gateway of FastAPI, 500",
        status=500,
        headers=JSON,
        body='{"detail":"Internal Server Error"}',
        source="fastapi.tiangolo.com/tutorial/handling-errors",
    ),
    Answer(
        vendor="a text that only says that it is one",
        status=500,
        headers=JSON,
        body='{"error":"upstream failed"}',
        source="burncloud/burncloud crates/router: an error that is a text",
    ),
    Answer(
        vendor="an error object that says nothing",
        status=500,
        headers=JSON,
        body='{"error":{"message":"","type":"","param":"","code":null}}',
        source="the zero value of a Go struct, as gateways marshal it",
    ),
    Answer(
        vendor="a bare 503",
        status=503,
        headers={"retry-after": "1"},
        body="",
        source="RFC 9110, 15.6.4: temporary overload or maintenance, of whoever answers",
    ),
)

OVERLOADED = "platform.openai.com/docs/guides/error-codes: 503, no capacity to process the request at the moment"
PACE = "platform.openai.com/docs/guides/rate-limits: requests over a limit are refused"
DISTRIBUTOR = "QuantumNous/new-api middleware/distributor.go: aborts before the relay, so before any quota is taken"
VALIDATION = "QuantumNous/new-api controller/relay.go: returns before PreConsumeBilling"
ROUTER = "burncloud/burncloud crates/router/src/lib.rs: rejected before a channel is chosen"


def said(message: str, kind: str, code: str | None) -> Mapping[str, object]:
    return {"message": message, "type": kind, "param": "", "code": code}


REFUSALS = (
    Refusal(
        name="OpenAI server_is_overloaded",
        status=503,
        error=said("Our servers are currently overloaded.", "service_unavailable_error", "server_is_overloaded"),
        source=OVERLOADED,
    ),
    Refusal(
        name="OpenAI slow_down",
        status=503,
        error=said("Please reduce your request rate.", "service_unavailable_error", "slow_down"),
        source=OVERLOADED,
    ),
    Refusal(
        name="OpenAI rate_limit_exceeded",
        status=429,
        error=said("Rate limit reached for gpt-image-2.", "input-images", "rate_limit_exceeded"),
        source=PACE,
    ),
    Refusal(
        name="an engine that is overloaded",
        status=503,
        error=said("The engine is currently overloaded, please try again later", "engine_overloaded_error", None),
        source="docs.coreweave.com: API error code 503, the engine cannot process the request",
    ),
    Refusal(
        name="new-api get_channel_failed",
        status=500,
        error=said("no channel (request id: 1)", "new_api_error", "get_channel_failed"),
        source=NEW_API,
    ),
    Refusal(
        name="new-api model_not_found",
        status=503,
        error=said("No available channel for model x (request id: 1)", "new_api_error", "model_not_found"),
        source=DISTRIBUTOR,
        again=False,
    ),
    Refusal(
        name="new-api invalid_request",
        status=500,
        error=said("size must be one of (request id: 1)", "new_api_error", "invalid_request"),
        source=VALIDATION,
        again=False,
    ),
    Refusal(
        name="Burncloud's router no_available_channels",
        status=503,
        error={"message": "no channel", "type": "service_unavailable_error", "code": "no_available_channels"},
        source=ROUTER,
    ),
    Refusal(
        name="Burncloud's router rate_budget_exhausted",
        status=503,
        error={"message": "no budget", "type": "service_unavailable_error", "code": "rate_budget_exhausted"},
        source=ROUTER,
    ),
    Refusal(
        name="new-api new_api_error",
        status=500,
        error=said("unexpected EOF (request id: 1)", "new_api_error", "bad_response"),
        source=NEW_API,
        dialect="newapi",
    ),
    Refusal(
        name="new-api upstream_error",
        status=502,
        error=said("bad response status code 502", "upstream_error", "bad_response_status_code"),
        source=NEW_API,
        dialect="newapi",
    ),
    Refusal(
        name="new-api passes an error of OpenAI's on",
        status=500,
        error=said("The server had an error while processing your request.", "server_error", ""),
        source=NEW_API,
        dialect="newapi",
    ),
    Refusal(
        name="Burncloud new_api_error",
        status=500,
        error=said("unexpected EOF (request id: 1)", "new_api_error", "bad_response"),
        source=NEW_API,
        dialect="burncloud",
    ),
)
