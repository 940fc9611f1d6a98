/* SPDX-License-Identifier: Apache-2.0 */
/* Columns to remote write 1.0. A series is sized, room is made once, then it is written. */
#include <pra_proto/remote.pb.h>

#include "base/buffer.h"
#include "message/histogram_encode.h"
#include "message/label_encode.h"
#include "message/write_request.h"
#include "wire/tlv.h"

/* ---- labels, samples, exemplars */

static size_t labels_size(uint32_t number, const pra_label_span *labels, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pra__label_field_size(number, labels[i].name.len, labels[i].value.len);
    return size;
}

static uint8_t *put_labels(uint8_t *p, uint32_t number, const char *base,
                           const pra_label_span *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const pra_label_span *l = &labels[i];
        p = pra__put_label_field(p, number, (pra_str){base + l->name.off, l->name.len},
                                 (pra_str){base + l->value.off, l->value.len});
    }
    return p;
}

static size_t sample_size(const double *value, int64_t timestamp_ms)
{
    return pra__double_field_size(prom_Sample_value_tag, value) +
           pra__varint_field_size(prom_Sample_timestamp_tag, (uint64_t)timestamp_ms);
}

static size_t samples_size(const pra_series *s)
{
    size_t size = 0;
    for (size_t i = 0; i < s->sample_count; i++)
        size += pra__bytes_field_size(prom_TimeSeries_samples_tag,
                                      sample_size(&s->values[i], s->timestamps_ms[i]));
    return size;
}

static uint8_t *put_samples(uint8_t *p, const pra_series *s)
{
    for (size_t i = 0; i < s->sample_count; i++) {
        const double *value = &s->values[i];
        int64_t timestamp = s->timestamps_ms[i];
        p = pra__put_head(p, prom_TimeSeries_samples_tag, sample_size(value, timestamp));
        p = pra__put_double_field(p, prom_Sample_value_tag, value);
        p = pra__put_varint_field(p, prom_Sample_timestamp_tag, (uint64_t)timestamp);
    }
    return p;
}

struct exemplar {
    const pra_label_span *labels;
    size_t label_count;
    const double *value;
    int64_t timestamp_ms;
};

static struct exemplar exemplar_at(const pra_columns *c, size_t i)
{
    const uint32_t *offsets = c->exemplar_label_offsets + i;
    size_t count = offsets[1] - offsets[0];
    return (struct exemplar){count ? c->exemplar_labels + offsets[0] : NULL, count,
                             &c->exemplar_values[i], c->exemplar_timestamps_ms[i]};
}

static size_t exemplar_size(const struct exemplar *e)
{
    return labels_size(prom_Exemplar_labels_tag, e->labels, e->label_count) +
           pra__double_field_size(prom_Exemplar_value_tag, e->value) +
           pra__varint_field_size(prom_Exemplar_timestamp_tag, (uint64_t)e->timestamp_ms);
}

static size_t exemplars_size(const pra_columns *c, pra_range range)
{
    size_t size = 0;
    for (size_t i = 0; i < range.count; i++) {
        struct exemplar e = exemplar_at(c, range.start + i);
        size += pra__bytes_field_size(prom_TimeSeries_exemplars_tag, exemplar_size(&e));
    }
    return size;
}

static uint8_t *put_exemplars(uint8_t *p, const pra_columns *c, pra_range range)
{
    for (size_t i = 0; i < range.count; i++) {
        struct exemplar e = exemplar_at(c, range.start + i);
        p = pra__put_head(p, prom_TimeSeries_exemplars_tag, exemplar_size(&e));
        p = put_labels(p, prom_Exemplar_labels_tag, c->base, e.labels, e.label_count);
        p = pra__put_double_field(p, prom_Exemplar_value_tag, e.value);
        p = pra__put_varint_field(p, prom_Exemplar_timestamp_tag, (uint64_t)e.timestamp_ms);
    }
    return p;
}

/* ---- histograms */

static size_t histograms_size(const pra_columns *c, const pra_series *s)
{
    size_t size = 0;
    for (size_t i = 0; i < s->histogram_count; i++)
        size += pra__bytes_field_size(prom_TimeSeries_histograms_tag,
                                      pra__histogram_size(c, &s->histograms[i]));
    return size;
}

static uint8_t *put_histograms(uint8_t *p, const pra_columns *c, const pra_series *s)
{
    for (size_t i = 0; i < s->histogram_count; i++) {
        p = pra__put_head(p, prom_TimeSeries_histograms_tag,
                          pra__histogram_size(c, &s->histograms[i]));
        p = pra__put_histogram(p, c, &s->histograms[i]);
    }
    return p;
}

/* ---- the request */

static int encode_series(const pra_columns *c, const pra_series *s, pra_buffer *out)
{
    size_t size = labels_size(prom_TimeSeries_labels_tag, s->labels, s->label_count) +
                  samples_size(s) + exemplars_size(c, s->exemplars) + histograms_size(c, s);
    int rc =
        pra__buffer_reserve(out, pra__bytes_field_size(prom_WriteRequest_timeseries_tag, size));
    if (rc)
        return rc;
    uint8_t *p = out->data + out->len;
    p = pra__put_head(p, prom_WriteRequest_timeseries_tag, size);
    p = put_labels(p, prom_TimeSeries_labels_tag, c->base, s->labels, s->label_count);
    p = put_samples(p, s);
    p = put_exemplars(p, c, s->exemplars);
    p = put_histograms(p, c, s);
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

static int encode_metadata(const char *base, const pra_metadata *m, pra_buffer *out)
{
    size_t size =
        pra__varint_field_size(prom_MetricMetadata_type_tag, pra__sign_extend(m->type)) +
        pra__string_field_size(prom_MetricMetadata_metric_family_name_tag, m->family.len) +
        pra__string_field_size(prom_MetricMetadata_help_tag, m->help.len) +
        pra__string_field_size(prom_MetricMetadata_unit_tag, m->unit.len);
    int rc = pra__buffer_reserve(out, pra__bytes_field_size(prom_WriteRequest_metadata_tag, size));
    if (rc)
        return rc;
    uint8_t *p = out->data + out->len;
    p = pra__put_head(p, prom_WriteRequest_metadata_tag, size);
    p = pra__put_varint_field(p, prom_MetricMetadata_type_tag, pra__sign_extend(m->type));
    p = pra__put_string_field(p, prom_MetricMetadata_metric_family_name_tag, base + m->family.off,
                              m->family.len);
    p = pra__put_string_field(p, prom_MetricMetadata_help_tag, base + m->help.off, m->help.len);
    p = pra__put_string_field(p, prom_MetricMetadata_unit_tag, base + m->unit.off, m->unit.len);
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

int pra__write_v1_encode(const pra_write_request *req, pra_buffer *out)
{
    const size_t before = out->len;
    pra_columns c = {.size = sizeof(c)};
    pra_series s = {.size = sizeof(s)};
    int rc = pra__columns_view(&req->cols, &c);
    if (!c.base)
        c.base = ""; /* no text: every string is empty */
    for (size_t i = 0; rc == PRA_OK && i < c.series_count; i++) {
        (void)pra_columns_series(&c, i, &s);
        rc = encode_series(&c, &s, out);
    }
    for (size_t i = 0; rc == PRA_OK && i < c.metadata_count; i++)
        rc = encode_metadata(c.base, &c.metadata[i], out);
    if (rc)
        out->len = before;
    return rc;
}
