# SPDX-License-Identifier: Apache-2.0
"""The usual way in Python: message classes of PyPI's protobuf (upb), and cramjam's snappy.

The classes are made here from the schemas of proto/, which equal Prometheus' own on the wire.
"""

from array import array

import cramjam
import numpy
import pyarrow
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import api_implementation

from support import BUILT, require

require(api_implementation.Type() == "upb", "protobuf without upb is no peer")

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString((BUILT / "python" / "schemas.pb").read_bytes()).file:
    _pool.Add(_file)


def message_class(name):
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


WriteRequest = message_class("prometheus.WriteRequest")
WriteRequestV2 = message_class("io.prometheus.write.v2.Request")
ReadRequest = message_class("prometheus.ReadRequest")
ReadResponse = message_class("prometheus.ReadResponse")


def parse(block):
    # As bytes: upb takes no other buffer as quickly.
    return WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(block)))


def columns(block):
    """(label names, label values, where each series' labels end, timestamps, values, where each
    series' samples end)"""
    names, texts, label_ends = [], [], array("I")
    timestamps, values, sample_ends = array("q"), array("d"), array("I")
    for series in parse(block).timeseries:
        for label in series.labels:
            names.append(label.name)
            texts.append(label.value)
        for sample in series.samples:
            timestamps.append(sample.timestamp)
            values.append(sample.value)
        label_ends.append(len(names))
        sample_ends.append(len(timestamps))
    return names, texts, label_ends, timestamps, values, sample_ends


def tables(block):
    """A table of samples and one of labels, as Arrow has them."""
    names, texts, label_ends, timestamps, values, sample_ends = columns(block)
    counts = numpy.diff(sample_ends, prepend=0)
    samples = pyarrow.table({
        "series": numpy.repeat(numpy.arange(len(counts), dtype="uint32"), counts),
        "timestamp": numpy.asarray(timestamps).astype("datetime64[ms]"),
        "value": numpy.asarray(values),
    })
    labels = pyarrow.MapArray.from_arrays(
        numpy.concatenate([[0], label_ends]).astype("int32"),
        pyarrow.array(names).dictionary_encode(),
        pyarrow.array(texts).dictionary_encode(),
    )
    return samples, pyarrow.table({"labels": labels})


def dicts(block):
    return [
        (
            {label.name: label.value for label in series.labels},
            [(sample.timestamp, sample.value) for sample in series.samples],
        )
        for series in parse(block).timeseries
    ]


def iterate(block):
    count, total = 0, 0.0
    for series in parse(block).timeseries:
        for label in series.labels:
            name, text = label.name, label.value
            count += 1
        for sample in series.samples:
            timestamp, value = sample.timestamp, sample.value
            total += value
    return count, total


def dicts_v2(block):
    request = WriteRequestV2.FromString(bytes(cramjam.snappy.decompress_raw(block)))
    symbols = list(request.symbols)
    result = []
    for series in request.timeseries:
        refs = [symbols[ref] for ref in series.labels_refs]
        result.append(
            (
                dict(zip(refs[::2], refs[1::2])),
                [(sample.timestamp, sample.value) for sample in series.samples],
            )
        )
    return result


def response(series):
    """A sampled answer of one query: series of (labels, [(timestamp, value), ...])."""
    message = ReadResponse()
    result = message.results.add()
    for labels, samples in series:
        one = result.timeseries.add()
        for name in sorted(labels):
            one.labels.add(name=name, value=labels[name])
        for timestamp, value in samples:
            one.samples.add(value=value, timestamp=timestamp)
    return bytes(cramjam.snappy.compress_raw(message.SerializeToString()))
