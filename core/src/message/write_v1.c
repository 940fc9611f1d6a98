/* SPDX-License-Identifier: Apache-2.0 */
/* Remote write 1.0 into columns. Nearly all bytes of nearly all requests are labels and samples
 * written in one way (0a L 0a n … 12 v …; 12 L 09 … 10 …): a loop for each takes as many as have
 * exactly that shape, and everything else goes through the general reader. */
#include "message/write_v1.h"

#include <inttypes.h>
#include <pra_proto/remote.pb.h>

#include "base/error.h"
#include "message/histogram_decode.h"

enum {
    KEY_LABEL = prom_TimeSeries_labels_tag << 3 | PRA__WIRE_BYTES,
    KEY_NAME = prom_Label_name_tag << 3 | PRA__WIRE_BYTES,
    KEY_LABEL_VALUE = prom_Label_value_tag << 3 | PRA__WIRE_BYTES,
    KEY_SAMPLE = prom_TimeSeries_samples_tag << 3 | PRA__WIRE_BYTES,
    KEY_VALUE = prom_Sample_value_tag << 3 | PRA__WIRE_FIXED64,
    KEY_TIMESTAMP = prom_Sample_timestamp_tag << 3 | PRA__WIRE_VARINT
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

static int read_span(struct pra__decoder *d, uint32_t wire, pra_span *out)
{
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(&d->in, wire, &start, &len);
    if (rc == PRA_OK)
        *out = (pra_span){pra__offset(d, start), (uint32_t)len};
    return rc;
}

static int read_label_field(struct pra__decoder *d, pra_label_span *label)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Label_name_tag:
        return read_span(d, field.wire, &label->name);
    case prom_Label_value_tag:
        return read_span(d, field.wire, &label->value);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int check_label(struct pra__decoder *d, const pra_label_span *label)
{
    const pra_limits *l = d->limits;
    if (label->name.len > l->max_label_name_bytes)
        return pra__error(d->err, PRA_ERR_LABEL_NAME_LENGTH, label->name.off,
                          "series %zu: label name of %" PRIu32
                          " bytes is over max_label_name_bytes (%" PRIu64
                          "; raise it with --limit.label-name-length)",
                          d->cols->series, label->name.len, l->max_label_name_bytes);
    if (label->value.len > l->max_label_value_bytes)
        return pra__error(d->err, PRA_ERR_LABEL_VALUE_LENGTH, label->value.off,
                          "series %zu: label value of %" PRIu32
                          " bytes is over max_label_value_bytes (%" PRIu64
                          "; raise it with --limit.label-value-length)",
                          d->cols->series, label->value.len, l->max_label_value_bytes);
    return PRA_OK;
}

static int read_label(struct pra__decoder *d, uint32_t wire, enum pra__column_id id)
{
    pra_label_span label = {{0, 0}, {0, 0}};
    const uint8_t *outer;
    int rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_label_field(d, &label);
    if (rc == PRA_OK)
        rc = check_label(d, &label);
    if (rc == PRA_OK)
        rc = pra__columns_room(d->cols, id, 1);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    PRA__COLUMN(pra_label_span, d->cols, id)[d->cols->col[id].len++] = label;
    return PRA_OK;
}

/* ---- samples */

static int room_for_sample(struct pra__columns *c)
{
    size_t need = c->col[PRA__COL_TIMESTAMPS].len + 1;
    if (need <= pra__columns_cap(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES))
        return PRA_OK;
    return pra__columns_reserve(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, need);
}

/* The low 7 bits of each of the low size bytes of v, side by side. */
static uint64_t join_varint(uint64_t v, size_t size)
{
    v &= ~UINT64_C(0) >> (64 - 8 * size);
    v = (v & 0x007f007f007f007f) | (v & 0x7f007f007f007f00) >> 1;
    v = (v & 0x00003fff00003fff) | (v & 0x3fff00003fff0000) >> 2;
    return (v & 0x000000000fffffff) | (v & 0x0fffffff00000000) >> 4;
}

/* Takes samples in the usual shape, while there is room for them and eight bytes can be loaded. */
static void take_plain_samples(struct pra__decoder *d)
{
    struct pra__columns *c = d->cols;
    size_t n = c->col[PRA__COL_TIMESTAMPS].len;
    const size_t full = pra__columns_cap(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES);
    int64_t *timestamps = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS);
    double *values = PRA__COLUMN(double, c, PRA__COL_VALUES);
    const uint8_t *p = d->in.pos, *end = d->in.end;

    while (n < full && d->stop - p >= 20 && p[0] == KEY_SAMPLE && p[2] == KEY_VALUE &&
           p[11] == KEY_TIMESTAMP) {
        size_t size = (size_t)p[1] - 10; /* of the varint */
        if (size - 1 >= 8 || (size_t)(end - p) < size + 12)
            break;
        uint64_t raw = pra__load64(p + 12);
        uint64_t last = ~raw & UINT64_C(0x8080808080808080);
        if (last == 0 || (size_t)__builtin_ctzll(last) != size * 8 - 1)
            break;
        uint64_t value = pra__load64(p + 3);
        memcpy(&values[n], &value, sizeof(value));
        timestamps[n++] = (int64_t)join_varint(raw, size);
        p += size + 12;
    }
    c->col[PRA__COL_TIMESTAMPS].len = n;
    d->in.pos = p;
}

static int read_sample_field(struct pra__decoder *d, double *value, int64_t *timestamp)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Sample_value_tag:
        return pra__read_fixed64(&d->in, field.wire, value);
    case prom_Sample_timestamp_tag:
        return pra__read_i64(&d->in, field.wire, timestamp);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_sample(struct pra__decoder *d, uint32_t wire)
{
    struct pra__columns *c = d->cols;
    const uint8_t *outer;
    int rc = room_for_sample(c);
    if (rc)
        return rc;
    size_t i = c->col[PRA__COL_TIMESTAMPS].len;
    int64_t *timestamp = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS) + i;
    double *value = PRA__COLUMN(double, c, PRA__COL_VALUES) + i;
    *timestamp = 0;
    *value = 0;
    rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_sample_field(d, value, timestamp);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    c->col[PRA__COL_TIMESTAMPS].len++;
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
        return read_label(d, field.wire, PRA__COL_EXEMPLAR_LABELS);
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
        return read_label(d, field.wire, PRA__COL_LABELS);
    case prom_TimeSeries_samples_tag:
        return read_sample(d, field.wire);
    case prom_TimeSeries_exemplars_tag:
        return read_exemplar(d, field.wire);
    case prom_TimeSeries_histograms_tag:
        return pra__histogram_decode(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int check_label_count(struct pra__decoder *d, const uint8_t *start, size_t count)
{
    if (count <= d->limits->max_labels_per_series)
        return PRA_OK;
    return pra__error(d->err, PRA_ERR_LABEL_COUNT, pra__offset(d, start),
                      "series %zu: %zu labels are over max_labels_per_series (%" PRIu64
                      "; raise it with --limit.labels-per-series)",
                      d->cols->series, count, d->limits->max_labels_per_series);
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
        take_plain_samples(d);
        if (d->in.pos == d->in.end)
            break;
        rc = read_series_field(d);
        if (rc)
            return rc;
    }
    rc = check_label_count(d, start, c->col[PRA__COL_LABELS].len - first_label);
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
        return read_span(d, field.wire, &out->family);
    case prom_MetricMetadata_help_tag:
        return read_span(d, field.wire, &out->help);
    case prom_MetricMetadata_unit_tag:
        return read_span(d, field.wire, &out->unit);
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
