/* SPDX-License-Identifier: Apache-2.0 */
#include "nanopb_peer.h"

#include <pb_decode.h>
#include <pra_proto/remote.pb.h>
#include <stdlib.h>
#include <string.h>

struct nanopb_peer {
    const char *base;
    size_t series_cap, label_cap, sample_cap;
    size_t series, labels, samples;
    uint32_t *label_offsets, *sample_offsets;
    pra_label_span *label;
    int64_t *timestamps;
    double *values;
    /* Submessages are decoded into these; their callbacks stay set. */
    prom_TimeSeries one_series;
    prom_Label one_label;
};

static bool on_string(pb_istream_t *stream, nanopb_peer *peer, pra_span *out)
{
    out->off = (uint32_t)((const char *)stream->state - peer->base);
    out->len = (uint32_t)stream->bytes_left;
    return pb_read(stream, NULL, stream->bytes_left);
}

static bool on_name(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    nanopb_peer *peer = *arg;
    return on_string(stream, peer, &peer->label[peer->labels].name);
}

static bool on_value(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    nanopb_peer *peer = *arg;
    return on_string(stream, peer, &peer->label[peer->labels].value);
}

static bool on_label(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    nanopb_peer *peer = *arg;
    if (peer->labels == peer->label_cap)
        return false;
    peer->label[peer->labels] = (pra_label_span){{0, 0}, {0, 0}};
    if (!pb_decode(stream, prom_Label_fields, &peer->one_label))
        return false;
    peer->labels++;
    return true;
}

static bool on_sample(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    nanopb_peer *peer = *arg;
    prom_Sample sample = prom_Sample_init_zero;
    if (peer->samples == peer->sample_cap || !pb_decode(stream, prom_Sample_fields, &sample))
        return false;
    peer->timestamps[peer->samples] = sample.timestamp;
    peer->values[peer->samples++] = sample.value;
    return true;
}

static bool on_series(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    nanopb_peer *peer = *arg;
    if (peer->series == peer->series_cap)
        return false;
    if (!pb_decode(stream, prom_TimeSeries_fields, &peer->one_series))
        return false;
    peer->series++;
    peer->label_offsets[peer->series] = (uint32_t)peer->labels;
    peer->sample_offsets[peer->series] = (uint32_t)peer->samples;
    return true;
}

static pb_callback_t callback(bool (*fn)(pb_istream_t *, const pb_field_t *, void **), void *arg)
{
    pb_callback_t c;
    memset(&c, 0, sizeof c);
    c.funcs.decode = fn;
    c.arg = arg;
    return c;
}

nanopb_peer *nanopb_peer_new(const pra_columns *like)
{
    nanopb_peer *peer = calloc(1, sizeof *peer);
    bench_require(peer != NULL, "out of memory");
    peer->series_cap = like->series_count;
    peer->label_cap = like->label_count;
    peer->sample_cap = like->sample_count;
    peer->label_offsets = calloc(peer->series_cap + 1, sizeof(uint32_t));
    peer->sample_offsets = calloc(peer->series_cap + 1, sizeof(uint32_t));
    peer->label = calloc(peer->label_cap + 1, sizeof(pra_label_span));
    peer->timestamps = calloc(peer->sample_cap + 1, sizeof(int64_t));
    peer->values = calloc(peer->sample_cap + 1, sizeof(double));
    bench_require(peer->label_offsets && peer->sample_offsets && peer->label && peer->timestamps &&
                      peer->values,
                  "out of memory");
    peer->one_series.labels = callback(on_label, peer);
    peer->one_series.samples = callback(on_sample, peer);
    peer->one_label.name = callback(on_name, peer);
    peer->one_label.value = callback(on_value, peer);
    return peer;
}

void nanopb_peer_decode(nanopb_peer *peer, const char *data, size_t len)
{
    prom_WriteRequest request = prom_WriteRequest_init_zero;
    request.timeseries = callback(on_series, peer);
    peer->base = data;
    peer->series = peer->labels = peer->samples = 0;
    pb_istream_t stream = pb_istream_from_buffer((const pb_byte_t *)data, len);
    bench_require(pb_decode(&stream, prom_WriteRequest_fields, &request), "nanopb refuses");
}

void nanopb_peer_columns(const nanopb_peer *peer, pra_columns *out)
{
    *out = (pra_columns){
        .size = sizeof *out,
        .base = peer->base,
        .series_count = peer->series,
        .label_offsets = peer->label_offsets,
        .labels = peer->label,
        .label_count = peer->labels,
        .sample_offsets = peer->sample_offsets,
        .timestamps_ms = peer->timestamps,
        .values = peer->values,
        .sample_count = peer->samples,
    };
}

void nanopb_peer_free(nanopb_peer *peer)
{
    if (peer == NULL)
        return;
    free(peer->label_offsets);
    free(peer->sample_offsets);
    free(peer->label);
    free(peer->timestamps);
    free(peer->values);
    free(peer);
}
