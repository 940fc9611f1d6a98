/* SPDX-License-Identifier: Apache-2.0 */
#include "message/histogram_decode.h"

#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>

static int read_span_field(struct pra__decoder *d, pra_bucket_span *span)
{
    struct pra__field field;
    uint64_t v;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_BucketSpan_offset_tag:
        rc = pra__read_u64(&d->in, field.wire, &v);
        if (rc == PRA_OK)
            span->offset = pra__unzigzag32(v);
        return rc;
    case prom_BucketSpan_length_tag:
        rc = pra__read_u64(&d->in, field.wire, &v);
        if (rc == PRA_OK)
            span->length = (uint32_t)v;
        return rc;
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_span(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    pra_bucket_span span = {0, 0};
    const uint8_t *outer;
    int rc = pra__columns_room(d->cols, id, 1);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_span_field(d, &span);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    PRA__COLUMN(pra_bucket_span, d->cols, id)[d->cols->col[id].len++] = span;
    return PRA_OK;
}

/* ---- repeated scalars, packed or one by one. Go bounds the elements of a packed field by the end
 * of the message around it: a last element that runs over the field's own end is taken, and what
 * follows is read from behind it. */

/* Elements up to stop, or until the column is full; elements of one and two bytes in line. */
static int take_deltas(struct pra__decoder *d, const uint8_t *stop, struct pra__column *col)
{
    int64_t *deltas = col->data;
    size_t n = col->len;
    const size_t full = col->cap;
    struct pra__reader in = d->in;
    int rc = PRA_OK;
    while (n < full && in.pos < stop) {
        uint64_t v;
        rc = pra__read_varint(&in, &v);
        if (rc)
            break;
        deltas[n++] = pra__unzigzag64(v);
    }
    col->len = n;
    d->in = in;
    return rc;
}

static int read_deltas(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    struct pra__column *col = &d->cols->col[id];
    const uint8_t *start = d->in.pos, *stop;
    size_t len;
    int rc = PRA_OK;
    if (wire == PRA__WIRE_VARINT) {
        if (start == d->in.end)
            return pra__malformed(&d->in, "unexpected end");
        stop = start + 1; /* one element */
    } else {
        rc = pra__read_bytes(&d->in, wire, &start, &len);
        stop = d->in.pos;
        d->in.pos = start;
    }
    while (rc == PRA_OK && d->in.pos < stop) {
        if (col->len == col->cap)
            rc = pra__columns_reserve(d->cols, id, id, col->len + 1);
        if (rc == PRA_OK)
            rc = take_deltas(d, stop, col);
    }
    return rc;
}

static int read_double(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    struct pra__column *col = &d->cols->col[id];
    int rc = pra__columns_room(d->cols, id, 1);
    if (rc == PRA_OK)
        rc = pra__read_fixed64(&d->in, wire, (double *)col->data + col->len);
    if (rc == PRA_OK)
        col->len++;
    return rc;
}

static int read_doubles(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    if (wire == PRA__WIRE_FIXED64)
        return read_double(d, wire, id);
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(&d->in, wire, &start, &len);
    if (rc == PRA_OK)
        rc = pra__columns_room(d->cols, id, (len + 7) / 8);
    if (rc)
        return rc;
    const uint8_t *stop = d->in.pos;
    d->in.pos = start;
    while (rc == PRA_OK && d->in.pos < stop)
        rc = read_double(d, PRA__WIRE_FIXED64, id);
    return rc;
}

/* ---- the histogram */

/* A oneof of an integer and a double: which of them came last is kept in flags [W-47]. */
static int read_count(struct pra__decoder *d, uint32_t wire, pra_histogram *h, uint64_t *bits,
                      uint32_t float_flag, int is_float)
{
    int rc = is_float ? pra__read_fixed64(&d->in, wire, bits) : pra__read_u64(&d->in, wire, bits);
    if (rc == PRA_OK)
        h->flags = is_float ? h->flags | float_flag : h->flags & ~float_flag;
    return rc;
}

static int read_buckets(struct pra__decoder *d, struct pra__field field)
{
    switch (field.number) {
    case prom_Histogram_negative_spans_tag:
        return read_span(d, field.wire, PRA__COL_NEGATIVE_SPANS);
    case prom_Histogram_negative_deltas_tag:
        return read_deltas(d, field.wire, PRA__COL_NEGATIVE_DELTAS);
    case prom_Histogram_negative_counts_tag:
        return read_doubles(d, field.wire, PRA__COL_NEGATIVE_COUNTS);
    case prom_Histogram_positive_spans_tag:
        return read_span(d, field.wire, PRA__COL_POSITIVE_SPANS);
    case prom_Histogram_positive_deltas_tag:
        return read_deltas(d, field.wire, PRA__COL_POSITIVE_DELTAS);
    case prom_Histogram_positive_counts_tag:
        return read_doubles(d, field.wire, PRA__COL_POSITIVE_COUNTS);
    case prom_Histogram_custom_values_tag:
        return read_doubles(d, field.wire, PRA__COL_CUSTOM_VALUES);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_schema(struct pra__decoder *d, uint32_t wire, int32_t *out)
{
    uint64_t v;
    int rc = pra__read_u64(&d->in, wire, &v);
    if (rc == PRA_OK)
        *out = pra__unzigzag32(v);
    return rc;
}

static int read_histogram_field(struct pra__decoder *d, pra_histogram *h)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Histogram_count_int_tag:
        return read_count(d, field.wire, h, &h->count_bits, PRA_HISTOGRAM_FLOAT, 0);
    case prom_Histogram_count_float_tag:
        return read_count(d, field.wire, h, &h->count_bits, PRA_HISTOGRAM_FLOAT, 1);
    case prom_Histogram_sum_tag:
        return pra__read_fixed64(&d->in, field.wire, &h->sum);
    case prom_Histogram_schema_tag:
        return read_schema(d, field.wire, &h->schema);
    case prom_Histogram_zero_threshold_tag:
        return pra__read_fixed64(&d->in, field.wire, &h->zero_threshold);
    case prom_Histogram_zero_count_int_tag:
        return read_count(d, field.wire, h, &h->zero_count_bits, PRA_HISTOGRAM_ZERO_FLOAT, 0);
    case prom_Histogram_zero_count_float_tag:
        return read_count(d, field.wire, h, &h->zero_count_bits, PRA_HISTOGRAM_ZERO_FLOAT, 1);
    case prom_Histogram_reset_hint_tag:
        return pra__read_i32(&d->in, field.wire, &h->reset_hint);
    case prom_Histogram_timestamp_tag:
        return pra__read_i64(&d->in, field.wire, &h->timestamp_ms);
    case prom2_Histogram_start_timestamp_tag:
        if (d->v2)
            return pra__read_i64(&d->in, field.wire, &h->start_timestamp_ms);
        return pra__skip_field(&d->in, field.wire);
    default:
        return read_buckets(d, field);
    }
}

int pra__histogram_decode_bare(struct pra__decoder *d)
{
    pra_histogram h;
    int rc = pra__histogram_begin(d->cols, &h);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_histogram_field(d, &h);
    if (rc == PRA_OK)
        pra__histogram_end(d->cols, &h);
    return rc;
}

int pra__histogram_decode(struct pra__decoder *d, uint32_t wire)
{
    const uint8_t *outer;
    int rc = pra__enter(&d->in, wire, &outer);
    if (rc == PRA_OK)
        rc = pra__histogram_decode_bare(d);
    if (rc == PRA_OK)
        pra__leave(&d->in, outer);
    return rc;
}
