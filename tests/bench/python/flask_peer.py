# SPDX-License-Identifier: Apache-2.0
"""fastapi_peer.py once more, with Flask."""

import cramjam
from flask import Flask, Response, request
from peer import WriteRequest

app = Flask(__name__)


def store(labels, samples):
    pass


@app.post("/api/v1/write")
def write() -> Response:
    message = WriteRequest()
    message.ParseFromString(bytes(cramjam.snappy.decompress_raw(request.get_data())))
    for series in message.timeseries:
        labels = {label.name: label.value for label in series.labels}
        samples = [(sample.timestamp, sample.value) for sample in series.samples]
        store(labels, samples)
    return Response(status=204)
