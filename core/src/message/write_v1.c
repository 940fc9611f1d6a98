/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 1.0 into columns. Nearly all bytes of nearly all requests are labels and samples
 * written in one way (0a L 0a n … 12 v …; 12 L 09 … 10 …): a loop for each takes as many as have
 * exactly that shape, and everything else goes through the general reader. */
#include "message/write_v1.h"

#include <pra_proto/remote.pb.h>

#include "message/histogram_decode.h"
#include "message/series_decode.h"

enum {
    KEY_LABEL = prom_TimeSeries_labels_tag << 3 | PRA__WIRE_BYTES,
    KEY_NAME = prom_Label_name_tag << 3 | PRA__WIRE_BYTES,
    KEY_LABEL_VALUE = prom_Label_value_tag << 3 | PRA__WIRE_BYTES
};

/* ---- labels */

static uint64_t at_most_127(uint64_t limit)
{
    return limit < 127 ? limit : 127;
}

/* Takes labels in the usual shape, while there is room for them in the column. */
static void take_plain_labels(struct pra__decoder *d)
{
    struct pra__column *col = &d->cols->col[PRA__COL_LABELS];
    pra_label_span *labels = col->data;
    size_t n = col->len;
    const size_t full = col->cap;
    const uint8_t *p = d->in.pos, *end = d->in.end;
    const uint64_t name_max = at_most_127(d->limits->max_label_name_bytes);
    const uint64_t value_max = at_most_127(d->limits->max_label_value_bytes);

    while (n < full && end - p >= 6 && p[0] == KEY_LABEL && p[2] == KEY_NAME) {
        size_t size = p[1], name = p[3];
        if (size > 127 || size + 2 > (size_t)(end - p) || name > name_max || name + 4 > size)
            break;
        const uint8_t *tail = p + 4 + name;
        size_t value = tail[1];
        if (tail[0] != KEY_LABEL_VALUE || value != size - name - 4 || value > value_max)
            break;
        uint32_t off = pra__offset(d, p);
        labels[n].name = (pra_span){off + 4, (uint32_t)name};
        labels[n].value = (pra_span){off + 6 + (uint32_t)name, (uint32_t)value};
        n++;
        p += size + 2;
    }
    col->len = n;
    d->in.pos = p;
}

static int read_label_field(struct pra__decoder *d, pra_label_span *label)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Label_name_tag:
        return pra__read_span(d, field.wire, &label->name);
    case prom_Label_value_tag:
        return pra__read_span(d, field.wire, &label->value);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

int pra__label_decode(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    pra_label_span label = {{0, 0}, {0, 0}};
    const uint8_t *outer;
    int rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_label_field(d, &label);
    if (rc == PRA_OK)
        rc = pra__check_label(d, &label);
    if (rc == PRA_OK)
        rc = pra__columns_room(d->cols, id, 1);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    PRA__COLUMN(pra_label_span, d->cols, id)[d->cols->col[id].len++] = label;
    return PRA_OK;
}

/* ---- exemplars */

static int read_exemplar_field(struct pra__decoder *d, double *value, int64_t *timestamp)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Exemplar_labels_tag:
        return pra__label_decode(d, field.wire, PRA__COL_EXEMPLAR_LABELS);
    case prom_Exemplar_value_tag:
        return pra__read_fixed64(&d->in, field.wire, value);
    case prom_Exemplar_timestamp_tag:
        return pra__read_i64(&d->in, field.wire, timestamp);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_exemplar(struct pra__decoder *d, uint32_t wire)
{
    const uint8_t *outer;
    double value = 0;
    int64_t timestamp = 0;
    int rc = pra__exemplar_begin(d->cols);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_exemplar_field(d, &value, &timestamp);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    pra__exemplar_end(d->cols, timestamp, &value);
    return PRA_OK;
}

/* ---- series */

static int read_series_field(struct pra__decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_TimeSeries_labels_tag:
        return pra__label_decode(d, field.wire, PRA__COL_LABELS);
    case prom_TimeSeries_samples_tag:
        return pra__sample_decode(d, field.wire);
    case prom_TimeSeries_exemplars_tag:
        return read_exemplar(d, field.wire);
    case prom_TimeSeries_histograms_tag:
        return pra__histogram_decode(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

int pra__time_series_decode(struct pra__decoder *d, uint32_t wire)
{
    struct pra__columns *c = d->cols;
    const uint8_t *outer;
    int rc = pra__columns_mark_series(c);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    if (rc)
        return rc;
    const uint8_t *start = d->in.pos;
    size_t first_label = c->col[PRA__COL_LABELS].len;
    for (;;) {
        take_plain_labels(d);
        pra__take_plain_samples(d);
        if (d->in.pos == d->in.end)
            break;
        rc = read_series_field(d);
        if (rc)
            return rc;
    }
    rc = pra__check_label_count(d, start, c->col[PRA__COL_LABELS].len - first_label);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    c->series++;
    return PRA_OK;
}

/* ---- the request */

static int read_metadata_field(struct pra__decoder *d, pra_metadata *out)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_MetricMetadata_type_tag:
        return pra__read_i32(&d->in, field.wire, &out->type);
    case prom_MetricMetadata_metric_family_name_tag:
        return pra__read_span(d, field.wire, &out->family);
    case prom_MetricMetadata_help_tag:
        return pra__read_span(d, field.wire, &out->help);
    case prom_MetricMetadata_unit_tag:
        return pra__read_span(d, field.wire, &out->unit);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_metadata(struct pra__decoder *d, uint32_t wire)
{
    struct pra__columns *c = d->cols;
    pra_metadata metadata = {.series = UINT32_MAX};
    const uint8_t *outer;
    int rc = pra__columns_room(c, PRA__COL_METADATA, 1);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_metadata_field(d, &metadata);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    PRA__COLUMN(pra_metadata, c, PRA__COL_METADATA)[c->col[PRA__COL_METADATA].len++] = metadata;
    return PRA_OK;
}

static int read_request_field(struct pra__decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_WriteRequest_timeseries_tag:
        return pra__time_series_decode(d, field.wire);
    case prom_WriteRequest_metadata_tag:
        return read_metadata(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

/* First sizes from what requests usually look like: a label in 16 bytes, a series in 128. A wrong
 * guess costs little, growing from nothing costs more than decoding. */
static void expect(struct pra__columns *c, size_t bytes)
{
    size_t most = (size_t)1 << 18;
    size_t labels = bytes / 16 < most ? bytes / 16 : most;
    size_t series = bytes / 128 < most ? bytes / 128 : most;
    pra__columns_expect(c, PRA__COL_LABELS, PRA__COL_LABELS, labels);
    pra__columns_expect(c, PRA__COL_LABEL_OFFSETS, PRA__COL_HISTOGRAM_OFFSETS, series + 1);
    pra__columns_expect(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, series + 1);
}

int pra__write_v1_decode(struct pra__decoder *d)
{
    int rc = PRA_OK;
    expect(d->cols, (size_t)(d->in.end - d->in.pos));
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_request_field(d);
    return rc ? rc : pra__time_series_finish(d);
}
