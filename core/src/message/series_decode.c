/* SPDX-License-Identifier: Apache-2.0 */
#include "message/series_decode.h"

#include <inttypes.h>
#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>

#include "base/error.h"

/* The numbers of 1.0 are those of 2.0. */
_Static_assert(prom_TimeSeries_samples_tag == 2 && prom2_TimeSeries_samples_tag == 2 &&
                   prom_Sample_value_tag == 1 && prom2_Sample_value_tag == 1 &&
                   prom_Sample_timestamp_tag == 2 && prom2_Sample_timestamp_tag == 2,
               "pra__plain_sample has their keys");

/* ---- labels */

int pra__read_span(struct pra__decoder *d, uint32_t wire, pra_span *out)
{
    const uint8_t *start;
    size_t len;
    int rc = pra__read_bytes(&d->in, wire, &start, &len);
    if (rc == PRA_OK)
        *out = (pra_span){pra__offset(d, start), (uint32_t)len};
    return rc;
}

int pra__check_label(struct pra__decoder *d, const pra_label_span *label)
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

int pra__check_label_count(struct pra__decoder *d, const uint8_t *start, size_t count)
{
    if (count <= d->limits->max_labels_per_series)
        return PRA_OK;
    return pra__error(d->err, PRA_ERR_LABEL_COUNT, pra__offset(d, start),
                      "series %zu: %zu labels are over max_labels_per_series (%" PRIu64
                      "; raise it with --limit.labels-per-series)",
                      d->cols->series, count, d->limits->max_labels_per_series);
}

/* ---- samples */

static int room_for_sample(struct pra__columns *c)
{
    size_t need = c->col[PRA__COL_TIMESTAMPS].len + 1;
    if (need <= pra__columns_cap(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES))
        return PRA_OK;
    return pra__columns_reserve(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES, need);
}

void pra__take_plain_samples(struct pra__decoder *d)
{
    struct pra__columns *c = d->cols;
    size_t n = c->col[PRA__COL_TIMESTAMPS].len;
    const size_t full = pra__columns_cap(c, PRA__COL_TIMESTAMPS, PRA__COL_VALUES);
    int64_t *timestamps = PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS);
    double *values = PRA__COLUMN(double, c, PRA__COL_VALUES);
    const uint8_t *p = d->in.pos, *end = d->in.end;
    while (n < full && d->stop - p >= PRA__SAMPLE_LOAD) {
        const size_t size = pra__plain_sample(p, (size_t)(end - p), &timestamps[n], &values[n]);
        if (size == 0)
            break;
        n++;
        p += size;
    }
    c->col[PRA__COL_TIMESTAMPS].len = n;
    d->in.pos = p;
}

struct sample {
    double value;
    int64_t timestamp_ms;
    int64_t start_timestamp_ms;
};

static int read_sample_field(struct pra__decoder *d, struct sample *s)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom2_Sample_value_tag:
        return pra__read_fixed64(&d->in, field.wire, &s->value);
    case prom2_Sample_timestamp_tag:
        return pra__read_i64(&d->in, field.wire, &s->timestamp_ms);
    case prom2_Sample_start_timestamp_tag:
        if (d->v2)
            return pra__read_i64(&d->in, field.wire, &s->start_timestamp_ms);
        break;
    default:
        break;
    }
    return pra__skip_field(&d->in, field.wire);
}

static int add_sample(struct pra__columns *c, const struct sample *s)
{
    const size_t i = c->col[PRA__COL_TIMESTAMPS].len;
    int rc = room_for_sample(c);
    if (rc == PRA_OK && s->start_timestamp_ms)
        rc = pra__columns_fill_starts(c, i + 1);
    if (rc)
        return rc;
    PRA__COLUMN(int64_t, c, PRA__COL_TIMESTAMPS)[i] = s->timestamp_ms;
    memcpy(PRA__COLUMN(double, c, PRA__COL_VALUES) + i, &s->value, sizeof(s->value));
    if (s->start_timestamp_ms)
        PRA__COLUMN(int64_t, c, PRA__COL_START_TIMESTAMPS)[i] = s->start_timestamp_ms;
    c->col[PRA__COL_TIMESTAMPS].len++;
    return PRA_OK;
}

int pra__sample_decode(struct pra__decoder *d, uint32_t wire)
{
    struct sample s = {0, 0, 0};
    const uint8_t *outer;
    int rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_sample_field(d, &s);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    return add_sample(d->cols, &s);
}
