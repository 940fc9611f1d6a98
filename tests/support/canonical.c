/* SPDX-License-Identifier: Apache-2.0 */
#include "support/canonical.h"

#include <string.h>

#include "base/str.h"

static pra_str str_at(const pra_columns *c, pra_span span)
{
    return (pra_str){c->base + span.off, span.len};
}

static int is_text(const pra_columns *c, pra_span span)
{
    return span.len && (size_t)span.off + span.len <= c->base_len &&
           pra__utf8_valid(str_at(c, span));
}

static const char *labels_fault(const pra_columns *c, const pra_label_span *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_text(c, labels[i].name) || !is_text(c, labels[i].value))
            return "a label is empty, no text, or outside the base";
        if (i && pra__str_compare(str_at(c, labels[i - 1].name), str_at(c, labels[i].name)) >= 0)
            return "labels are not sorted, or repeated";
    }
    return NULL;
}

static int has_metric_name(const pra_columns *c, const pra_label_span *labels, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pra__str_equal(str_at(c, labels[i].name), (pra_str){"__name__", 8}))
            return 1;
    return 0;
}

static const char *refs_fault(const pra_columns *c, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        const pra_symbol_refs refs = c->label_refs[i];
        if (refs.name >= c->symbol_count || refs.value >= c->symbol_count ||
            memcmp(&c->symbols[refs.name], &c->labels[i].name, sizeof(pra_span)) != 0 ||
            memcmp(&c->symbols[refs.value], &c->labels[i].value, sizeof(pra_span)) != 0)
            return "references are not those of the labels";
    }
    return NULL;
}

static const char *exemplar_fault(const pra_columns *c, size_t i, int32_t version)
{
    const uint32_t *offsets = c->exemplar_label_offsets;
    if (offsets[i] > offsets[i + 1] || offsets[i + 1] > c->exemplar_label_count)
        return "labels of an exemplar lie outside their column";
    if (version == PRA_WRITE_V2 && c->exemplar_timestamps_ms[i] == 0)
        return "an exemplar without a timestamp";
    if (offsets[i] == offsets[i + 1])
        return NULL;
    return labels_fault(c, c->exemplar_labels + offsets[i], offsets[i + 1] - offsets[i]);
}

static const char *histogram_fault(const pra_columns *c, size_t i)
{
    const pra_histogram *h = &c->histograms[i];
    if (pra_histogram_validate(c, i, NULL) != PRA_OK)
        return "an invalid histogram";
    if (!(h->flags & PRA_HISTOGRAM_FLOAT) != !(h->flags & PRA_HISTOGRAM_ZERO_FLOAT))
        return "a zero count of another kind than count";
    if (h->flags & PRA_HISTOGRAM_FLOAT ? h->positive_deltas.count || h->negative_deltas.count
                                       : h->positive_counts.count || h->negative_counts.count)
        return "buckets of another kind than count";
    if (pra_histogram_is_stale(h) &&
        (h->schema || h->count_bits || h->zero_count_bits || h->positive_spans.count ||
         h->negative_spans.count || h->custom_values.count || h->zero_threshold != 0))
        return "a stale histogram with something in it";
    return NULL;
}

static int is_range(const uint32_t *offsets, size_t i, size_t count)
{
    return offsets[i] <= offsets[i + 1] && offsets[i + 1] <= count;
}

static const char *series_fault(const pra_columns *c, size_t i, int32_t version)
{
    const char *fault = NULL;
    if (!is_range(c->label_offsets, i, c->label_count) ||
        !is_range(c->sample_offsets, i, c->sample_count) ||
        !is_range(c->exemplar_offsets, i, c->exemplar_count) ||
        !is_range(c->histogram_offsets, i, c->histogram_count))
        return "a range of a series lies outside its column";
    const size_t first = c->label_offsets[i], count = c->label_offsets[i + 1] - first;
    if (count == 0 || !has_metric_name(c, c->labels + first, count))
        return "no metric name";
    fault = labels_fault(c, c->labels + first, count);
    if (!fault && c->label_refs)
        fault = refs_fault(c, first, count);
    for (size_t j = c->exemplar_offsets[i]; !fault && j < c->exemplar_offsets[i + 1]; j++)
        fault = exemplar_fault(c, j, version);
    for (size_t j = c->histogram_offsets[i]; !fault && j < c->histogram_offsets[i + 1]; j++)
        fault = histogram_fault(c, j);
    if (!fault && version == PRA_WRITE_V2 && c->sample_offsets[i] == c->sample_offsets[i + 1] &&
        c->histogram_offsets[i] == c->histogram_offsets[i + 1] &&
        c->exemplar_offsets[i] == c->exemplar_offsets[i + 1])
        fault = "a series without data";
    return fault;
}

const char *canonical_fault(const pra_columns *c, int32_t version)
{
    const char *fault = NULL;
    const size_t n = c->series_count;
    if (c->label_offsets[0] || c->sample_offsets[0] || c->exemplar_offsets[0] ||
        c->histogram_offsets[0])
        return "the first series does not begin at the start";
    if (c->label_offsets[n] != c->label_count || c->sample_offsets[n] != c->sample_count ||
        c->exemplar_offsets[n] != c->exemplar_count ||
        c->histogram_offsets[n] != c->histogram_count)
        return "the last series does not end at the end";
    for (size_t i = 0; i < n && !fault; i++)
        fault = series_fault(c, i, version);
    uint32_t last = 0;
    for (size_t i = 0; i < c->metadata_count && !fault; i++) {
        if (c->metadata[i].series == UINT32_MAX)
            continue;
        if (c->metadata[i].series >= n || c->metadata[i].series < last)
            fault = "metadata of no series, or not in their order";
        last = c->metadata[i].series;
    }
    return fault;
}
