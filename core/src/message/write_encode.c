/* SPDX-License-Identifier: Apache-2.0 */
/* Columns to remote write 1.0. A series is sized, room is made once, then it is written. */
#include <pra_proto/remote.pb.h>

#include "base/buffer.h"
#include "message/label_encode.h"
#include "message/metadata.h"
#include "message/series_encode.h"
#include "message/strings.h"
#include "message/write_request.h"
#include "wire/tlv.h"

/* ---- labels, exemplars */

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

/* ---- the request */

static int encode_series(const pra_columns *c, const pra_series *s, pra_buffer *out)
{
    size_t size = labels_size(prom_TimeSeries_labels_tag, s->labels, s->label_count) +
                  pra__samples_size(s, PRA_WRITE_V1) + exemplars_size(c, s->exemplars) +
                  pra__histograms_size(c, s, PRA_WRITE_V1);
    int rc =
        pra__buffer_reserve(out, pra__bytes_field_size(prom_WriteRequest_timeseries_tag, size));
    if (rc)
        return rc;
    uint8_t *p = out->data + out->len;
    p = pra__put_head(p, prom_WriteRequest_timeseries_tag, size);
    p = put_labels(p, prom_TimeSeries_labels_tag, c->base, s->labels, s->label_count);
    p = pra__put_samples(p, s, PRA_WRITE_V1);
    p = put_exemplars(p, c, s->exemplars);
    p = pra__put_histograms(p, c, s, PRA_WRITE_V1);
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

/* What came with a series becomes one entry of its family [W-46]. */
static int encode_series_metadata(struct pra__strings *families, const pra_columns *c,
                                  const pra_metadata *m, pra_buffer *out)
{
    const size_t known = pra__strings_count(families);
    pra_metadata entry = *m;
    uint32_t index;
    entry.family = pra__family_of(c, m);
    if (entry.family.len == 0)
        return PRA_OK;
    int rc = pra__strings_add(families, entry.family, &index);
    if (rc || pra__strings_count(families) == known)
        return rc;
    return encode_metadata(c->base, &entry, out);
}

static int encode_all_metadata(struct pra__columns *scratch, const pra_columns *c, pra_buffer *out)
{
    struct pra__strings families = {0};
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < c->metadata_count; i++) {
        const pra_metadata *m = &c->metadata[i];
        if (m->series == UINT32_MAX) {
            rc = encode_metadata(c->base, m, out);
            continue;
        }
        if (!families.slots)
            rc = pra__strings_begin(&families, scratch, c->base);
        if (rc == PRA_OK)
            rc = encode_series_metadata(&families, c, m, out);
    }
    return rc;
}

int pra__write_v1_encode(struct pra__columns *scratch, const pra_columns *c, pra_buffer *out)
{
    const size_t before = out->len;
    pra_series s = {.size = sizeof(s)};
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < c->series_count; i++) {
        (void)pra_columns_series(c, i, &s);
        rc = encode_series(c, &s, out);
    }
    if (rc == PRA_OK)
        rc = encode_all_metadata(scratch, c, out);
    if (rc)
        out->len = before;
    return rc;
}
