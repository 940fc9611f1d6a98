/* SPDX-License-Identifier: Apache-2.0 */
#include "message/histogram_encode.h"

#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>

#include "base/buffer.h"
#include "message/columns.h"
#include "wire/tlv.h"

/* ---- buckets */

static size_t span_size(const pra_bucket_span *s)
{
    return pra__varint_field_size(prom_BucketSpan_offset_tag, pra__zigzag32(s->offset)) +
           pra__varint_field_size(prom_BucketSpan_length_tag, s->length);
}

static size_t spans_size(uint32_t number, const pra_bucket_span *spans, pra_range range)
{
    size_t size = 0;
    for (size_t i = 0; i < range.count; i++)
        size += pra__bytes_field_size(number, span_size(&spans[range.start + i]));
    return size;
}

static uint8_t *put_spans(uint8_t *p, uint32_t number, const pra_bucket_span *spans,
                          pra_range range)
{
    for (size_t i = 0; i < range.count; i++) {
        const pra_bucket_span *s = &spans[range.start + i];
        p = pra__put_head(p, number, span_size(s));
        p = pra__put_varint_field(p, prom_BucketSpan_offset_tag, pra__zigzag32(s->offset));
        p = pra__put_varint_field(p, prom_BucketSpan_length_tag, s->length);
    }
    return p;
}

static size_t deltas_bytes(const int64_t *deltas, pra_range range)
{
    size_t size = 0;
    for (size_t i = 0; i < range.count; i++)
        size += pra__varint_size(pra__zigzag64(deltas[range.start + i]));
    return size;
}

static size_t deltas_size(uint32_t number, const int64_t *deltas, pra_range range)
{
    return pra__string_field_size(number, deltas_bytes(deltas, range));
}

static uint8_t *put_deltas(uint8_t *p, uint32_t number, const int64_t *deltas, pra_range range)
{
    if (range.count == 0)
        return p;
    p = pra__put_head(p, number, deltas_bytes(deltas, range));
    for (size_t i = 0; i < range.count; i++)
        p = pra__put_varint(p, pra__zigzag64(deltas[range.start + i]));
    return p;
}

static size_t doubles_size(uint32_t number, pra_range range)
{
    return pra__string_field_size(number, (size_t)range.count * 8);
}

static uint8_t *put_doubles(uint8_t *p, uint32_t number, const double *values, pra_range range)
{
    if (range.count == 0)
        return p;
    p = pra__put_head(p, number, (size_t)range.count * 8);
    for (size_t i = 0; i < range.count; i++)
        p = pra__put_fixed64(p, &values[range.start + i]);
    return p;
}

static size_t buckets_size(const pra_columns *c, const pra_histogram *h)
{
    return spans_size(prom_Histogram_negative_spans_tag, c->negative_bucket_spans,
                      h->negative_spans) +
           deltas_size(prom_Histogram_negative_deltas_tag, c->negative_deltas, h->negative_deltas) +
           doubles_size(prom_Histogram_negative_counts_tag, h->negative_counts) +
           spans_size(prom_Histogram_positive_spans_tag, c->bucket_spans, h->positive_spans) +
           deltas_size(prom_Histogram_positive_deltas_tag, c->positive_deltas, h->positive_deltas) +
           doubles_size(prom_Histogram_positive_counts_tag, h->positive_counts);
}

static uint8_t *put_buckets(uint8_t *p, const pra_columns *c, const pra_histogram *h)
{
    p = put_spans(p, prom_Histogram_negative_spans_tag, c->negative_bucket_spans,
                  h->negative_spans);
    p = put_deltas(p, prom_Histogram_negative_deltas_tag, c->negative_deltas, h->negative_deltas);
    p = put_doubles(p, prom_Histogram_negative_counts_tag, c->negative_counts, h->negative_counts);
    p = put_spans(p, prom_Histogram_positive_spans_tag, c->bucket_spans, h->positive_spans);
    p = put_deltas(p, prom_Histogram_positive_deltas_tag, c->positive_deltas, h->positive_deltas);
    return put_doubles(p, prom_Histogram_positive_counts_tag, c->positive_counts,
                       h->positive_counts);
}

/* ---- the histogram */

/* A member of a oneof is written even if it is zero: its presence says which one it is [W-47]. */
static size_t count_size(uint32_t int_number, uint32_t float_number, uint64_t bits, int is_float)
{
    return is_float ? pra__key_size(float_number) + 8
                    : pra__key_size(int_number) + pra__varint_size(bits);
}

static uint8_t *put_count(uint8_t *p, uint32_t int_number, uint32_t float_number, uint64_t bits,
                          int is_float)
{
    if (is_float)
        return pra__put_fixed64(pra__put_key(p, float_number, PRA__WIRE_FIXED64), &bits);
    return pra__put_varint(pra__put_key(p, int_number, PRA__WIRE_VARINT), bits);
}

/* Version 1.0 has no such field [W-44]. */
static uint64_t start_timestamp(const pra_histogram *h, int version)
{
    return version == PRA_WRITE_V2 ? (uint64_t)h->start_timestamp_ms : 0;
}

size_t pra__histogram_size(const pra_columns *c, const pra_histogram *h, int version)
{
    return count_size(prom_Histogram_count_int_tag, prom_Histogram_count_float_tag, h->count_bits,
                      h->flags & PRA_HISTOGRAM_FLOAT) +
           pra__double_field_size(prom_Histogram_sum_tag, &h->sum) +
           pra__varint_field_size(prom_Histogram_schema_tag, pra__zigzag32(h->schema)) +
           pra__double_field_size(prom_Histogram_zero_threshold_tag, &h->zero_threshold) +
           count_size(prom_Histogram_zero_count_int_tag, prom_Histogram_zero_count_float_tag,
                      h->zero_count_bits, h->flags & PRA_HISTOGRAM_ZERO_FLOAT) +
           buckets_size(c, h) +
           pra__varint_field_size(prom_Histogram_reset_hint_tag, pra__sign_extend(h->reset_hint)) +
           pra__varint_field_size(prom_Histogram_timestamp_tag, (uint64_t)h->timestamp_ms) +
           doubles_size(prom_Histogram_custom_values_tag, h->custom_values) +
           pra__varint_field_size(prom2_Histogram_start_timestamp_tag, start_timestamp(h, version));
}

uint8_t *pra__put_histogram(uint8_t *p, const pra_columns *c, const pra_histogram *h, int version)
{
    p = put_count(p, prom_Histogram_count_int_tag, prom_Histogram_count_float_tag, h->count_bits,
                  h->flags & PRA_HISTOGRAM_FLOAT);
    p = pra__put_double_field(p, prom_Histogram_sum_tag, &h->sum);
    p = pra__put_varint_field(p, prom_Histogram_schema_tag, pra__zigzag32(h->schema));
    p = pra__put_double_field(p, prom_Histogram_zero_threshold_tag, &h->zero_threshold);
    p = put_count(p, prom_Histogram_zero_count_int_tag, prom_Histogram_zero_count_float_tag,
                  h->zero_count_bits, h->flags & PRA_HISTOGRAM_ZERO_FLOAT);
    p = put_buckets(p, c, h);
    p = pra__put_varint_field(p, prom_Histogram_reset_hint_tag, pra__sign_extend(h->reset_hint));
    p = pra__put_varint_field(p, prom_Histogram_timestamp_tag, (uint64_t)h->timestamp_ms);
    p = put_doubles(p, prom_Histogram_custom_values_tag, c->custom_values, h->custom_values);
    return pra__put_varint_field(p, prom2_Histogram_start_timestamp_tag,
                                 start_timestamp(h, version));
}

int pra_histogram_encode(const pra_columns *columns, size_t index, pra_buffer *out)
{
    if (!columns || !out || columns->size < sizeof(*columns) || index >= columns->histogram_count)
        return PRA_ERR_INVALID_ARG;
    const pra_histogram *h = &columns->histograms[index];
    int rc = pra__check_bucket_ranges(columns, h);
    if (rc == PRA_OK)
        rc = pra__buffer_reserve(out, pra__histogram_size(columns, h, PRA_WRITE_V2));
    if (rc)
        return rc;
    uint8_t *end = pra__put_histogram(out->data + out->len, columns, h, PRA_WRITE_V2);
    out->len = (size_t)(end - out->data);
    return PRA_OK;
}
