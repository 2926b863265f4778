"""Carries out the requests of lin-kv at one server: a line of JSON in, a line out."""

import json
import sys
import urllib.error
import urllib.request


def call(method, key, body=None, headers={}):
    url = f"{sys.argv[1]}/v1/{key}"
    request = urllib.request.Request(url, body and body.encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=2) as answer:
        return answer.read().decode(), answer.headers["etag"]


def error(code, text):
    return {"type": "error", "code": code, "text": text}


def carry_out(request):
    f, key = request["type"], request["key"]
    try:
        if f == "write":
            call("PUT", key, json.dumps(request["value"]))
            return {"type": "write_ok"}
        text, tag = call("GET", key)
        if f == "read":
            return {"type": "read_ok", "value": json.loads(text)}
        if json.loads(text) != request["from"]:
            return error(22, "another value is there")
        call("PUT", key, json.dumps(request["to"]), {"if-match": tag})
        return {"type": "cas_ok"}
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return {"type": "read_ok", "value": None} if f == "read" else error(22, "not there")
        return error(22 if e.code == 412 else 13, str(e))
    except urllib.error.URLError as e:
        # Code 11 promises that nothing happened: the connection was refused.
        return error(11 if isinstance(e.reason, ConnectionRefusedError) else 13, str(e))
    except OSError as e:
        return error(13, str(e))


for line in sys.stdin:
    print(json.dumps(carry_out(json.loads(line))), flush=True)
