/* SPDX-License-Identifier: Apache-2.0 */
/* A series of a sampled answer: sized once and written once. */
#include <string.h>

#include <pra_proto/remote.pb.h>

#include "message/histogram_encode.h"
#include "message/series_sink.h"
#include "wire/tlv.h"

/* ---- samples */

enum {
    KEY_SAMPLE = prom_TimeSeries_samples_tag << 3 | PRA__WIRE_BYTES,
    KEY_VALUE = prom_Sample_value_tag << 3 | PRA__WIRE_FIXED64,
    KEY_TIMESTAMP = prom_Sample_timestamp_tag << 3 | PRA__WIRE_VARINT,
    VALUE_SIZE = 9, /* of a value that is not zero, with its key */
    OVERRUN = 9     /* bytes that may be written behind the last sample: two zeros are 2 of 11 */
};

/* Bytes of a timestamp with its key; 0 is not written. */
static size_t timestamp_size(int64_t timestamp_ms)
{
    return timestamp_ms ? 1 + pra__varint_size((uint64_t)timestamp_ms) : 0;
}

static int is_zero(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof(bits));
    return bits == 0;
}

/* In an increasing column of timestamps the sizes do not change between two of one size and sign.
 */
static int same_size(const int64_t *timestamps_ms, size_t count)
{
    int64_t first = timestamps_ms[0];
    int64_t last = timestamps_ms[count - 1];
    return (first > 0 || last < 0) && timestamp_size(first) == timestamp_size(last);
}

/* Bytes of all samples with their keys and lengths. */
static size_t samples_size(const int64_t *timestamps_ms, const double *values, size_t count)
{
    size_t zeros = 0;
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        zeros += (size_t)is_zero(&values[i]);
    if (same_size(timestamps_ms, count))
        size = count * timestamp_size(timestamps_ms[0]);
    else
        for (size_t i = 0; i < count; i++)
            size += timestamp_size(timestamps_ms[i]);
    return size + 2 * count + VALUE_SIZE * (count - zeros);
}

/* v below 2^56 as a varint of size bytes, in the low bytes of a word: its groups of 7 bits are
 * moved apart, then marked. */
static uint64_t spread_varint(uint64_t v, size_t size)
{
    v = (v & 0x000000000fffffff) | (v & 0x00fffffff0000000) << 4;
    v = (v & 0x00003fff00003fff) | (v & 0x0fffc0000fffc000) << 2;
    v = (v & 0x007f007f007f007f) | (v & 0x3f803f803f803f80) << 1;
    return v | (UINT64_C(0x8080808080808080) & ((UINT64_C(1) << (8 * (size - 1))) - 1));
}

static uint8_t *put_sample(uint8_t *p, int64_t timestamp_ms, const double *value, size_t time_size)
{
    size_t value_size = is_zero(value) ? 0 : VALUE_SIZE;
    p[0] = KEY_SAMPLE;
    p[1] = (uint8_t)(value_size + time_size);
    p[2] = KEY_VALUE;
    pra__put_fixed64(p + 3, value); /* what follows covers it if it is zero */
    p += 2 + value_size;
    if (time_size == 0)
        return p;
    p[0] = KEY_TIMESTAMP;
    if (time_size <= 9) {
        uint64_t word = spread_varint((uint64_t)timestamp_ms, time_size - 1);
        pra__put_fixed64(p + 1, &word);
        return p + time_size;
    }
    return pra__put_varint(p + 1, (uint64_t)timestamp_ms);
}

static uint8_t *put_samples(uint8_t *p, const int64_t *timestamps_ms, const double *values,
                            size_t count)
{
    if (same_size(timestamps_ms, count)) {
        const size_t time_size = timestamp_size(timestamps_ms[0]);
        for (size_t i = 0; i < count; i++)
            p = put_sample(p, timestamps_ms[i], &values[i], time_size);
    } else {
        for (size_t i = 0; i < count; i++)
            p = put_sample(p, timestamps_ms[i], &values[i], timestamp_size(timestamps_ms[i]));
    }
    return p;
}

/* ---- histograms */

static size_t held_size(const struct pra__pending *p, const pra_columns *c)
{
    size_t size = 0;
    for (size_t i = 0; i < p->held_count; i++)
        size += pra__bytes_field_size(
            prom_TimeSeries_histograms_tag,
            pra__histogram_size(c, &c->histograms[p->held[i].index], PRA_WRITE_V1));
    return size;
}

static uint8_t *put_held(uint8_t *at, const struct pra__pending *p, const pra_columns *c)
{
    for (size_t i = 0; i < p->held_count; i++) {
        const pra_histogram *h = &c->histograms[p->held[i].index];
        at = pra__put_head(at, prom_TimeSeries_histograms_tag,
                           pra__histogram_size(c, h, PRA_WRITE_V1));
        at = pra__put_histogram(at, c, h, PRA_WRITE_V1);
    }
    return at;
}

/* ---- the series */

int pra__sink_encode_sampled(pra_series_sink *sink, const int64_t *timestamps_ms,
                             const double *values, size_t count, pra_error *err)
{
    const struct pra__pending *p = &sink->pending;
    pra_columns c = {.size = sizeof(c)};
    if (count == 0 && p->held_count == 0)
        return PRA_OK;
    if (p->held_count)
        pra__pending_columns(p, &c);
    size_t samples = count ? samples_size(timestamps_ms, values, count) : 0;
    size_t body = sink->labels.len + samples + held_size(p, &c);
    size_t total = pra__bytes_field_size(prom_QueryResult_timeseries_tag, body);
    int rc = pra__sink_take_samples(sink, count + p->held_count, err);
    if (rc || (rc = pra__sink_take_bytes(sink, total, err)) != PRA_OK)
        return rc;
    if (pra__buffer_reserve(&sink->series, total + OVERRUN))
        return pra__sink_fail_nomem(sink, err);
    uint8_t *at = sink->series.data + sink->series.len;
    at = pra__put_head(at, prom_QueryResult_timeseries_tag, body);
    at = pra__put_bytes(at, sink->labels.data, sink->labels.len);
    if (count)
        at = put_samples(at, timestamps_ms, values, count);
    (void)put_held(at, p, &c);
    sink->series.len += total;
    sink->series_count++;
    sink->sample_count += count;
    sink->histogram_count += p->held_count;
    return PRA_OK;
}
