# SPDX-License-Identifier: Apache-2.0
"""A receiver of remote write as it is usually written by hand: FastAPI, protobuf and cramjam.

It knows remote write 1.0, believes what it is sent, and its store does nothing.
"""

import cramjam
from fastapi import FastAPI, Request, Response
from peer import WriteRequest

app = FastAPI()


def store(labels, samples):
    pass


@app.post("/api/v1/write")
async def write(request: Request) -> Response:
    body = await request.body()
    message = WriteRequest()
    message.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
    for series in message.timeseries:
        labels = {label.name: label.value for label in series.labels}
        samples = [(sample.timestamp, sample.value) for sample in series.samples]
        store(labels, samples)
    return Response(status_code=204)
