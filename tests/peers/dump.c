/* SPDX-License-Identifier: Apache-2.0 */
#include "dump.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void print(pra_buffer *out, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(text) || pra_buffer_append(out, text, (size_t)len))
        abort();
}

static uint64_t bits(const double *value)
{
    uint64_t u;
    memcpy(&u, value, sizeof(u));
    return u;
}

/* ":" and the bytes, so that an empty string is a word too. */
static void put_span(pra_buffer *out, const char *base, pra_span span)
{
    print(out, " :");
    for (uint32_t i = 0; i < span.len; i++)
        print(out, "%02x", (unsigned char)base[span.off + i]);
}

static void put_labels(pra_buffer *out, const char *base, const pra_label_span *labels,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_span(out, base, labels[i].name);
        put_span(out, base, labels[i].value);
    }
}

static void put_spans(pra_buffer *out, const pra_bucket_span *spans, pra_range range)
{
    print(out, " ");
    for (uint32_t i = 0; i < range.count; i++)
        print(out, "%" PRId32 ":%" PRIu32 ",", spans[range.start + i].offset,
              spans[range.start + i].length);
    print(out, ";");
}

static void put_integers(pra_buffer *out, const int64_t *values, pra_range range)
{
    print(out, " ");
    for (uint32_t i = 0; i < range.count; i++)
        print(out, "%" PRId64 ",", values[range.start + i]);
    print(out, ";");
}

static void put_floats(pra_buffer *out, const double *values, pra_range range)
{
    print(out, " ");
    for (uint32_t i = 0; i < range.count; i++)
        print(out, "%" PRIx64 ",", bits(&values[range.start + i]));
    print(out, ";");
}

static void put_histogram(pra_buffer *out, const pra_columns *c, const pra_histogram *h)
{
    print(out,
          "histogram %" PRId64 " %" PRId64 " %d %d %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIx64
          " %d %d",
          h->timestamp_ms, h->start_timestamp_ms, (h->flags & PRA_HISTOGRAM_FLOAT) != 0,
          (h->flags & PRA_HISTOGRAM_ZERO_FLOAT) != 0, h->count_bits, h->zero_count_bits,
          bits(&h->sum), bits(&h->zero_threshold), h->schema, h->reset_hint);
    put_spans(out, c->bucket_spans, h->positive_spans);
    put_spans(out, c->negative_bucket_spans, h->negative_spans);
    put_integers(out, c->positive_deltas, h->positive_deltas);
    put_integers(out, c->negative_deltas, h->negative_deltas);
    put_floats(out, c->positive_counts, h->positive_counts);
    put_floats(out, c->negative_counts, h->negative_counts);
    put_floats(out, c->custom_values, h->custom_values);
    print(out, "\n");
}

static void put_exemplar(pra_buffer *out, const pra_columns *c, uint32_t index)
{
    uint32_t start = c->exemplar_label_offsets[index];
    print(out, "exemplar %" PRId64 " %" PRIx64, c->exemplar_timestamps_ms[index],
          bits(&c->exemplar_values[index]));
    put_labels(out, c->base, c->exemplar_labels + start,
               c->exemplar_label_offsets[index + 1] - start);
    print(out, "\n");
}

static void put_series(pra_buffer *out, const pra_columns *c, size_t index)
{
    pra_series s = {.size = sizeof(s)};
    if (pra_columns_series(c, index, &s))
        abort();
    print(out, "series");
    put_labels(out, s.base, s.labels, s.label_count);
    print(out, "\n");
    for (size_t i = 0; i < s.sample_count; i++)
        print(out, "sample %" PRId64 " %" PRIx64 " %" PRId64 "\n", s.timestamps_ms[i],
              bits(&s.values[i]), s.start_timestamps_ms ? s.start_timestamps_ms[i] : 0);
    for (size_t i = 0; i < s.histogram_count; i++)
        put_histogram(out, c, &s.histograms[i]);
    for (uint32_t i = 0; i < s.exemplars.count; i++)
        put_exemplar(out, c, s.exemplars.start + i);
}

void dump_columns(pra_buffer *out, const pra_columns *columns)
{
    for (size_t i = 0; i < columns->series_count; i++)
        put_series(out, columns, i);
    for (size_t i = 0; i < columns->metadata_count; i++) {
        const pra_metadata *m = &columns->metadata[i];
        print(out, "metadata %d %" PRId64, m->type,
              m->series == UINT32_MAX ? -1 : (int64_t)m->series);
        put_span(out, columns->base, m->family);
        put_span(out, columns->base, m->help);
        put_span(out, columns->base, m->unit);
        print(out, "\n");
    }
}
