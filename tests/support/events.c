/* SPDX-License-Identifier: Apache-2.0 */
#include "support/events.h"

#include <inttypes.h>
#include <string.h>

void events_label(struct text *t, const char *indent, pra_str name, pra_str value)
{
    text_printf(t, "%slabel ", indent);
    text_quoted(t, name.ptr, name.len);
    text_printf(t, "=");
    text_quoted(t, value.ptr, value.len);
    text_printf(t, "\n");
}

uint64_t bits_of(const double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof(bits));
    return bits;
}

void events_sample(struct text *t, int64_t timestamp_ms, uint64_t value_bits, int64_t start_ms)
{
    text_printf(t, "  sample %" PRId64 " 0x%" PRIx64, timestamp_ms, value_bits);
    if (start_ms)
        text_printf(t, " start=%" PRId64, start_ms);
    text_printf(t, "\n");
}

void events_exemplar(struct text *t, int64_t timestamp_ms, uint64_t value_bits)
{
    text_printf(t, "  exemplar %" PRId64 " 0x%" PRIx64 "\n", timestamp_ms, value_bits);
}

void events_histogram(struct text *t, const pra_histogram *h)
{
    text_printf(t,
                "  histogram %" PRId64 " start=%" PRId64 " count=%s%" PRIx64
                " zero_count=%s%" PRIx64 " sum=0x%" PRIx64 " zero_threshold=0x%" PRIx64
                " schema=%" PRId32 " reset=%" PRId32 "\n",
                h->timestamp_ms, h->start_timestamp_ms,
                h->flags & PRA_HISTOGRAM_FLOAT ? "float:" : "int:", h->count_bits,
                h->flags & PRA_HISTOGRAM_ZERO_FLOAT ? "float:" : "int:", h->zero_count_bits,
                bits_of(&h->sum), bits_of(&h->zero_threshold), h->schema, h->reset_hint);
}

void events_metadata(struct text *t, int32_t type, pra_str family, pra_str help, pra_str unit)
{
    text_printf(t, "metadata %" PRId32 " ", type);
    text_quoted(t, family.ptr, family.len);
    text_printf(t, " ");
    text_quoted(t, help.ptr, help.len);
    text_printf(t, " ");
    text_quoted(t, unit.ptr, unit.len);
    text_printf(t, "\n");
}

void events_described(struct text *t, int32_t type, pra_str help, pra_str unit)
{
    text_printf(t, "  metadata %" PRId32 " ", type);
    text_quoted(t, help.ptr, help.len);
    text_printf(t, " ");
    text_quoted(t, unit.ptr, unit.len);
    text_printf(t, "\n");
}

static pra_str str_at(const pra_columns *c, pra_span span)
{
    return (pra_str){span.len ? c->base + span.off : NULL, span.len};
}

static void labels(struct text *t, const char *indent, const pra_columns *c,
                   const pra_label_span *spans, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        events_label(t, indent, str_at(c, spans[i].name), str_at(c, spans[i].value));
}

static void exemplars(struct text *t, const pra_columns *c, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        events_exemplar(t, c->exemplar_timestamps_ms[i], bits_of(&c->exemplar_values[i]));
        labels(t, "    ", c, c->exemplar_labels, c->exemplar_label_offsets[i],
               c->exemplar_label_offsets[i + 1]);
    }
}

static void spans(struct text *t, const char *name, const pra_bucket_span *s, pra_range range)
{
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++)
        text_printf(t, "    %s %" PRId32 " %" PRIu32 "\n", name, s[i].offset, s[i].length);
}

static void deltas(struct text *t, const char *name, const int64_t *d, pra_range range)
{
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++)
        text_printf(t, "    %s %" PRId64 "\n", name, d[i]);
}

static void doubles(struct text *t, const char *name, const double *d, pra_range range)
{
    for (size_t i = range.start; i < (size_t)range.start + range.count; i++)
        text_printf(t, "    %s 0x%" PRIx64 "\n", name, bits_of(&d[i]));
}

static void histograms(struct text *t, const pra_columns *c, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const pra_histogram *h = &c->histograms[i];
        events_histogram(t, h);
        spans(t, "positive_span", c->bucket_spans, h->positive_spans);
        spans(t, "negative_span", c->negative_bucket_spans, h->negative_spans);
        deltas(t, "positive_delta", c->positive_deltas, h->positive_deltas);
        deltas(t, "negative_delta", c->negative_deltas, h->negative_deltas);
        doubles(t, "positive_count", c->positive_counts, h->positive_counts);
        doubles(t, "negative_count", c->negative_counts, h->negative_counts);
        doubles(t, "custom_value", c->custom_values, h->custom_values);
    }
}

static void described(struct text *t, const pra_columns *c, size_t series)
{
    for (size_t i = 0; i < c->metadata_count; i++)
        if (c->metadata[i].series == series)
            events_described(t, c->metadata[i].type, str_at(c, c->metadata[i].help),
                             str_at(c, c->metadata[i].unit));
}

void events_series(struct text *t, const pra_columns *c, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        text_printf(t, "series\n");
        labels(t, "  ", c, c->labels, c->label_offsets[i], c->label_offsets[i + 1]);
        for (size_t j = c->sample_offsets[i]; j < c->sample_offsets[i + 1]; j++)
            events_sample(t, c->timestamps_ms[j], bits_of(&c->values[j]),
                          c->start_timestamps_ms ? c->start_timestamps_ms[j] : 0);
        exemplars(t, c, c->exemplar_offsets[i], c->exemplar_offsets[i + 1]);
        histograms(t, c, c->histogram_offsets[i], c->histogram_offsets[i + 1]);
        described(t, c, i);
    }
}

void events_columns(struct text *t, const pra_columns *c)
{
    events_series(t, c, 0, c->series_count);
    for (size_t i = 0; i < c->metadata_count; i++) {
        const pra_metadata *m = &c->metadata[i];
        if (m->series == UINT32_MAX)
            events_metadata(t, m->type, str_at(c, m->family), str_at(c, m->help),
                            str_at(c, m->unit));
    }
}

void events_matcher(struct text *t, int32_t type, pra_str name, pra_str value)
{
    text_printf(t, "  matcher %" PRId32 " ", type);
    text_quoted(t, name.ptr, name.len);
    text_printf(t, " ");
    text_quoted(t, value.ptr, value.len);
    text_printf(t, "\n");
}

void events_hints(struct text *t, const pra_read_hints *h)
{
    if (!h->present)
        return;
    text_printf(t,
                "  hints step=%" PRId64 " start=%" PRId64 " end=%" PRId64 " range=%" PRId64
                " by=%" PRId32 " func=",
                h->step_ms, h->start_ms, h->end_ms, h->range_ms, h->by);
    text_quoted(t, h->func.ptr, h->func.len);
    for (size_t i = 0; i < h->grouping_count; i++) {
        text_printf(t, " ");
        text_quoted(t, h->grouping[i].ptr, h->grouping[i].len);
    }
    text_printf(t, "\n");
}

void events_read_request(struct text *t, const pra_read_request *req)
{
    const int32_t *accepted;
    for (size_t i = 0; i < pra_read_request_query_count(req); i++) {
        const pra_query *q = pra_read_request_query(req, i);
        pra_read_hints hints = {.size = sizeof(hints)};
        text_printf(t, "query %" PRId64 " %" PRId64 "\n", pra_query_start_ms(q),
                    pra_query_end_ms(q));
        for (size_t j = 0; j < pra_query_matcher_count(q); j++) {
            const pra_matcher *m = pra_query_matcher(q, j);
            pra_str name, value;
            pra_matcher_name(m, &name);
            pra_matcher_value(m, &value);
            events_matcher(t, pra_matcher_type(m), name, value);
        }
        (void)pra_query_hints(q, &hints);
        events_hints(t, &hints);
    }
    size_t n = pra_read_request_accepted(req, &accepted);
    for (size_t i = 0; i < n; i++)
        text_printf(t, "accepts %" PRId32 "\n", accepted[i]);
}

void events_read_response(struct text *t, const pra_read_response *resp)
{
    pra_columns c = {.size = sizeof(c)};
    const uint32_t *offsets;
    size_t n = pra_read_response_results(resp, &offsets);
    (void)pra_read_response_columns(resp, &c);
    for (size_t i = 0; i < n; i++) {
        text_printf(t, "result\n");
        events_series(t, &c, offsets[i], offsets[i + 1]);
    }
}

void events_strike(struct text *t, const char *text, int only_text)
{
    struct text kept = {0};
    text_bytes(&kept, "", 0);
    for (const char *line = t->data; *line;) {
        const char *end = strchr(line, '\n') + 1;
        const char *found = strstr(line, text);
        if (!found || found >= end) {
            text_bytes(&kept, line, (size_t)(end - line));
        } else if (only_text) {
            const char *rest = found + 1 + strcspn(found + 1, " \n");
            text_bytes(&kept, line, (size_t)(found - line));
            text_bytes(&kept, rest, (size_t)(end - rest));
        }
        line = end;
    }
    text_free(t);
    *t = kept;
}
